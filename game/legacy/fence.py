"""Read-only, enforced by SQLite itself: a RAISE trigger for each kind of write on every table of the legacy file.

It holds against every writer, those that know nothing of us included; the error's message says `fenced` or `moved`.
Who bears the pass writes within one transaction that takes the triggers away and puts them back before it commits.

The table `sudamr_fence` and the triggers `sudamr_fence_…` are no part of the game: they are never transferred, and
a lifted fence leaves the file's schema as it was. Setting, lifting and passing do change `PRAGMA schema_version`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, cast

from tenacity import RetryError, Retrying, retry_if_exception, stop_after_delay, wait_random

from game.errors import FENCE_MESSAGE, Fenced, Moved, StoreFailure, StoreUnavailable

State: TypeAlias = Literal["open", "fenced", "moved"]

TABLE = "sudamr_fence"
PREFIX = "sudamr_fence_"
EVENTS = ("insert", "update", "delete")
PATIENCE_SECONDS = 15.0

MESSAGES = {
    "fenced": "The game is read-only for a moment: it is being moved.",
    "moved": "The game is kept elsewhere now; nothing here changes any more.",
}


class NotFenced(StoreFailure):
    """The fence has holes; the message names each."""


def fence(
    conn: sqlite3.Connection,
    *,
    state: State = "fenced",
    pass_token: str | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Fence the file, durably; again is harmless, covers tables made since, and replaces state and pass.

    No transaction and no unfinished SELECT may be open on the connection. Raises StoreUnavailable, with nothing
    changed, when other connections do not let go in time.
    """
    if state == "open":
        raise ValueError("open is what lift makes it")
    with _durable(conn, patience_seconds):
        _drop(conn)
        conn.execute(
            f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL,"
            " pass_sha256 TEXT, message TEXT NOT NULL, since INTEGER NOT NULL)"
        )
        values = (1, state, _sha256(pass_token), MESSAGES[state], time.time_ns() // 1_000_000)
        conn.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?)", values)
        _create_triggers(conn, state)


def lift(conn: sqlite3.Connection, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Open the file to writes: the schema is as it was before the fence, to the byte. Harmless where there is none."""
    with _durable(conn, patience_seconds):
        _drop(conn)


def state(conn: sqlite3.Connection) -> State:
    """What the fence says of itself; one small read."""
    row = _row(conn)
    return "open" if row is None else row[0]


@contextmanager
def passing(conn: sqlite3.Connection, token: str) -> Iterator[None]:
    """Within an open BEGIN IMMEDIATE: writes go through; the fence stands again before anyone can commit.

    Raises Fenced or Moved when the token is not the pass. Harmless where there is no fence.
    """
    if not _is_open(conn):
        raise ValueError("a pass needs a transaction that is open")
    row = _row(conn)
    if row is None:
        yield
        return
    said, pass_sha256 = row
    if not token or pass_sha256 != _sha256(token):
        raise refusal(said)
    _drop_triggers(conn)
    try:
        yield
    finally:
        if _is_open(conn):
            _create_triggers(conn, said)
        elif _missing(conn, said):  # The body committed: close the hole at once, then say so.
            fence(conn, state=said, pass_token=token)
            raise ValueError("the transaction was committed while the fence was down")


def prove(conn: sqlite3.Connection) -> int:
    """Try every kind of write on every table, each undone; how many were refused. Raises NotFenced naming each hole.

    UPDATE and DELETE are tried where there is a row: on an empty table no row trigger fires, and the schema must do.
    """
    said = state(conn)
    if said == "open":
        raise NotFenced("there is no fence")
    conn.execute("BEGIN IMMEDIATE")
    try:
        if holes := _missing(conn, said):  # Then nothing is tried: a write that goes through might be a large one.
            raise NotFenced(f"not as it was made: {', '.join(holes)}")
        tries = [attempt for table in tables(conn) for attempt in _tries(conn, table)]
        holes = [statement for statement in tries if not _refused(conn, statement)]
        if holes:
            raise NotFenced(f"went through: {'; '.join(holes)}")
        return len(tries)
    finally:
        conn.rollback()


def refusal(state: str) -> Fenced | Moved:
    """The game's error for a fence in this state."""
    return Moved(MESSAGES["moved"]) if state == "moved" else Fenced(MESSAGES["fenced"])


def refused_by(error: sqlite3.Error) -> Fenced | Moved | None:
    """The game's error for what SQLite raised, if a fence raised it."""
    text = str(error)
    return refusal(text.rpartition(" ")[2]) if text.startswith(FENCE_MESSAGE) else None


def is_fence(name: str) -> bool:
    """Whether a table or trigger of the file is the fence's own, and so never transferred."""
    return name == TABLE or name.startswith(PREFIX)


def tables(conn: sqlite3.Connection) -> list[str]:
    """The tables that a fence covers: all but SQLite's and its own. A virtual table is covered by those beneath it."""
    rows = conn.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name <> ?"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name",
        (TABLE,),
    )
    return [str(name) for (name,) in rows.fetchall()]


