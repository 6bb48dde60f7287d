"""Change capture as it stands in a legacy file: a log, and triggers on every table that note in it which rows change.

A line of the log names the place of a change, never its values: the table, the row's rowid or key, and the part of its
columns. A round reads the row as it is when the line is applied. The log is bounded, also while nobody empties it: past
so many lines the triggers add no more, and what reads the log then finds it full. All names begin with the fence's
prefix. Like the fence, capture is no part of the game: it is never transferred, compared or fenced. The file's own
triggers stay as they are.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from game.legacy.sqlite_values import quote

TABLE = "sudamr_fence_log"
STATE = "sudamr_fence_capture"
SUFFIX = "_log"
"""Ends the names of capture's triggers: a trigger of the fence ends with the event that it refuses."""

_MADE = (
    f"CREATE TABLE {TABLE} (n INTEGER PRIMARY KEY, source TEXT NOT NULL, position INTEGER, key TEXT, part INTEGER)",
    (
        f"CREATE TABLE {STATE} (id INTEGER PRIMARY KEY CHECK (id = 1), log TEXT NOT NULL, run TEXT NOT NULL,"
        " lines INTEGER NOT NULL)"
    ),
)
"""Not AUTOINCREMENT: it would leave a table of SQLite's that nobody can drop. `log` tells one log from another; `lines`
is how many the log may have."""

_ROOM = f"coalesce((SELECT max(n) FROM {TABLE}) - (SELECT min(n) FROM {TABLE}), 0) < (SELECT lines FROM {STATE})"
"""Each of the three is one step down a tree. A count would read the log."""

