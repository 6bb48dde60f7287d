"""Turns change capture on a legacy file on and off, and reads what it noted; see `game.legacy.capture_schema`.

On is one short write transaction. A capture is told from others by its log's random name: lines of a log that is gone
say nothing about another one's.

The log is bounded: one that is full ends the copy, and the next begins anew. Players' writes never wait for it.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from db.errors import Inconclusive, Refusal
from db.legacy.source import Source, SourceTable
from db.transfer.batches import JOURNALS
from game.legacy import capture_schema, fence, fence_schema, numbering, sqlite_values
from game.legacy.capture_schema import TABLE, CapturedTable
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import quote

PLAYERS = "users"

PARTS = (USERS.plain, *(group.columns for group in USERS.groups))
"""The columns of a player's row by the tables that they go to; those that the game does not model are one more part."""

REST = len(PARTS)

BUSY_SECONDS = 15.0

PART_OF_FILE = 5
"""The log may grow to this part of the file: the disk that players play on is not ours."""

LINE_BYTES = 150
"""Of a line that bears the key of a receipt, with its share of a page (some 120); one of a player takes some 20."""

LEAST_LINES = 10_000
"""A megabyte. A small file would be full after a burst."""

LEAST_FREE_BYTES = 64 * 1024 * 1024
"""To be free on the file's disk. A commit of a player adds some 40 KB to the write-ahead log, which a proof that reads
keeps from being emptied: at 200 commits a second it takes these bytes in 8 s, and capture is off long before."""

JournalKey = tuple[str | int, ...]


