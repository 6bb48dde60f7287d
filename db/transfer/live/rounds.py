"""One round: everything that the log says has changed is read in one snapshot of the file and brought to the target.

A round may run again: it reads the rows as they are, and writes what differs. The lines of the log are deleted once
their round is committed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from db import ops
from db.legacy import schema as schemas
from db.legacy.schema import Schema
from db.legacy.source import Source, SourceRow, SourceTable, chunks
from db.schema import draws
from db.transfer.batches import JOURNALS, compares_rows
from db.transfer.copying import copy
from db.transfer.live import capture, lines, players
from db.transfer.live.capture import Dirty
from game import tables
from game.legacy import capture_schema
from game.legacy import draws as legacy_draws
from game.legacy.capture_schema import CapturedTable
from game.legacy.sqlite_values import quote

Transaction: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Begins a transaction on the target under the run's pass."""

_OWN = {"user_credentials": "user_credentials", "live_games": "live_games", "kv": "key_values"}


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The result of a round. top: the newest line of the log that it took. seconds: from its snapshot to its commit.

    read_at: when its snapshot was taken, monotonic seconds; every change committed before is in the target now.
    """

    top: int
    players: int
    rows: int
    written: int
    seconds: float
    read_at: float

    def and_then(self, rest: RoundResult) -> RoundResult:
        """Return both as one, which began with this one; players may be counted twice."""
        players, rows, written = self.players + rest.players, self.rows + rest.rows, self.written + rest.written
        return RoundResult(rest.top, players, rows, written, rest.read_at + rest.seconds - self.read_at, self.read_at)


@dataclass(frozen=True, slots=True)
class _Known:
    """A file's schema, and what follows from it: reading it takes longer than a round of a few players."""

    of: tuple[object, ...]
    schema: Schema
    tables: dict[str, SourceTable]
    captured: list[CapturedTable]
    uncaptured: list[str]


def _fingerprint(file: sqlite3.Connection) -> tuple[object, ...]:
    """Return what tells a file's schema from another, but for what the fence and capture have in it."""
    rows = file.execute(
        "SELECT type, name, sql FROM sqlite_master"
        " WHERE lower(tbl_name) <> 'sudamr_fence' AND substr(lower(name), 1, 13) <> 'sudamr_fence_'"
    )
    return tuple(rows.fetchall())


