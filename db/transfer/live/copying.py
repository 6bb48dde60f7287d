"""Copies a file in batches while players go on playing: each batch is read in a snapshot of its own, and written once.

What changes after its batch was read is on the log, for capture was on before the first batch; the rounds apply it. So
no read lasts longer than a batch, and the file's write-ahead log does not grow with the copy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from db import ops
from db import tables as db_tables
from db.console.live_view import CopyProgress
from db.errors import Refusal
from db.legacy.source import Source, SourceRow, SourceTable, chunks
from db.transfer.batches import JOURNALS, Batch, BatchBuilder, compares_rows, quarantine_record
from db.transfer.copying import copy
from db.transfer.live import lines, writing
from db.transfer.live.capture import PLAYERS
from db.transfer.live.rounds import Transaction
from game import tables
from game.legacy import sqlite_values
from game.legacy.sqlite_values import Cell, quote
from game.rows import Record

Seen: TypeAlias = Callable[[CopyProgress], None]
"""Told of each batch that was written."""

BATCH_BYTES = 256 * 1024
"""Smaller than an offline chunk: players' commands share the disk and the processors with it."""

_UNSYNCED = "set local synchronous_commit = off"
"""Of a batch's transaction: each sync of the disk is one that players' commits wait for. A crash of Postgres may take
the newest batches, with the checkpoints that name them, and they are read anew; whatever is committed with a sync after
them, each round and the point of no return, has them on the disk too."""


def require_live(source: Source) -> None:
    """Raise Refusal for a file that can only be copied while nobody writes to it."""
    journal_mode = source.schema.settings["journal_mode"]
    users = source.tables[PLAYERS]
    expected, found = "", ""
    if journal_mode != "wal":
        # In it a commit waits for every reader: three seconds were seen.
        expected, found = "a file in WAL mode", f"the journal mode {journal_mode}"
    elif users.rowid is None:
        expected, found = "a table users whose rows have a rowid", "none"
    elif compares_rows(users):
        expected, found = "ids, usernames and nicknames that SQLite keeps unique", "an index of one is missing"
    if expected:
        raise Refusal(
            f"{expected}, to copy while players play",
            found,
            where=source.where,
            do="Nothing was changed. Move with the game stopped: --offline",
        )


