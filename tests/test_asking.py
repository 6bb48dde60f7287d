"""Every task reads or changes an environment: one that changes it asks first, one that reads leaves it as it was."""

from __future__ import annotations

import inspect
import itertools
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

import tasks
from db import environments, ops, snapshots
from db.cutover import back, live
from db.cutover import cutover as the_cutover
from db.cutover import rollback as the_rollback
from db.schema import migrate
from db.servers import Server
from db.snapshots import Side
from harness.cli.framework import running
from tests.fixtures.own_roles import own_database
from tests.fixtures.project import Project, make, run

ROOT = Path(__file__).parents[1]
Options = Callable[[Project], dict[str, Any]]

ALONE = {
    "test",
    "nightly",
    "lint",
    "up",
    "down",
    "rehearse",
    "report",
    "audit",
    "transfer.profile",
    "transfer.convert",
    "transfer.mapping",
    "bench.actions",
    "bench.databases",
    "bench.round",
    "bench.window",
    "bench.follow",
}
"""Tasks that know no environment: what they change is a throwaway, the development container, or a new file."""

READS: dict[str, Options] = {
    # The service's own start: systemd could type nothing, and what it changes is what players do.
    "serve": lambda _: {},
    "token": lambda _: {"player": "hana"},
    # Writes a file of the checkout; the database is only compared.
    "revision": lambda _: {"message": "nothing"},
    "status": lambda _: {},
    "gate": lambda _: {"verify": "none.json"},
    "transfer.quarantine": lambda _: {},
    # Adds a folder. A backup that asked would not be made at night.
    "snapshot.take": lambda _: {"of": "target"},
    # Writes looks and alarms beside var/; the database is only read.
    "watch": lambda _: {"once": True},
    # Adds folders, and statistics that change no row. An upkeep that asked would not be done at night.
    "upkeep": lambda _: {},
    "snapshot.verify": lambda project: {"path": snapshot(project, Side.TARGET)},
    "preflight": lambda _: {},
    # Makes and deletes with the provider what bears its own mark alone; refused here, where the server is a plain one.
    "provider.verify": lambda _: {},
}

CHANGES: dict[str, Options] = {
    "prepare": lambda _: {},
    "migrate": lambda _: {},
    "transfer": lambda _: {"source": "game.db"},
    "transfer.cleanup": lambda _: {},
    "transfer.replay": lambda _: {},
    "snapshot.kept": lambda project: {"drop": kept_schema(project)},
    "cutover": lambda _: {"abort": True},
    "rollback": lambda _: {"abort": True},
    "fence": lambda _: {"on": True, "reason": "a test"},
    "follow": lambda _: {},
    "snapshot.restore": lambda project: {"path": snapshot(project, Side.TARGET), "replace": True},
    # Refused for every environment of real players, asked or not.
    "seed": lambda _: {"players": 3},
    "reset": lambda _: {},
}

MORE: list[tuple[str, Options]] = [
    ("transfer", lambda _: {"back": True, "into": "copy.db"}),
    ("snapshot.restore", lambda project: {"path": snapshot(project, Side.LEGACY), "into": "new.db", "unfence": True}),
    ("snapshot.restore", lambda project: {"path": snapshot(project, Side.LEGACY), "into": "new.db"}),
    ("rollback", lambda _: {"abort": True, "discard_writes": True, "accept_loss": 0}),
]
"""Other ways to change something by a task of CHANGES."""

MADE_UP = ("seed", "reset")
ASKING = [(name, options) for name, options in CHANGES.items() if name not in MADE_UP] + MORE
ANSWERS: list[tuple[str | BaseException, int]] = [
    ("prod", 2),
    ("", 2),
    (EOFError(), 2),
    (OSError(5, "Input/output error"), 2),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2),
    (KeyboardInterrupt(), 130),
]
RUNBOOKS = [
    (the_cutover, "CUTOVER"),
    (live, "LIVE_CUTOVER"),
    (the_rollback, "ROLLBACK"),
    (back, "LIVE_ROLLBACK"),
]
DRY = {"cutover": "dry_run", "rollback": "dry_run", "migrate": "sql", "prepare": "sql"}


