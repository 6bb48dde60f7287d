"""A server, a machine or a process that is lost under a gate makes it inconclusive, with the cause named."""

from __future__ import annotations

import errno
import sqlite3
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from db import servers
from db.console.output import Output
from db.console.progress import Silent
from db.errors import Failure, Refusal
from db.servers import Server, vitals
from db.servers.vitals import Lost, Vitals, lasting
from harness import rehearsal
from harness.gate import Ended, admission, due, struck, suite
from harness.gate import parts as gate_parts
from harness.gate.report import GatePart
from harness.gate.run import GateOptions, run, show
from harness.rehearsal import Leg, RehearsalReport
from harness.rehearsal.run import Rehearsal
from harness.rehearsal.setup import RehearsalSetup
from tests.fixtures.gates import HOLDS, KEY, item, items, parts
from tests.fixtures.losing import CRASHED, STOPPED, lose

AT_THE_LAST = """
import os, signal
import psycopg, pytest
from harness.pytest_plugin.plugin import _server
from tests.fixtures.losing import CRASHED, STOPPED, lose

def pytest_runtest_setup(item):
    if item.name == "twins":
        server = _server(item.config)
        {}
"""


def kind(config: pytest.Config) -> str | None:
    """Return the run's kind of server; of a URL the machine's first kind, because these tests end their server."""
    chosen: str | None = config.getoption("--postgres")
    return None if chosen is not None and "://" in chosen else chosen


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one scenario that holds."""
    folder = tmp_path / "tree" / "scenarios" / "reward"
    folder.mkdir(parents=True)
    (folder / "mail.yaml").write_text(HOLDS)
    root = Path(__file__).parents[3]
    (tmp_path / "tree" / "pyproject.toml").write_text(
        f'[tool.pytest.ini_options]\naddopts = "-p harness.pytest_plugin.plugin"\npythonpath = ["{root}"]\n'
    )
    return tmp_path / "tree"


LOSSES = {
    "the server ends": ("lose(server, STOPPED)", "no longer answers"),
    "a process of the server is killed": ("lose(server, CRASHED); raise RuntimeError", "crashed, and it began anew"),
    "the test's process is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "a process that ran the tests ended"),
    "pytest is killed": ("os.kill(os.getppid(), signal.SIGKILL); signal.pause()", "was ended by SIGKILL"),
    "the disk is full": ("raise OSError(28, 'No space left on device')", "No space left on device"),
    "the server's disk is full": ("raise psycopg.errors.DiskFull('could not extend file')", "could not extend file"),
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_loss_in_the_suite_is_no_failure_of_an_item(tree: Path, pytestconfig: pytest.Config, what: str) -> None:
    does, cause = LOSSES[what]
    (tree / "conftest.py").write_text(AT_THE_LAST.format(does))
    with pytest.raises(suite.LostSuite) as caught:
        suite.run(tree, kind(pytestconfig), Silent(), 3, sweeps=(), workers=1)
    assert cause in caught.value.found
    assert caught.value.exit_code == 3
    assert [one.name for one in caught.value.items if not one.passed] == []
    assert {one.way for one in caught.value.items} <= {"postgres", "legacy"}


def test_a_pytest_that_can_not_run_is_no_failure_either(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text("def pytest_sessionstart(): pytest.exit('no', returncode=1)\nimport pytest\n")
    with pytest.raises(suite.LostSuite, match="exit code 1"):
        suite.run(tree, kind(pytestconfig), Silent(), 3, sweeps=(), workers=1)


def test_what_fails_while_the_server_stands_is_a_failure(tree: Path, pytestconfig: pytest.Config) -> None:
    (tree / "conftest.py").write_text(AT_THE_LAST.format("raise psycopg.OperationalError('connection lost')"))
    ran = suite.run(tree, kind(pytestconfig), Silent(), 3, sweeps=(), workers=1)
    assert [one.way for one in ran if not one.passed] == ["twins"]


@pytest.mark.parametrize("error", [Failure("a", "b"), Refusal("a", "b"), psycopg.OperationalError("gone")])
def test_a_loss_under_migrations_or_a_backup_is_told_from_a_failure(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def backup(_env: object, server: Server, _players: int) -> gate_parts.PartResult:
        lose(server)
        raise error

    monkeypatch.setattr(gate_parts, "_migrations", lambda _env: ({}, ()))
    monkeypatch.setattr(gate_parts, "_backup", backup)
    with pytest.raises(Lost, match="no longer answers"):
        gate_parts.run(kind(pytestconfig), 1, Silent())


@pytest.mark.parametrize(
    "ended",
    [
        Failure("a", "b"),
        Refusal("a", "b"),
        psycopg.OperationalError("gone"),
        Leg("fail", problems=("a receipt is missing",)),
    ],
    ids=["failed", "refused", "raised", "found"],
)
@pytest.mark.parametrize("cause", ["the server no longer answers", ""])
def test_a_server_that_is_lost_under_a_move_makes_the_rehearsal_inconclusive(
    monkeypatch: pytest.MonkeyPatch, ended: Exception | Leg, cause: str
) -> None:
    def leg(*_: object, live: bool) -> Leg:
        del live
        if isinstance(ended, Leg):
            return ended
        raise ended

    monkeypatch.setattr(Rehearsal, "_leg", leg)
    made = Rehearsal.__new__(Rehearsal)
    made._setup = cast(RehearsalSetup, SimpleNamespace(vitals=SimpleNamespace(cause=lambda *_: cause)))
    if cause:
        rehearsed = made.leg(pytest.fail, cast(Any, None), cast(Any, None))
        assert (rehearsed.verdict, rehearsed.problems[0]) == ("inconclusive", cause)
    elif isinstance(ended, Failure | Leg):
        assert made.leg(pytest.fail, cast(Any, None), cast(Any, None)).verdict == "fail"
    else:
        with pytest.raises(type(ended)):
            made.leg(pytest.fail, cast(Any, None), cast(Any, None))


def test_a_server_that_does_not_start_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_kind: object, *, settings: object) -> Server:
        del settings
        raise Failure("a container", "the daemon is gone")

    monkeypatch.setattr(servers, "start", start)
    with pytest.raises(Lost, match="the daemon is gone"), lasting(None):
        pass


def lose_within(kind: str | None) -> None:
    with lasting(kind) as (server, _):
        lose(server)
        raise psycopg.OperationalError


def test_a_server_that_can_not_be_removed_is_named_with_what_was_lost(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Server.stop

    def stopped(self: Server) -> None:
        stop(self)
        raise Failure("the server to leave nothing behind", "its container", do="docker rm NAME")

    monkeypatch.setattr(Server, "stop", stopped)
    with pytest.raises(Lost, match="its container") as caught:
        lose_within(kind(pytestconfig))
    assert "no longer answers" in caught.value.found
    assert "docker rm NAME" in caught.value.found


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk")
    error.sqlite_errorname = name
    return error


def caused_by(cause: Exception) -> Exception:
    error = Failure("a", "b")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EIO, "broken"), True),
        (MemoryError(), True),
        (psycopg.errors.OutOfMemory("memory"), True),
        (psycopg.errors.IoError("device"), True),
        (sqlite_error("SQLITE_FULL"), True),
        (sqlite_error("SQLITE_IOERR_WRITE"), True),
        (sqlite_error("SQLITE_BUSY"), False),
        (psycopg.errors.TooManyConnections("ours, perhaps"), False),
        (psycopg.errors.AdminShutdown("a test's, perhaps"), False),
        (OSError(errno.ENOENT, "no file"), False),
        (ValueError("a defect"), False),
        (vitals.lost("a server that a test starts"), True),
    ],
)
def test_an_error_tells_of_the_machine_through_whatever_it_was_wrapped_in(error: Exception, is_lost: bool) -> None:
    assert bool(vitals.cause_in(error)) is is_lost
    assert bool(vitals.cause_in(caused_by(error))) is is_lost


@pytest.mark.parametrize("how", [STOPPED, CRASHED])
def test_the_vitals_of_a_server(pytestconfig: pytest.Config, how: str) -> None:
    with servers.start(kind(pytestconfig)) as server:
        vital = Vitals(server)
        assert vital.cause() == ""
        lose(server, how)
        assert str(server) in vital.cause()


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(admission.SIGNING_KEY, KEY)
    return Path(__file__).parents[3]


def gate_with(monkeypatch: pytest.MonkeyPatch, **acts: Any) -> None:
    def tried(*_: object, **__: object) -> Any:
        return tuple(parts()), {}

    monkeypatch.setattr(gate_parts, "run", acts.get("servers", tried))
    strikes = acts.get("strikes", lambda: GatePart("strikes", Ended.PASS, 1.0))
    monkeypatch.setattr(struck, "beside", lambda *_: nullcontext(strikes))
    monkeypatch.setattr(suite, "run", acts.get("suite", lambda *_: tuple(items())))
    monkeypatch.setattr(
        rehearsal, "rehearse", acts.get("rehearsal", lambda *_, **__: RehearsalReport("pass", engine={}))
    )
    monkeypatch.setattr(due, "items", lambda _root: frozenset(one.name for one in items()))
    monkeypatch.setattr(sys.modules[run.__module__], "DURATIONS", Path("out/no-gate.json"))


def raising(error: Exception) -> Any:
    def act(*_: object, **__: object) -> Any:
        raise error

    return act


GONE = vitals.lost("the server docker 15.18 no longer answers")


@pytest.mark.parametrize(
    ("acts", "ended", "not_tried"),
    [
        ({"servers": raising(GONE)}, Ended.INCONCLUSIVE, {"suite", "strikes", "rehearsal"}),
        ({"suite": raising(suite.LostSuite(GONE, ()))}, Ended.INCONCLUSIVE, {"strikes", "rehearsal"}),
        ({"strikes": raising(GONE)}, Ended.INCONCLUSIVE, {"rehearsal"}),
        ({"rehearsal": raising(GONE)}, Ended.INCONCLUSIVE, set()),
        ({"suite": raising(suite.LostSuite(GONE, (item(found="1 is not 2"),)))}, Ended.FAIL, {"strikes", "rehearsal"}),
    ],
)
def test_a_gate_names_the_cause_and_what_it_did_not_try(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    acts: dict[str, Any],
    ended: Ended,
    not_tried: set[str],
) -> None:
    gate_with(monkeypatch, **acts)
    report = run(GateOptions("staging"), checkout, Silent())
    assert report.verdict is ended
    assert report.doubts[0].endswith("no longer answers")
    assert {part.name for part in report.parts if "not tried" in "".join(part.problems)} == not_tried
    show(report, Output(None))
    assert "in doubt: " in capsys.readouterr().out


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_gate_that_could_not_sign_is_refused_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(admission.SIGNING_KEY, raising=False)
    gate_with(monkeypatch, servers=raising(AssertionError("it ran")))
    with pytest.raises(Refusal, match=f"{admission.SIGNING_KEY}, with which a certificate for {environment}") as caught:
        run(GateOptions(environment), Path(__file__).parents[3], Silent())
    assert "invoke gate --env test" in str(caught.value)
