"""`invoke status` prints every row in any state of the parts; one that can't be known says why, and says it once."""

from __future__ import annotations

import io
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import psycopg
import pytest
from rich.cells import cell_len
from rich.console import Console

from db import environments, ops
from db.console.output import Output
from db.cutover import ending, probes
from db.environments import Environment
from db.samples import seed
from harness.cli.commands import environment_status
from harness.databases import Database
from tests.fixtures.users import unprivileged

ROOT = Path(__file__).parents[3]
PLAIN = (("sslmode", "disable"),)
NAMES = [
    "environment",
    "legacy",
    "fence of the legacy file",
    "target",
    "marker",
    "schema",
    "drift",
    "phase",
    "lock held by",
    "fence of Postgres",
    "pointer",
    "http://127.0.0.1:1",
    "certificate",
    "snapshots",
    "settings",
    "players",
    "next",
]
OF_POSTGRES = {"target", "marker", "schema", "drift", "phase", "lock held by", "fence of Postgres"}


@dataclass(frozen=True)
class Part:
    """A state of one part. make: sets it up for an environment. unknown: the rows that can't be known.

    words: stand in the output. cause: the row that says why.
    """

    make: Callable[[Environment], Environment]
    unknown: frozenset[str] = frozenset()
    cause: str = ""
    words: str = ""


def _url(**changes: object) -> Callable[[Environment], Environment]:
    return lambda env: replace(env, target_direct=env.target_direct.with_(**changes))


def _sql(*statements: str) -> Callable[[Environment], Environment]:
    def make(env: Environment) -> Environment:
        with psycopg.connect(env.target_direct.conninfo, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)
        return env

    return make


def _unreached(words: str, **changes: object) -> Part:
    return Part(_url(**changes), frozenset(OF_POSTGRES), "target", words)


def _unmarked(words: str, *statements: str) -> Part:
    return Part(_sql(*statements), frozenset(OF_POSTGRES - {"target"}), "marker", words)


def _broken(words: str, *statements: str) -> Part:
    unknown = frozenset({"schema", "drift", "fence of Postgres"})
    return Part(_sql(*statements), unknown, "schema", words)


POSTGRES = {
    "answers": Part(lambda env: env),
    "refused": _unreached("Is it running", port=1),
    "a socket that is not there": _unreached("Is it running", host="/nowhere"),
    "an unknown host": _unreached("No machine has this name", host="nowhere.invalid"),
    "silent": _unreached("Nothing came back", host="127.0.0.1", port=0, parameters=(*PLAIN, ("connect_timeout", "2"))),
    "a wrong password": _unreached("Correct the role in the URL, or its password", password="wrong"),
    "no password": _unreached("Write the password", password=""),
    "no such database": _unreached("CREATE DATABASE", dbname="no_such_database"),
    "TLS that it lacks": _unreached("sslmode", parameters=(("sslmode", "require"),)),
    "before prepare": _unmarked("invoke prepare --env test", "drop schema ops cascade"),
    "an older ops": _unmarked("found one by an older version", "drop table ops.proven"),
    "a phase that was deleted": _unmarked("invoke prepare --env test", "delete from ops.phase"),
    "another's marker": _unmarked("the database of production", "update ops.environment set name = 'production'"),
    "no right on ops": _unmarked("permission denied", "revoke all on ops.phase from current_user"),
    "a table that is gone": _broken("invoke migrate", "drop table users cascade"),
    "several revisions": _broken(
        "one revision",
        "alter table alembic_version drop constraint alembic_version_pkc",
        "insert into alembic_version values ('0002')",
    ),
    "a newer revision": Part(
        _sql("update alembic_version set version_num = '9999'"), frozenset({"drift"}), "drift", "does not know"
    ),
    "not migrated": Part(_sql("drop schema game cascade")),
}


def _file(make: Callable[[Path], object]) -> Callable[[Environment], Environment]:
    def made(env: Environment) -> Environment:
        make(env.legacy.path)
        return env

    return made