_LINE = rf"INSERT INTO {TABLE}\(source, position, key, part\) SELECT"
_CAPTURE_TRIGGER = re.compile(
    r'CREATE TRIGGER "sudamr_fence_(?:[^"]|"")+" (?:BEFORE|AFTER) (?:INSERT|DELETE|UPDATE)'
    r'(?: OF (?:"(?:[^"]|"")*"(?:, )?)+)?'
    rf' ON "(?:[^"]|"")*"(?: WHEN [^;]*?)? BEGIN (?:{_LINE} (?:[^;\']|\'(?:[^\']|\'\')*\')*; )+END'
)
"""A trigger of ours: it does nothing but add lines to the log."""


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """A table whose changes are noted.

    rowid: the name by which its rowid is reached; None: there is none. key: the columns that tell its rows apart where
    there is no rowid; () where a change only says that some row of the table changed. parts: the columns in parts, each
    noted by itself; () if only the whole row is. unique: the columns, with their collations, of each unique index: an
    INSERT OR REPLACE deletes the rows that have the same values there, and fires no trigger of theirs.
    """

    name: str
    rowid: str | None
    key: tuple[str, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()
    unique: tuple[tuple[tuple[str, str], ...], ...] = ()

    def triggers(self) -> Iterator[tuple[str, str]]:
        """Yield each trigger's name and its CREATE statement, as SQLite keeps it."""
        yield self._trigger("inserted", "AFTER INSERT", [self._line("NEW")])
        yield self._trigger("deleted", "AFTER DELETE", [self._line("OLD")])
        both = [self._line("OLD"), self._line("NEW")]
        if not self.parts:
            yield self._trigger("updated", "AFTER UPDATE", both if self.rowid or self.key else both[:1])
        for number, columns in enumerate(self.parts):
            if not columns:  # The file is older than all of them.
                continue
            yield self._trigger(f"updated_{number}", f"AFTER UPDATE OF {_listed(columns)}", [self._line("NEW", number)])
        if self.parts:  # An update of the rowid alone is an update of no column.
            moved = f"NEW.{self.rowid} <> OLD.{self.rowid}"
            yield self._trigger("moved", "AFTER UPDATE", both, when=moved)
        for number, index in enumerate(self.unique):
            if self.rowid or self.key:
                members = _listed(column for column, _collation in index)
                yield self._trigger(f"displacing_{number}", "BEFORE INSERT", [self._displaced(index)])
                yield self._trigger(f"replacing_{number}", f"BEFORE UPDATE OF {members}", [self._displaced(index)])

    def _trigger(self, what: str, event: str, lines: list[str], when: str = "") -> tuple[str, str]:
        name = f"sudamr_fence_{self.name}_{what}{SUFFIX}"
        condition = f" WHEN {when}" if when else ""
        body = "".join(f"INSERT INTO {TABLE}(source, position, key, part) {line}; " for line in lines)
        return name, f"CREATE TRIGGER {quote(name)} {event} ON {quote(self.name)}{condition} BEGIN {body}END"

    def _line(self, row: str, part: int | None = None) -> str:
        return f"SELECT {', '.join(self._place(row, part))} WHERE {_ROOM}"

    def _place(self, row: str, part: int | None = None) -> tuple[str, str, str, str]:
        position = f"{row}.{self.rowid}" if self.rowid else "NULL"
        return _text(self.name), position, self._key_of(row), "NULL" if part is None else str(part)

    def _key_of(self, row: str) -> str:
        if self.rowid or not self.key:
            return "NULL"
        names = [f"{row}.{quote(column)}" for column in self.key]
        types = ", ".join(f"typeof({name})" for name in names)
        # JSON holds no blob, and would fail the write that is noted.
        return f"CASE WHEN 'blob' IN ({types}) THEN NULL ELSE json_array({', '.join(names)}) END"

    def _displaced(self, index: tuple[tuple[str, str], ...]) -> str:
        same = " AND ".join(
            f"displaced.{quote(column)} COLLATE {quote(collation)} = NEW.{quote(column)}" for column, collation in index
        )
        place = ", ".join(self._place("displaced"))
        return f"SELECT {place} FROM {quote(self.name)} AS displaced WHERE {same} AND {_ROOM}"


def make(conn: sqlite3.Connection, tables: Iterable[CapturedTable], *, log: str, run: str, lines: int) -> None:
    """Make log and triggers in the open transaction; what an earlier capture left is dropped first.

    lines: how many the log may have; see `is_full`.
    """
    drop(conn)
    for statement in _MADE:
        conn.execute(statement)
    conn.execute(f"INSERT INTO {STATE} VALUES (1, ?, ?, ?)", (log, run, lines))
    create_triggers(conn, tables)


def create_triggers(conn: sqlite3.Connection, tables: Iterable[CapturedTable]) -> None:
    """Create the missing triggers of these tables, and replace those with another text."""
    existing = triggers(conn)
    for table in tables:
        for name, statement in table.triggers():
            if existing.get(name) == statement:
                continue
            if name in existing:
                conn.execute(f"DROP TRIGGER {quote(name)}")
            conn.execute(statement)


def drop(conn: sqlite3.Connection) -> None:
    """Drop triggers and log, in the open transaction or each by itself.

    Triggers go first: one without its log would fail every write.
    """
    for kind, name in sorted(own(conn), reverse=True):
        conn.execute(f"DROP {kind.upper()} {quote(name)}")


def own(conn: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """Return (type, name) of what capture has in the file's schema."""
    tables = {
        ("table", str(name))
        for name, text in conn.execute(
            "SELECT name, sql FROM main.sqlite_master WHERE type = 'table' AND name IN (?, ?)", (TABLE, STATE)
        ).fetchall()
        if text in _MADE
    }
    return frozenset(tables | {("trigger", name) for name in triggers(conn)})


def triggers(conn: sqlite3.Connection) -> dict[str, str]:
    """Return capture's triggers and their statements, by name."""
    rows = conn.execute(
        "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND substr(name, 1, 13) = 'sudamr_fence_'"
        " AND substr(name, ?) = ?",
        (-len(SUFFIX), SUFFIX),
    )
    return {str(name): str(text) for name, text in rows.fetchall() if _CAPTURE_TRIGGER.fullmatch(str(text))}


def state(conn: sqlite3.Connection) -> tuple[str, str] | None:
    """Return (log, run) of the capture that is on; None if none is."""
    if {("table", TABLE), ("table", STATE)} - own(conn):
        return None
    row = conn.execute(f"SELECT log, run FROM main.{STATE}").fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def is_full(conn: sqlite3.Connection) -> bool:
    """Return True if the log has as many lines as it may: since then changes may have been made that it lacks.

    It stays full until lines are deleted, so whoever deletes some asks first, in the same transaction.
    """
    return not conn.execute(f"SELECT {_ROOM}").fetchone()[0]


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quote, columns))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
