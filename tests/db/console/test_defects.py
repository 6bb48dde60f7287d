"""A defect of a task reaches Sentry, scrubbed; a refusal does not; and the command ends as it would without Sentry."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.console import defects
from db.console.output import outcome
from db.errors import Failure, Refusal, ToolError
from tests.fixtures.sentry import Receiver
from tests.fixtures.waiting import until

SECRET = "planted-hunter2"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def _every_sender_has_ended() -> Iterator[None]:
    yield
    for process in defects._sending:
        process.wait(60)
    defects._sending.clear()


def run(error: Exception, *, at_end: bool) -> int:
    """Run a task's body that raises the error, and return its exit code; 1 for a traceback, as Python has it."""
    local_password = SECRET
    try:
        with outcome(None) as out:
            if at_end:
                out.at_end = lambda word, _todo="": Ending(word)
            assert local_password
            raise error
    except SystemExit as ended:
        return int(ended.code or 0)
    except type(error):
        return 1


class Ending:
    def __init__(self, line: str) -> None:
        self.line = line


def defect() -> ValueError:
    return ValueError(f"no number: postgresql://anna:{SECRET}@db/games?password={SECRET}")


@pytest.mark.plan(25)
@pytest.mark.parametrize("at_end", [False, True])
def test_a_defect_arrives_without_secrets_and_local_variables(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, at_end: bool
) -> None:
    monkeypatch.setenv("SENTRY_DSN", receiver.dsn)
    monkeypatch.setenv("SENTRY_ENVIRONMENT", "staging")
    monkeypatch.setattr(sys, "argv", ["/venv/bin/invoke", "status", "--postgres", f"postgresql://u:{SECRET}@h/d"])
    assert run(defect(), at_end=at_end) == 1
    until(lambda: [] if receiver.events() else ["the report"])
    (event,) = receiver.events()
    assert (event["environment"], event["level"]) == ("staging", "error")
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    assert event["tags"]["command"].startswith("invoke status --postgres ")
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    assert frames
    assert not any("vars" in frame for frame in frames)
    assert SECRET not in json.dumps(receiver.bodies)


@pytest.mark.parametrize("error", [Refusal("a", "b"), Failure("a", "b"), FileNotFoundError(2, "none", "x")])
def test_what_a_user_can_mend_is_no_defect(monkeypatch: pytest.MonkeyPatch, error: ToolError | OSError) -> None:
    monkeypatch.setenv("SENTRY_DSN", "http://key@127.0.0.1:1/1")
    monkeypatch.setattr(defects, "_hand_over", lambda _report: pytest.fail("it was reported"))
    assert run(error, at_end=False) in (1, 2)


def test_the_dsn_may_stand_in_the_env_file_of_the_tools(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SENTRY_DSN", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"SENTRY_DSN={receiver.dsn}\n")
    (tmp_path / ".env").chmod(0o600)
    assert run(defect(), at_end=False) == 1
    until(lambda: [] if receiver.events() else ["the report"])


def test_a_receiver_that_never_answers_delays_nothing_and_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes the connection and answers nothing; the task has ended before anything is sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("SENTRY_DSN", f"http://key@127.0.0.1:{silent.getsockname()[1]}/1")
        assert run(defect(), at_end=True) == 1
        silent.accept()[0].close()  # Whoever comes to send is another process, after the task has ended.


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1:1/1"])
def test_a_dsn_that_is_none_is_said_and_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dsn: str
) -> None:
    monkeypatch.setenv("SENTRY_DSN", dsn)
    assert run(defect(), at_end=True) == 1
    assert "the defect is not reported to Sentry: BadDsn" in capsys.readouterr().err


def test_no_secret_stands_in_the_arguments_or_variables_of_the_sender(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    popen = defects.subprocess.Popen

    def noted(argv: list[str], **options: object) -> object:
        started.append((argv, dict(options["env"])))  # type: ignore[call-overload]  # as report() calls it
        return popen(argv, **options)  # type: ignore[call-overload]  # as report() calls it

    monkeypatch.setattr(defects.subprocess, "Popen", noted)
    monkeypatch.setenv("SENTRY_DSN", receiver.dsn)
    run(defect(), at_end=False)
    ((argv, variables),) = started
    assert "publickey" not in json.dumps([argv, variables])