def _legacy(words: str, make: Callable[[Path], object]) -> Part:
    name = "fence of the legacy file"
    return Part(_file(make), frozenset({name}), name, words)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _other(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE notes (text)")


def _without_wal(path: Path) -> None:
    """In WAL mode a writer would lock no reader out."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=delete")


LEGACY = {
    "a legacy file": Part(lambda env: env),
    "none": _legacy("no such file", Path.unlink),
    "a folder": _legacy("a folder", _folder),
    "a link to itself": _legacy("expected", _loop),
    "an empty file": _legacy("an empty file", lambda path: path.write_bytes(b"")),
    "no SQLite file": _legacy("another kind", lambda path: path.write_bytes(b"\xff\xfe" * 600)),
    "another program's file": _legacy("without the table `users`", _other),
    "cut off": _legacy("a sound SQLite file", lambda path: path.write_bytes(path.read_bytes()[:1000])),
    "unreadable": _legacy("a file that this user may not read", lambda path: path.chmod(0)),
    "locked": _legacy("locked", _without_wal),
}


def _pointer(words: str, make: Callable[[Path], object]) -> Part:
    def made(env: Environment) -> Environment:
        make(env.pointer.path)
        return env

    return Part(made, frozenset({"pointer"}), "pointer", words)


POINTER = {
    "a pointer": Part(lambda env: env),
    "none": _pointer("no such file", Path.unlink),
    "a folder": _pointer("found a folder", _folder),
    "unreadable": _pointer("a file that this user may not read", lambda path: path.chmod(0)),
    "in UTF-16": _pointer("UTF-8", lambda path: path.write_bytes("DATABASE_URL=x".encode("utf-16"))),
    "without the line": _pointer("DATABASE_URL=", lambda path: path.write_text("OTHER=1\n")),
    "with the line twice": _pointer("2 of them", lambda path: path.write_text("DATABASE_URL=file:/a\n" * 2)),
    "no URL": _pointer("DATABASE_URL in", lambda path: path.write_text("DATABASE_URL=http://a\n")),
}


def _manifest(env: Environment, text: str) -> Environment:
    folder = env.snapshots.folder / f"{env.name}-legacy-manual-1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(text)
    return env


def _in_place(env: Environment) -> Environment:
    env.snapshots.folder.write_text("")
    return env


SNAPSHOTS = {
    "none": Part(lambda env: env),
    "a broken manifest": Part(lambda env: _manifest(env, "{}"), frozenset({"snapshots"}), "snapshots", "does not fit"),
    "a file in their place": Part(_in_place, frozenset({"snapshots"}), "snapshots", "Not a directory"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter too, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def _environment(database: Database, folder: Path) -> Environment:
    seed.empty_legacy(folder / "game.db")
    (folder / "game.db").chmod(0o644)  # Of a service of another user, who lets others read it.
    (folder / "service.env").write_text(f"DATABASE_URL=file:{folder}/game.db\n")
    return environments.throwaway(
        owner=database.owner,
        service=database.service,
        legacy=folder / "game.db",
        folder=folder,
        services=("http://127.0.0.1:1",),
    )


@pytest.mark.parametrize("postgres", POSTGRES)
def test_it_prints_every_row_and_says_each_cause_once(
    postgres: str, fenced_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "LOCK_SECONDS", 0.05)
    with _listening() as port:
        at = [*POSTGRES].index(postgres)  # Each state meets the others' states shifted by one.
        others = islice(zip(cycle(POINTER), cycle(SNAPSHOTS), strict=False), at, None)
        legacies = [*LEGACY][:2] if postgres == "silent" else [*LEGACY]  # Each look at a silent one takes two seconds.
        for number, (legacy, (pointer, snapshots)) in enumerate(zip(legacies, others, strict=False)):
            place = folder / str(number)
            place.mkdir()
            place.chmod(0o777)  # To read a file in WAL mode, SQLite writes beside it.
            env = _environment(fenced_database, place)
            parts = (LEGACY[legacy], POINTER[pointer], SNAPSHOTS[snapshots])
            if number == 0 or POSTGRES[postgres].cause == "target":  # A database is changed once.
                env = POSTGRES[postgres].make(env)
            if env.target_direct.port == 0:
                env = _url(port=port)(env)
            for part in parts:
                env = part.make(env)

            with _held(env.legacy.path, legacy == "locked"), unprivileged():
                result = environment_status.status(env, place)

            _assert_told(result, (POSTGRES[postgres], *parts), env)
            refused = postgres in ("refused", "a socket that is not there")
            assert ("running" in _text(result)) == refused, "only of a server that nothing is heard of"
        if "invoke prepare --env test" in result.values["next"]:
            ops.prepare(env.target_direct, "test")
            assert ending.look(env).asked.control is not None, "the advice was followed"


def _assert_told(status: environment_status.Status, parts: tuple[Part, ...], env: Environment) -> None:
    assert [*status.values] == NAMES
    expected = {"http://127.0.0.1:1"}.union(*(part.unknown for part in parts))
    assert set(status.unknown) == expected, status.rows
    assert not status.whole
    text = _text(status)
    for part in parts:
        if part.words:
            assert part.words in text, status.rows
        if part.cause:
            printed = str(status.values[part.cause])
            assert "not known: " in printed
            assert "see " not in printed
    _assert_said_once(status)
    assert env.target_direct.password not in text or not env.target_direct.password
    _assert_next(status.values["next"])
    _assert_fits(status)


def _text(status: environment_status.Status) -> str:
    return "\n".join(" ".join(row) for row in status.rows)


def _assert_said_once(status: environment_status.Status) -> None:
    causes = [value.partition("not known: ")[2] for _, value in status.rows if "not known: " in value]
    printed = [cause for cause in causes if not cause.startswith("see ")]
    assert len(printed) == len(set(printed)), printed
    assert all(cause.removeprefix("see ") in status.values for cause in causes if cause.startswith("see "))


def _assert_next(steps: str | list[str]) -> None:
    """Its last step is a command; those before it mend what keeps the command from being known."""
    assert steps[-1].startswith(
        ("invoke status --env test", "invoke prepare --env test", "invoke cutover --env test", "No move was begun: ")
    ), steps
    assert len(steps) == len(set(steps))


def _assert_fits(status: environment_status.Status) -> None:
    """At 80 columns no line is wider, and nothing but whole names is broken; elsewhere no line is broken."""
    wide = _printed(status, terminal=False).splitlines()
    assert len(wide) == sum(len(value.splitlines()) for _, value in status.rows)
    narrow = _printed(status, terminal=True).splitlines()
    assert max(map(cell_len, narrow)) <= 80
    column = max(len(name) for name, _ in status.rows) + 2
    words = {word for _, value in status.rows for word in value.split()}
    for word in words:
        if cell_len(word) <= 80 - column:
            assert any(word in line for line in narrow), word


def _printed(status: environment_status.Status, *, terminal: bool) -> str:
    screen = io.StringIO()
    out = Output(None)
    out._out = Console(file=screen, force_terminal=terminal, width=80, color_system=None)
    out.fields(status.rows)
    return screen.getvalue()


@contextmanager
def _listening() -> Iterator[int]:
    """A port that takes connections and answers nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@contextmanager
def _held(path: Path, locked: bool) -> Iterator[None]:
    with ExitStack() as stack:
        if locked:
            connection = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            connection.execute("BEGIN EXCLUSIVE")
        yield


def test_all_parts_that_answer_are_shown_and_the_task_ends_with_3_where_one_does_not(
    fenced_database: Database, folder: Path
) -> None:
    env = replace(_environment(fenced_database, folder), services=())
    assert environment_status.status(env, folder).whole
    owner = fenced_database.owner.as_text()
    with ops.connect(fenced_database.owner) as conn:
        conn.execute("update ops.environment set name = 'development'")
    (folder / "environments.toml").write_text(
        f'[development]\nlegacy = "file:game.db"\ntarget = "{fenced_database.service.as_text()}"\n'
        f'target_direct = "{owner}"\npointer = {{ path = "service.env" }}\nsnapshots = {{ folder = "snapshots" }}\n'
    )
    done = _invoke_status(folder)
    assert done.returncode == 0, done.stdout + done.stderr

    (folder / "game.db").unlink()
    done = _invoke_status(folder)
    assert (done.returncode, done.stderr) == (3, "")
    assert re.search(r"^fence of the legacy file +not known: expected .* no such file$", done.stdout, re.MULTILINE)
    assert "invoke status --env development" in done.stdout


def _invoke_status(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "invoke", "--search-root", ROOT, "status", "--env", "development"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_status_waits_for_no_session_that_keeps_a_table(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that was stopped keeps its tables for as long as it is; what is next must be said meanwhile."""
    monkeypatch.setattr(probes, "LOCK_SECONDS", 1.0)
    env = _environment(database, tmp_path)
    with psycopg.connect(database.owner.conninfo) as keeper:
        keeper.execute("lock table users in access exclusive mode")
        kept = ending.look(env)
        assert f"server process {keeper.info.backend_pid}" in kept.unknown[ending.TARGET].why
        assert "pg_terminate_backend" in kept.unknown[ending.TARGET].do
        keeper.rollback()
    assert ending.look(env).target is not None