class LiveCopy:
    """The batches of one copy. A copy that was killed goes on after its last batch, a whole one copies nothing more.

    log: the name of the capture's log, which each checkpoint bears.
    """

    def __init__(
        self,
        conn: ops.Connection,
        where: str,
        *,
        run: str,
        log: str,
        transaction: Transaction,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self._progress = CopyProgress(0, 0, 0, 0)
        self.conn = conn
        self.where = where
        self.run = run
        self.log = log
        self.transaction = transaction
        self.batch_bytes = batch_bytes

    def copy(self, file: sqlite3.Connection, seen: Seen) -> int:
        """Copy every table, and return how many rows were written now."""
        if self._is_whole():
            return 0
        source = Source(file, self.where)
        names = sorted(source.tables, key=lambda name: (name in JOURNALS, name != PLAYERS))
        self._progress = CopyProgress(self._copied(PLAYERS)[2], source.count(PLAYERS), 0, 0)
        copied = sum(self._table(file, source.tables[name], seen) for name in names)
        with self.transaction():
            lines.give_all_heads(self.conn)
            number, after, _before = self._copied(PLAYERS)
            self._checkpoint(PLAYERS, number + 1, 0, 0, after, whole=True)
        return copied

    def _is_whole(self) -> bool:
        """Tell if every table was copied. Rounds follow then: rows that came since are theirs, and may be written."""
        query = "select counts from transfer_checkpoints where run = %s and source = %s"
        return any("whole" in json.loads(counts) for (counts,) in self.conn.execute(query, (self.run, self.log)))

    def _table(self, file: sqlite3.Connection, table: SourceTable, seen: Seen) -> int:
        number, after, before = self._copied(table.name)
        builder = BatchBuilder(table, lambda ids: {str(one) for one in lines.known(self.conn, set(ids))})
        if compares_rows(table) or (table.rowid is None and table.name not in JOURNALS):
            return 0 if number else self._whole(file, table, builder)
        copied = 0
        while True:
            file.execute("BEGIN")
            try:
                rows = self._read(Source(file, self.where), table, after)
                to_come = self._to_come(file, table, rows)
            finally:
                file.execute("ROLLBACK")
            if not rows:
                return copied
            number += 1
            after = self._place(table, rows[-1])
            if table.rowid is None:  # Their places count on from batch to batch.
                rows = [replace(row, position=before + copied + n) for n, row in enumerate(rows, 1)]
            at = None if not to_come else table.columns.index("user_id")
            batch = builder.pack([row for row in rows if at is None or row.cells[at] not in to_come])
            self._write(table, batch, number, rows, after)
            copied += len(rows)
            seen(self._with(table, rows))

    def _with(self, table: SourceTable, rows: list[SourceRow]) -> CopyProgress:
        """Add rows that were written to the progress in `self`, and return it."""
        before, size = self._progress, sum(row.bytes for row in rows)
        players = before.players + (len(rows) if table.name == PLAYERS else 0)
        self._progress = CopyProgress(players, max(before.total, players), before.rows + len(rows), before.bytes + size)
        return self._progress

    def _whole(self, file: sqlite3.Connection, table: SourceTable, builder: BatchBuilder) -> int:
        """Copy a small table, or one whose rows must be seen in their order, in one snapshot and one transaction."""
        copied = 0
        file.execute("BEGIN")
        try:
            with self.transaction():
                self.conn.execute(_UNSYNCED)
                for chunk in chunks(Source(file, self.where).rows(table.name), self.batch_bytes):
                    lines.write_batch(self.conn, builder.pack(chunk), self.run)
                    copied += len(chunk)
                self._checkpoint(table.name, 1, copied, 0, [copied])
        finally:
            file.execute("ROLLBACK")
        return copied

    def _copied(self, name: str) -> tuple[int, list[Cell] | None, int]:
        """Return the number of the last batch of a table, the place that it came to, and the rows before."""
        last = self.conn.execute(
            "select n, counts, sum(rows) over () from transfer_checkpoints where run = %s and source_table = %s and"
            " source = %s order by n desc limit 1",
            (self.run, name, self.log),
        ).fetchone()
        return (0, None, 0) if last is None else (int(last[0]), json.loads(last[1])["after"], int(last[2]))

    def _read(self, source: Source, table: SourceTable, after: list[Cell] | None) -> list[SourceRow]:
        """Read the next rows after a place, as many as a batch holds; one that is larger comes alone."""
        key = [table.rowid] if table.rowid else [quote(column) for column in table.primary_key]
        place = None if after is None else (key, after)
        return next(iter(chunks(source.rows(table.name, after=place), self.batch_bytes)), [])

    def _place(self, table: SourceTable, row: SourceRow) -> list[Cell]:
        """Return the values by which the copy goes on after the row: its position, or its primary key."""
        if table.rowid:
            return [row.position]
        cells = dict(zip(table.columns, row.cells, strict=True))
        return [cells[column] for column in table.primary_key]

    def _to_come(self, file: sqlite3.Connection, table: SourceTable, rows: list[SourceRow]) -> set[Cell]:
        """Return the players of these lines who came after the players were copied: the log has both for the rounds."""
        if table.name not in JOURNALS:
            return set()
        at = table.columns.index("user_id")
        ids = {row.cells[at] for row in rows}
        unknown = ids - lines.known(self.conn, {str(one) for one in ids if isinstance(one, str)})
        query = "SELECT 1 FROM users WHERE id = ?"
        return {one for one in unknown if file.execute(query, (sqlite_values.bind(one),)).fetchone() is not None}

    def _write(self, table: SourceTable, batch: Batch, number: int, rows: list[SourceRow], after: list[Cell]) -> None:
        with self.transaction():
            self.conn.execute(_UNSYNCED)
            for each in tables.ALL:
                if records := batch.records.pop(each.name, None):
                    copy(self.conn, each, records)
            if batch.findings:
                found = [quarantine_record(self.run, 0, finding) for finding in batch.findings]
                writing.number(self.conn, found, self.run)
            self._checkpoint(table.name, number, len(rows), sum(row.bytes for row in rows), after)

    def _checkpoint(
        self, table: str, number: int, rows: int, size: int, after: list[Cell] | None, *, whole: bool = False
    ) -> None:
        checkpoint: Record = {
            "run": self.run,
            "source_table": table,
            "n": number,
            "source": self.log,
            "position": number,
            "rows": rows,
            "bytes": size,
            "counts": json.dumps({"after": after} | ({"whole": True} if whole else {})),
        }
        copy(self.conn, db_tables.transfer_checkpoints, [checkpoint])
