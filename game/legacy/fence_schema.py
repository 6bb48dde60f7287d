"""The fence as it stands in a legacy file: its table, its triggers and the draw epoch, told from the game's own."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass, field
from typing import cast

from game.errors import FENCE_MESSAGE, StoreFailure
from game.legacy import applied_log, capture_schema, draws
from game.legacy.sqlite_values import quote
from game.unit_of_work import FenceState

TABLE = "sudamr_fence"
PREFIX = "sudamr_fence_"
EVENTS = ("insert", "update", "delete")

COLUMNS = ("id", "state", "pass_sha256", "message", "since", "run", "target")
"""The columns of the fence's table; in a file of an earlier version the last two are missing."""

_FENCE_TRIGGER = re.compile(
    r'CREATE TRIGGER "(?:[^"]|"")+" BEFORE (?:INSERT|UPDATE|DELETE) ON "(?:[^"]|"")*"'
    rf" BEGIN SELECT RAISE\(ABORT, '{FENCE_MESSAGE}: (?:fenced|moved)'\); END"
)
"""A trigger of ours, whatever it is called by now: SQLite itself writes the table's new name into it."""

MESSAGES = {
    "fenced": "The game is read-only for a moment: it is being moved.",
    "moved": "The game is kept elsewhere now; nothing here changes any more.",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a fence: the run that set it, and the identity of the other store of the run's move.

    The fence of the legacy file names the database; the fence of Postgres names the file (`game.legacy.identity`).
    """

    run: str
    target: str


@dataclass(frozen=True, slots=True)
class FenceMark:
    """The state of a file's fence. owner: None where there is no fence, and where it was set for no run.

    since: when it was set or turned, epoch milliseconds; two marks that differ in it alone are equal.
    """

    state: FenceState
    owner: Owner | None = None
    since: int = field(default=0, compare=False)


def row(conn: sqlite3.Connection) -> tuple[FenceMark, str | None] | None:
    """Return the mark and the pass's hash; None where no table, or one of other columns, bears the fence's name."""
    exists = conn.execute("SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    if exists is None:
        return None
    cursor = conn.execute(f"SELECT * FROM main.{TABLE}")
    columns, values = tuple(column[0] for column in cursor.description), cursor.fetchone()
    if columns not in (COLUMNS, COLUMNS[:5]):
        return None
    if values is None:  # A fence without its row is a fence that nobody passes.
        return FenceMark("fenced"), None
    # An older row, and one for no run, name nobody: the fence holds as well, and no run takes it for its own.
    run, target = values[5:] or (None, None)
    _id, state, pass_sha256, _message, since = values[:5]
    if state not in MESSAGES or not isinstance(since, int) or not all(map(_is_plain, (pass_sha256, run, target))):
        return FenceMark("fenced"), None  # What nobody here wrote opens nothing, and is nobody's.
    owner = Owner(run, target) if run and target else None
    return FenceMark(cast(FenceState, state), owner, since), pass_sha256


def _is_plain(cell: object) -> bool:
    return cell is None or isinstance(cell, str)


def own(conn: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """Return (type, name) of what the fence, draws, capture and rounds have in the file: it is never transferred."""
    tables = {("table", TABLE)} if row(conn) is not None else set()
    if draws.exists(conn):
        tables.add(("table", draws.TABLE))
    if applied_log.exists(conn):
        tables.add(("table", applied_log.TABLE))
    return frozenset({*tables, *(("trigger", name) for name in _triggers(conn)), *capture_schema.own(conn)})


def _triggers(conn: sqlite3.Connection) -> list[str]:
    return [name for name, text in _existing(conn).items() if _FENCE_TRIGGER.fullmatch(text)]


def strangers(conn: sqlite3.Connection) -> list[str]:
    """List what bears a name kept for the fence and is no part of it. SQLite ignores the case of names."""
    rows = conn.execute(
        "SELECT type, name FROM main.sqlite_master WHERE lower(name) = ? OR substr(lower(name), 1, ?) = ?",
        (TABLE, len(PREFIX), PREFIX),
    )
    fence_names = own(conn)
    return [f"{kind} {name}" for kind, name in rows.fetchall() if (kind, name) not in fence_names]


def tables(conn: sqlite3.Connection) -> list[str]:
    """List the tables that a fence covers: all but SQLite's and its own. Virtual ones are covered by those beneath."""
    rows = conn.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT IN (?, ?, ?, ?, ?)"
        " AND substr(lower(name), 1, 7) <> 'sqlite_' AND substr(upper(sql), 1, 14) <> 'CREATE VIRTUAL' ORDER BY name",
        (TABLE, draws.TABLE, applied_log.TABLE, capture_schema.TABLE, capture_schema.STATE),
    )
    return [str(name) for (name,) in rows.fetchall()]


def triggers(conn: sqlite3.Connection, state: FenceState) -> dict[str, str]:
    """Return each trigger's name and its CREATE statement, as SQLite keeps it."""
    made = {}
    for table in tables(conn):
        for event in EVENTS:
            name = f"{PREFIX}{table}_{event}"
            made[name] = (
                f"CREATE TRIGGER {quote(name)} BEFORE {event.upper()} ON {quote(table)}"
                f" BEGIN SELECT RAISE(ABORT, '{FENCE_MESSAGE}: {state}'); END"
            )
    return made


def changed(conn: sqlite3.Connection, state: FenceState) -> list[str]:
    """Return the triggers that this state wants and that are missing or otherwise, by name."""
    existing = _existing(conn)
    return [name for name, statement in triggers(conn, state).items() if existing.get(name) != statement]


def create_triggers(conn: sqlite3.Connection, state: FenceState) -> None:
    """Create the fence's triggers on every table of the file."""
    for statement in triggers(conn, state).values():
        conn.execute(statement)


def make(conn: sqlite3.Connection, state: FenceState, pass_sha256: str | None, owner: Owner | None) -> None:
    """Make table, row and triggers, where there is no fence. Raises StoreFailure if the game bears names of it."""
    if foreign := strangers(conn):
        raise StoreFailure(f"names that are kept for the fence are taken: {', '.join(foreign)}")
    conn.execute(
        f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL,"
        " pass_sha256 TEXT, message TEXT NOT NULL, since INTEGER NOT NULL, run TEXT, target TEXT)"
    )
    run, target = (None, None) if owner is None else (owner.run, owner.target)
    values = (1, state, pass_sha256, MESSAGES[state], time.time_ns() // 1_000_000, run, target)
    conn.execute(f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    create_triggers(conn, state)


def drop(conn: sqlite3.Connection) -> None:
    """Drop the fence's table and triggers, and nothing that is not the fence's."""
    drop_triggers(conn)
    if row(conn) is not None:
        conn.execute(f"DROP TABLE {TABLE}")


def drop_triggers(conn: sqlite3.Connection) -> None:
    """Drop the triggers alone: a pass takes them away for its time."""
    for name in _triggers(conn):
        conn.execute(f"DROP TRIGGER {quote(name)}")


def _existing(conn: sqlite3.Connection) -> dict[str, str]:
    rows = conn.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ?",
        (len(PREFIX), PREFIX),
    )
    return {str(name): str(text) for name, text in rows.fetchall()}