@dataclass(slots=True)
class Dirty:
    """The changes that a log names, up to one of its lines.

    top: the newest line. players: rowids with the parts that changed, None for the whole row. rows: rowids by table.
    keys: keys by journal. whole: tables whose rows can't be told apart.
    """

    top: int = 0
    players: dict[int, set[int] | None] = field(default_factory=dict)
    rows: dict[str, set[int]] = field(default_factory=dict)
    keys: dict[str, set[JournalKey]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        """Return how many rows changed, at least."""
        rows, keys = sum(map(len, self.rows.values())), sum(map(len, self.keys.values()))
        return len(self.players) + rows + keys + len(self.whole)

    def __bool__(self) -> bool:
        return bool(self.count)


class LogOutgrown(Inconclusive):
    """The log is full, so it may lack changes: the copy can't be brought up to the file any more."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open the file that players write, to turn capture on and off and to delete lines of its log."""
    conn = sqlite_values.connect(path, timeout_seconds=BUSY_SECONDS)
    conn.execute("PRAGMA synchronous=EXTRA")
    return conn


def turn_on(conn: sqlite3.Connection, where: str, *, run: str) -> str:
    """Turn capture on for a run and return the log's name; one that this run turned on before goes on.

    Our own journals are made first: the service makes them with its first write, and a table that is made after capture
    has no triggers. Raises Refusal for a file that is fenced.
    """
    with writing(conn):
        if fence.state(conn) != "open":
            raise Refusal(
                "a legacy file that players play on",
                f"one that is {fence.state(conn)}",
                where=where,
                do="Nothing was changed. The next command: invoke status --env NAME",
            )
        numbering.make_tables(conn)
        numbering.add_columns(conn)
        tables = captured(Source(conn, where))
        known = capture_schema.state(conn)
        if known is not None and known[1] == run and not lacking(conn, tables) and not capture_schema.is_full(conn):
            return known[0]
        log = secrets.token_hex(8)
        capture_schema.make(conn, tables, log=log, run=run, lines=most_lines(conn))
        return log


def most_lines(conn: sqlite3.Connection) -> int:
    """Return how many lines the log of this file may have: a fifth of its size."""
    (pages,), (size,) = conn.execute("PRAGMA page_count").fetchone(), conn.execute("PRAGMA page_size").fetchone()
    return max(LEAST_LINES, int(pages) * int(size) // PART_OF_FILE // LINE_BYTES)


def require_room(conn: sqlite3.Connection, where: str) -> None:
    """Raise LogOutgrown if the log is full, as the open transaction sees it, or as it is now; or the disk nearly is."""
    if (free := free_bytes(where)) < LEAST_FREE_BYTES:
        raise LogOutgrown(
            f"{LEAST_FREE_BYTES / 1_000_000:.0f} MB free on the disk that players write to",
            f"{free / 1_000_000:.0f} MB",
            where=where,
            do="Change capture was taken off the legacy file at once, and players play on it. Make room on that disk,"
            " and run again: the copy begins anew.",
        )
    if capture_schema.is_full(conn):
        lines = size(conn)
        raise LogOutgrown(
            f"at most {lines:,} changes of players until they are applied: a fifth of the file's size",
            f"as many, and more since ({lines * LINE_BYTES / 1_000_000:,.1f} MB)",
            where=where,
            do="Change capture was taken off the legacy file at once, and players play on it. Choose a quieter hour and"
            " run again: the copy begins anew.",
        )


def free_bytes(where: str | Path) -> int:
    """Return how many bytes are free on the disk of the file."""
    return shutil.disk_usage(Path(where).parent).free


def turn_off(conn: sqlite3.Connection) -> None:
    """Turn capture off; the file's schema is as it was. Harmless where it is not on, and on a file that is fenced."""
    if capture_schema.own(conn):
        with writing(conn):
            capture_schema.drop(conn)


def log_of(conn: sqlite3.Connection, run: str) -> str | None:
    """Return the name of the run's log; None if no capture is on, or another run's."""
    known = capture_schema.state(conn)
    return known[0] if known is not None and known[1] == run else None


@contextmanager
def writing(conn: sqlite3.Connection) -> Iterator[None]:
    """Hold one IMMEDIATE transaction, synced as `open_file` has it; rolled back when the body fails."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    finally:
        if conn.in_transaction:
            conn.rollback()


def captured(source: Source) -> list[CapturedTable]:
    """Return every table that can have triggers, with what a line of the log says of its rows."""
    fenced = set(fence_schema.tables(source.connection))
    return [_captured(source, table) for table in source.tables.values() if table.name in fenced]


def uncaptured(source: Source) -> list[str]:
    """List the tables that hold rows and can have no trigger: SQLite's own. They are small, and read in each round."""
    fenced = set(fence_schema.tables(source.connection))
    return [name for name in source.tables if name not in fenced]


def _captured(source: Source, table: SourceTable) -> CapturedTable:
    key = table.primary_key if table.rowid is None and table.name in JOURNALS else ()
    parts: tuple[tuple[str, ...], ...] = ()
    if table.name == PLAYERS and table.rowid:
        modelled = [tuple(column for column in part if column in table.columns) for part in PARTS]
        known = {column for part in modelled for column in part}
        parts = (*modelled, tuple(column for column in table.columns if column not in known))
    return CapturedTable(table.name, table.rowid, key, parts, _unique(source.connection, table))


def _unique(conn: sqlite3.Connection, table: SourceTable) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return the unique indexes of a table, but for a key that is the rowid: a line names that anyway."""
    indexes = []
    for _n, name, is_unique, _origin, _partial in conn.execute(f"PRAGMA index_list({quote(table.name)})").fetchall():
        if not is_unique:
            continue
        members = [row for row in conn.execute(f"PRAGMA index_xinfo({quote(name)})").fetchall() if row[5]]
        if any(row[2] is None for row in members):
            raise Refusal(
                "unique indexes over columns",
                f"{name} of {table.name}, over an expression",
                where="sqlite_master",
                do="Capture can't tell which row it would displace. Move with the game stopped: add --offline to the"
                " same command.",
            )
        if table.rowid is not None or tuple(row[2] for row in members) != table.primary_key:
            indexes.append(tuple((str(row[2]), str(row[4])) for row in members))
    return tuple(indexes)


def lacking(conn: sqlite3.Connection, tables: Iterable[CapturedTable]) -> list[str]:
    """List the tables that lack a trigger of capture's, or have one that is otherwise."""
    existing = capture_schema.triggers(conn)
    return [
        table.name for table in tables if any(existing.get(name) != statement for name, statement in table.triggers())
    ]


def see_to(conn: sqlite3.Connection, where: str) -> list[str]:
    """Give every table that lacks them its triggers, and note all of its rows; list those tables.

    In one transaction, which is none where nothing is lacking: a table made since, one that was rebuilt, a column that
    was added.
    """
    if not lacking(conn, captured(Source(conn, where))):
        return []
    with writing(conn):
        tables = captured(Source(conn, where))
        names = lacking(conn, tables)
        capture_schema.create_triggers(conn, tables)
        for table in tables:
            if table.name in names:
                note_all(conn, table)
    return names


def note_all(conn: sqlite3.Connection, table: CapturedTable) -> None:
    """Put every row of the table onto the log, in the open transaction."""
    name, source = quote(table.name), "'" + table.name.replace("'", "''") + "'"
    if table.rowid:
        conn.execute(f"INSERT INTO {TABLE}(source, position) SELECT {source}, {table.rowid} FROM {name}")
    else:  # Of a table without rowids the whole is read again, whatever its key.
        conn.execute(f"INSERT INTO {TABLE}(source) VALUES ({source})")


def read(conn: sqlite3.Connection, where: str, *, after: int = 0) -> Dirty:
    """Return what the log says has changed, in the open read transaction. Raises LogOutgrown if it is full.

    after: a line; only those that are newer are read.
    """
    require_room(conn, where)
    dirty = Dirty()
    dirty.top = int(conn.execute(f"SELECT coalesce(max(n), 0) FROM {TABLE}").fetchone()[0])
    lines = conn.execute(
        f"SELECT DISTINCT source, position, key, part FROM {TABLE} WHERE n > ? AND n <= ?", (after, dirty.top)
    )
    for source, position, key, part in lines:
        if source == PLAYERS and position is not None:
            parts = dirty.players.setdefault(position, set())
            if part is None or part >= REST:
                dirty.players[position] = None
            elif parts is not None:
                parts.add(part)
        elif position is not None:
            dirty.rows.setdefault(source, set()).add(position)
        elif key is not None:
            dirty.keys.setdefault(source, set()).add(tuple(json.loads(key)))
        else:
            dirty.whole.add(source)
    for source in dirty.whole:
        dirty.rows.pop(source, None)
        dirty.keys.pop(source, None)
    return dirty


def forget(conn: sqlite3.Connection, top: int, where: str) -> None:
    """Delete the lines up to `top`, which are applied, in the open transaction.

    Raises LogOutgrown if the log has become full since they were read: it would have room again, and what it lacks
    would never be known.
    """
    require_room(conn, where)
    conn.execute(f"DELETE FROM {TABLE} WHERE n <= ?", (top,))


def is_half_full(conn: sqlite3.Connection) -> bool:
    """Return True if the log has half of the lines that it may have, about."""
    (most,) = conn.execute(f"SELECT lines FROM {capture_schema.STATE}").fetchone()
    return 2 * size(conn) > int(most)


def waiting(path: Path) -> int | None:
    """Return how many changes wait on the log of a file that others use, about; None if no log can be read.

    Opens the file anew, so that any thread may ask.
    """
    try:
        with closing(sqlite_values.connect(path, readonly=True, timeout_seconds=0.0)) as conn:
            return size(conn)
    except sqlite3.Error:
        return None


def size(conn: sqlite3.Connection) -> int:
    """Return the number of lines, about."""
    low, high = conn.execute(f"SELECT coalesce(min(n), 1), coalesce(max(n), 0) FROM {TABLE}").fetchone()
    return int(high) - int(low) + 1