@pytest.fixture(autouse=True)
def _with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots of staging and production are signed."""
    monkeypatch.setenv("GATE_SIGNING_KEY", "0123456789abcdef")


def snapshot(project: Project, side: Side) -> str:
    return str(snapshots.take(project.env, side).folder)


def kept_schema(project: Project) -> str:
    """Make a schema as a restore keeps one."""
    name = "replaced_by_a_test"
    with ops.connect(project.own.owner) as conn:
        conn.execute(f"create schema if not exists {name}")
        conn.execute(f"create table if not exists {name}.users (id text)")
    return name


def named() -> Mapping[str, Any]:
    """Return each task by the name that people use: of a collection's default task it is the collection's."""
    result = {name: tasks.namespace.task_with_config(name)[0] for name in tasks.namespace.task_names}
    return {"transfer" if name == "transfer.transfer" else name: task for name, task in result.items()}


@pytest.fixture(scope="module")
def prepared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Production, prepared and migrated, which no test here changes."""
    with own_database(server) as own:
        project = make(tmp_path_factory.mktemp("production"), "production", own)
        ops.prepare(own.owner, "production", service=own.service)
        migrate.migrate(own.owner, environment="production", service_role=own.service.user)
        yield project


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sits there; what they type is a test's `input`."""
    monkeypatch.setattr(running.CommandTerminal, "can_ask", True)