class Rounds:
    """The rounds of one copy. conn: the target, as `writing` opened it, with the run's pass given by `transaction`."""

    def __init__(self, conn: ops.Connection, where: str, *, run: str, transaction: Transaction) -> None:
        self.conn = conn
        self.where = where
        self.run = run
        self.transaction = transaction
        self._known: _Known | None = None
        self._epoch: str | None = None
        self._taken = 0
        """The newest line of the log that the target has. Older ones may stand on the log still; nobody needs them."""

    def begin(self) -> None:
        """Forget what the target has: it was emptied, or the log is a new one."""
        self._taken = 0

    def run_once(self, file: sqlite3.Connection) -> RoundResult:
        """Read in a snapshot of its own, apply, and delete the lines that were applied. Raises LogOutgrown."""
        capture.require_room(file, self.where)
        if self.lacking(file):
            capture.see_to(file, self.where)
        result = self.run_ahead(file)
        if result.top:
            with capture.writing(file):
                capture.forget(file, result.top, self.where)
            self._taken = 0  # SQLite numbers the lines of an emptied log from 1 again.
        return result

    def run_ahead(self, file: sqlite3.Connection, transaction: Transaction | None = None) -> RoundResult:
        """Read in a snapshot of its own and apply; the lines stay on the log, so this waits for no writer.

        The next round passes over them. transaction: in place of the rounds' own. Raises LogOutgrown.
        """
        file.execute("BEGIN")
        try:
            return self._apply(file, transaction or self.transaction)
        finally:
            file.execute("ROLLBACK")

    def lacking(self, file: sqlite3.Connection) -> list[str]:
        """List the tables that lack a trigger of capture's, or have one that is otherwise; the log, if it is full."""
        if capture_schema.is_full(file):
            return [capture_schema.TABLE]
        if self._known is None or self._known.of != _fingerprint(file):
            source = Source(file, self.where)
            return capture.lacking(file, capture.captured(source))
        return capture.lacking(file, self._known.captured)

    def apply(self, file: sqlite3.Connection) -> RoundResult:
        """Bring the target to the open snapshot of the file, some players a transaction. Deletes no line of the log."""
        return self._apply(file, self.transaction)

    def last(self, file: sqlite3.Connection) -> RoundResult:
        """Bring the target to the file, whose write lock is held, in one transaction that waits for no disk.

        It is on disk before the point of no return is: that transaction comes later in the same log, and waits for it.
        """
        with self.transaction():
            self.conn.execute("set local synchronous_commit = off")
            return self._apply(file, nullcontext)

    def _apply(self, file: sqlite3.Connection, transaction: Transaction) -> RoundResult:
        began = time.monotonic()
        source = self._source(file, transaction)
        dirty = capture.read(file, self.where, after=self._taken)
        applied = players.apply(source, self.conn, dirty.players, run=self.run, transaction=transaction)
        self._note_lines_of(source, dirty, applied)
        written = applied.rows
        assert self._known is not None
        small = self._known.uncaptured
        if dirty.rows or dirty.keys or dirty.whole or small or applied.added:
            with transaction():
                written += self._others(source, dirty, small)
                if applied.added:
                    lines.give_heads(self.conn, applied.added)
        if transaction is not nullcontext:  # Else the caller commits, or does not.
            self._taken = dirty.top
        return RoundResult(dirty.top, applied.players, dirty.count, written, time.monotonic() - began, began)

    def _source(self, file: sqlite3.Connection, transaction: Transaction) -> Source:
        """Open the file's snapshot as a Source. Read its schema again only where it has changed.

        Note a new schema and a new draw epoch, in self and on the target.
        """
        source = Source(file, self.where)
        of = _fingerprint(file)
        if self._known is None or self._known.of != of:
            self._note_schema(source.schema, transaction)
            captured, uncaptured = capture.captured(source), capture.uncaptured(source)
            self._known = _Known(of, source.schema, source.tables, captured, uncaptured)
        source.__dict__ |= {"schema": self._known.schema, "tables": self._known.tables}
        if (epoch := legacy_draws.read(file)) != self._epoch:
            with transaction():
                draws.give(self.conn, epoch)
            self._epoch = epoch
        return source

    def _note_schema(self, schema: Schema, transaction: Transaction) -> None:
        """Have the target say the file's schema; what it holds of tables that are gone is taken out."""
        known = self.conn.execute("select type, name, table_name, sql from legacy_schema order by position").fetchall()
        was = schemas.from_records(known)
        if was == schema:
            return
        with transaction():
            self.conn.execute("delete from legacy_schema")
            copy(self.conn, tables.legacy_schema, schemas.to_records(schema))
            for name in {one.name for one in was.tables} - {one.name for one in schema.tables}:
                self._clear(name)

    def _note_lines_of(self, source: Source, dirty: Dirty, applied: players.PlayersApplied) -> None:
        """Have the lines looked at of players who came or went: a line without its player is kept whole."""
        if changed := applied.gone | applied.added:
            for name in JOURNALS:
                if name in source.tables:
                    dirty.keys.setdefault(name, set()).update(lines.keys_of(source, name, changed))

    def _others(self, source: Source, dirty: Dirty, small: list[str]) -> int:
        """Apply what changed in tables without players, and in journals. Returns the rows written."""
        written = 0
        for name in dict.fromkeys((*sorted(dirty.whole), *small)):
            written += self._whole(source, name)
        for name, positions in dirty.rows.items():
            if name not in source.tables or compares_rows(source.tables[name]):
                written += self._whole(source, name)
            else:
                written += self._rows(source, name, positions)
        return written + lines.apply(source, self.conn, dirty.keys, run=self.run)

    def _whole(self, source: Source, name: str) -> int:
        """Load a table anew whose rows can't be told apart."""
        if name in JOURNALS:
            return lines.apply(source, self.conn, {name: lines.all_keys(source, self.conn, name)}, run=self.run)
        written = self._clear(name)
        if name in source.tables:
            builder = lines.builder(source, self.conn, name)
            for chunk in chunks(source.rows(name)):
                lines.write_batch(self.conn, builder.pack(chunk), self.run)
                written += len(chunk)
        return written

    def _clear(self, name: str) -> int:
        """Delete the table's rows and its quarantine from the target. Return how many rows, quarantine not counted."""
        cleared = 0
        if (own := _OWN.get(name)) is not None:
            cleared += self.conn.execute(f"delete from {own}".encode()).rowcount
        cleared += self.conn.execute("delete from legacy_rows where source = %s", (name,)).rowcount
        self.conn.execute("delete from quarantine where source_table = %s", (name,))
        return cleared

    def _rows(self, source: Source, name: str, positions: set[int]) -> int:
        """Take out what stands at these positions, and put in what the file has there."""
        table, at = source.tables[name], list(positions)
        if (own := _OWN.get(name)) is not None:
            self.conn.execute(f"delete from {own} where position = any(%s)".encode(), (at,))
        self.conn.execute("delete from legacy_rows where source = %s and position = any(%s)", (name, at))
        keys = [f"row {position}" for position in at]
        self.conn.execute("delete from quarantine where source_table = %s and key = any(%s)", (name, keys))
        columns = ", ".join(map(quote, table.columns))
        query = f"SELECT {columns} FROM {quote(name)} WHERE {table.rowid} = ?"
        looked_up = ((position, source.connection.execute(query, (position,)).fetchone()) for position in at)
        rows = [SourceRow(position, cells, {}, 0) for position, cells in looked_up if cells is not None]
        lines.write_batch(self.conn, lines.builder(source, self.conn, name).pack(rows), self.run)
        return len(at)