def _triggers(conn: sqlite3.Connection, state: State) -> dict[str, str]:
    """Each trigger's name and its CREATE statement, as SQLite keeps it."""
    made = {}
    for table in tables(conn):
        for event in EVENTS:
            name = f"{PREFIX}{table}_{event}"
            made[name] = (
                f"CREATE TRIGGER {_quote(name)} BEFORE {event.upper()} ON {_quote(table)}"
                f" BEGIN SELECT RAISE(ABORT, '{FENCE_MESSAGE}: {state}'); END"
            )
    return made


def _create_triggers(conn: sqlite3.Connection, state: State) -> None:
    for statement in _triggers(conn, state).values():
        conn.execute(statement)


def _existing(conn: sqlite3.Connection) -> dict[str, str]:
    rows = conn.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ?",
        (len(PREFIX), PREFIX),
    )
    return {str(name): str(text) for name, text in rows.fetchall()}


def _missing(conn: sqlite3.Connection, state: State) -> list[str]:
    existing = _existing(conn)
    return [name for name, statement in _triggers(conn, state).items() if existing.get(name) != statement]


def _drop(conn: sqlite3.Connection) -> None:
    _drop_triggers(conn)
    conn.execute(f"DROP TABLE IF EXISTS {TABLE}")


def _drop_triggers(conn: sqlite3.Connection) -> None:
    for name in _existing(conn):
        conn.execute(f"DROP TRIGGER {_quote(name)}")


def _tries(conn: sqlite3.Connection, table: str) -> list[str]:
    name = _quote(table)
    tries = [f"INSERT INTO {name} DEFAULT VALUES"]
    if conn.execute(f"SELECT EXISTS (SELECT 1 FROM {name})").fetchone()[0]:
        # Column 1 is the name, column 6 tells hidden and generated ones.
        column = next(_quote(row[1]) for row in conn.execute(f"PRAGMA table_xinfo({name})").fetchall() if row[6] == 0)
        tries += [f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}"]
    return tries


def _refused(conn: sqlite3.Connection, statement: str) -> bool:
    try:
        conn.execute(statement)
    except sqlite3.Error as error:
        return refused_by(error) is not None
    return False


@contextmanager
def _durable(conn: sqlite3.Connection, patience_seconds: float) -> Iterator[None]:
    """One IMMEDIATE transaction that is on disk when it has ended; rolled back when the body fails."""
    if _is_open(conn):
        raise ValueError("a transaction is open on the connection")
    before = conn.execute("PRAGMA main.synchronous").fetchone()[0]
    conn.execute("PRAGMA main.synchronous = FULL")
    try:
        _patiently(lambda: conn.execute("BEGIN IMMEDIATE"), patience_seconds)
        yield
        # Without a write-ahead log a reader delays the COMMIT itself; the transaction stays open and may try again.
        _patiently(conn.commit, patience_seconds)
    finally:
        if _is_open(conn):
            conn.rollback()
        conn.execute(f"PRAGMA main.synchronous = {before}")


def _patiently(act: Callable[[], Any], patience_seconds: float) -> None:
    retrying = Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(patience_seconds), wait=wait_random(0.01, 0.05)
    )
    try:
        retrying(act)
    except RetryError:
        raise StoreUnavailable(f"the file stayed locked by other connections for {patience_seconds:g} s") from None


def _is_open(conn: sqlite3.Connection) -> bool:
    return conn.in_transaction


def _is_busy(error: BaseException) -> bool:
    """Busy in any form; the low byte of SQLite's code is the kind."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def _row(conn: sqlite3.Connection) -> tuple[State, str | None] | None:
    there = conn.execute("SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    if there is None:
        return None
    row = conn.execute(f"SELECT state, pass_sha256 FROM {TABLE}").fetchone()
    return (
        ("fenced", None) if row is None else (cast(State, row[0]), row[1])
    )  # A fence without its row is a fence that nobody passes.


def _sha256(token: str | None) -> str | None:
    return None if token is None else hashlib.sha256(token.encode()).hexdigest()


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