@pytest.fixture(autouse=True)
def made_for_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the tests is a throwaway, with fsync off."""
    monkeypatch.setattr(environments, "is_durable", lambda _: False)


def typing(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], str]) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: answer())


def never() -> NoReturn:
    raise AssertionError("it was asked")


def test_every_task_is_known_as_one_that_reads_or_one_that_changes() -> None:
    assert set(named()) == ALONE | set(READS) | set(CHANGES), "classify it in tests/test_asking.py"
    assert len(ALONE) + len(READS) + len(CHANGES) == len(named())


def test_a_task_without_an_environment_can_change_none_and_each_that_changes_can_be_confirmed() -> None:
    options = {name: set(inspect.signature(task.body).parameters) for name, task in named().items()}
    assert [name for name in sorted(ALONE) if "env" in options[name]] == []
    assert [name for name in CHANGES if not {"env", "yes", "confirm"} <= options[name]] == []
    assert [name for name in READS if {"yes", "confirm"} & options[name]] == []


@pytest.mark.parametrize("name", READS)
def test_what_reads_changes_nothing(prepared: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(environments, "become", lambda *_: None)
    options, before = READS[name](prepared), prepared.digest()
    run(prepared, monkeypatch, name, **options)
    assert prepared.digest() == before


@pytest.mark.parametrize(("name", "options"), ASKING, ids=lambda value: value if isinstance(value, str) else "")
def test_what_changes_asks_before_its_first_change(
    prepared: Project,
    terminal: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: Options,
) -> None:
    for module, runbook in RUNBOOKS:  # No move is under way here.
        monkeypatch.setattr(module, runbook, replace(getattr(module, runbook), refuse_abort=lambda *_: None))
    given, before = options(prepared), prepared.digest()
    for answer, code in ANSWERS:
        asked: list[bool] = []

        def typed(answer: str | BaseException = answer, asked: list[bool] = asked) -> str:
            asked.append(prepared.digest() == before)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        typing(monkeypatch, typed)
        assert run(prepared, monkeypatch, name, **given) == code
        shown = capsys.readouterr().err
        assert asked == [True], shown
        assert "Type production to go on: " in shown
        assert prepared.own.owner.dbname in shown or "new.db" in shown
        assert "Traceback" not in shown
    assert prepared.digest() == before


@pytest.mark.parametrize(("name", "options"), ASKING, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("yes", [False, True])
def test_without_a_terminal_or_with_yes_alone_it_is_refused(
    prepared: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: Options,
    yes: bool,
) -> None:
    typing(monkeypatch, never)
    given, before = options(prepared), prepared.digest()
    for closed in (False, True):
        if closed:
            monkeypatch.setattr("sys.stdin", None)
        assert run(prepared, monkeypatch, name, **given, yes=yes) == 2
        shown = capsys.readouterr().err
        result = "--yes" if yes else "no terminal"
        assert f"expected the name production typed as confirmation; found {result}" in shown
        assert "add --confirm production" in shown
    assert prepared.digest() == before


@pytest.mark.parametrize("name", MADE_UP)
def test_what_real_players_own_is_never_filled_or_emptied(
    prepared: Project, terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    typing(monkeypatch, never)
    before = prepared.digest()
    for options in ({}, {"yes": True}, {"confirm": "production"}):
        assert run(prepared, monkeypatch, name, **options) == 2
        assert "expected --env development; found --env production" in capsys.readouterr().err
    assert prepared.digest() == before


@pytest.mark.parametrize(("name", "env"), list(itertools.product(CHANGES, environments.NAMES)))
def test_a_confirmation_of_another_environment_is_refused_everywhere(
    prepared: Project,
    terminal: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    env: str,
) -> None:
    typing(monkeypatch, never)
    before = prepared.digest()
    text = (prepared.folder / "environments.toml").read_text()
    if env in (
        "development",
        "staging",
    ):  # So that nothing else refuses: the section is there, the server is not asked.
        (prepared.folder / "environments.toml").write_text(text + text.replace("[production]", f"[{env}]"))
    other = "staging" if env != "staging" else "production"
    dry = [{}, {DRY[name]: True}] if name in DRY else [{}]
    try:
        for more, yes in itertools.product(dry, (False, True)):
            assert run(prepared, monkeypatch, name, env=env, confirm=other, yes=yes, **more) == 2
            shown = capsys.readouterr().err
            known = (f"--confirm {other}", "expected --env development", "a section [test]")
            assert any(words in shown for words in known), shown
    finally:
        (prepared.folder / "environments.toml").write_text(text)
    assert prepared.digest() == before


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_asks_nothing_and_changes_nothing(
    prepared: Project, terminal: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    typing(monkeypatch, never)
    before = prepared.digest()
    undo = {} if name in {"migrate", "prepare"} else {"abort": True}
    for more in ({}, {"yes": True}, {"confirm": "production"}):
        run(prepared, monkeypatch, name, **{DRY[name]: True}, **undo, **more)
    assert prepared.digest() == before


@pytest.mark.parametrize("options", [{"confirm": "production"}, {"yes": True, "confirm": "production"}, {}])
def test_once_confirmed_it_is_done(
    server: Server, tmp_path: Path, terminal: None, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    typing(monkeypatch, never if options else lambda: "production")
    with own_database(server) as own:
        project = make(tmp_path, "production", own)
        for name, more in (
            ("prepare", {}),
            ("migrate", {}),
            ("transfer", {"source": "game.db"}),
            ("transfer", {"back": True, "into": "copy.db"}),
            ("transfer.cleanup", {}),
        ):
            assert run(project, monkeypatch, name, **more, **options) == 0, name
        assert (tmp_path / "copy.db").exists()


def on_a_terminal(command: list[str], folder: Path, keys: bytes, **streams: Any) -> tuple[int, str, str]:
    """Run a command with a terminal, press keys at the question. Return exit code, screen, output."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=other,
        stderr=other,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "80"},
        **streams,
    )
    os.close(other)
    screen = bytearray()

    def watch() -> None:
        pressed = False
        while True:
            try:
                read = os.read(main, 4096)
            except OSError:  # Linux reports the end of the last process on the terminal so.
                return
            screen.extend(read)
            if not pressed and b"to go on: " in screen:
                pressed = True
                os.write(main, keys)

    watching = threading.Thread(target=watch)
    watching.start()
    assert process.stdout is not None
    written = process.stdout.read()
    code = process.wait()
    watching.join()
    os.close(main)
    process.stdout.close()
    return code, screen.decode(), written.decode()


def test_in_a_real_terminal_ctrl_d_is_a_refusal_and_the_json_stays_json(prepared: Project) -> None:
    invoke = [str(Path(sys.executable).parent / "invoke"), "--search-root", str(ROOT)]
    before = prepared.digest()
    migrating = [*invoke, "migrate", "--env", "production", "--json", "-"]
    code, screen, written = on_a_terminal(migrating, prepared.folder, b"\x04")
    assert code == 2, screen
    assert "Traceback" not in screen
    assert "Nothing was changed." in screen
    assert written.lstrip().startswith("{")
    assert "to go on" not in written
    assert prepared.digest() == before
    code, screen, written = on_a_terminal(migrating, prepared.folder, b"production\n")
    assert code == 0, screen
    assert '"head"' in written
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *invoke, "migrate", "--env", "production"],
        cwd=prepared.folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert closed.returncode == 2
    assert "no terminal to type it on" in closed.stderr
    assert "Traceback" not in closed.stderr
