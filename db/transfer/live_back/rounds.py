"""One round of write-back: what the change log of Postgres names is read in one snapshot and brought to the file.

The order makes a round that is killed harmless: the file is committed first, then exactly the lines that were applied
are deleted. A round that runs again reads the rows as they are, and writes what differs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from db import ops
from db.counts import few
from db.errors import Inconclusive
from db.ops import change_log, fence
from db.ops.change_log import Capture
from db.schema import draws
from db.transfer.live_back import journals
from db.transfer.live_back.dirty import Dirty
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.players import GIVE_PLACES, PlayerRows, require_equal
from db.transfer.target import Target
from db.transfer.verify import differences
from db.transfer.write_back import FileWriter, WriteBackCounts
from game.legacy import applied_log, numbering
from game.legacy import draws as legacy_draws


@dataclass(frozen=True, slots=True)
class RoundOfWriteBack:
    """The result of a round. players: rows of `users` that changed; cells: columns written in any table.

    inserted, deleted: rows of other kinds than journal lines; lines: of the journals; log_lines: of the log that were
    applied. seconds: from its snapshot on. read_at: when its snapshot was taken, monotonic seconds; every change that
    was committed before is in the file now.
    """

    players: int = 0
    cells: int = 0
    inserted: int = 0
    deleted: int = 0
    lines: int = 0
    log_lines: int = 0
    seconds: float = 0.0
    read_at: float = 0.0
    added_columns: list[str] = field(default_factory=list)


class LogLost(Inconclusive):
    """The log does not lead from the file to Postgres any more. The next write-back begins anew, while players play."""


def lost(found: str, where: str) -> LogLost:
    """Return the error for a log that does not lead from the file to Postgres."""
    return LogLost(
        "the change log of Postgres, whole, since the file said what Postgres says",
        found,
        where=where,
        do="Players play on Postgres, and nothing was lost. Run the same command again: it writes all back anew.",
    )


class Rounds:
    """The rounds into one file. conn: the owner's connection to Postgres, in autocommit."""

    def __init__(self, conn: ops.Connection, file: FileTransactions) -> None:
        self.conn = conn
        self.file = file
        self._known: Target | None = None

    def know(self, other: Rounds) -> None:
        """Take over what another connection's rounds found out about the file's schema."""
        self._known = other._known

    def apply(self, capture: Capture, *, give_places: bool) -> RoundOfWriteBack:
        """Bring the file up to what the open transaction sees, and delete the lines of the log in that transaction.

        capture: the log as this transaction sees it.
        give_places: note in Postgres where players stand who were made there; not from behind a fence.
        Raises LogLost where the log does not lead to what Postgres says.
        """
        began = time.monotonic()
        self._require_whole(capture)
        dirty = Dirty.of(change_log.lines(self.conn, capture.log))
        if not dirty.numbers:
            return RoundOfWriteBack(read_at=began, seconds=time.monotonic() - began)
        counts = WriteBackCounts()
        with self.file.writing():
            rounds = self._require_followed(capture)
            newcomers = self._write(dirty, counts)
            applied_log.write(self.file.connection, capture.followed, rounds + 1)
        self._committed()
        # Not only those whom this round put in: an earlier one may have died, or rolled back, after the file's COMMIT.
        if give_places and newcomers:
            with fence.own_pass(self.conn):
                self.conn.execute(GIVE_PLACES)
        change_log.forget(self.conn, capture.log, dirty.numbers, rounds + 1)
        return RoundOfWriteBack(
            players=counts.players,
            cells=counts.cells,
            inserted=counts.inserted,
            deleted=counts.deleted,
            lines=counts.lines,
            log_lines=len(dirty.numbers),
            seconds=time.monotonic() - began,
            read_at=began,
            added_columns=self.file.added_columns,
        )

    def _committed(self) -> None:
        """Do nothing: a test stops a round between the file's COMMIT and the deletion of its lines."""

    def _require_whole(self, capture: Capture) -> None:
        """Raise LogLost unless the log is on, and whole."""
        where = ops.place(self.conn)
        if not capture.on:
            raise lost(f"one that is off ({capture.ended or 'it was turned off'})", where)
        if lacking := change_log.lacking(self.conn):
            raise lost(f"one without {few(lacking, 4)}", where)
        if not capture.whole:
            raise lost("one whose tables or triggers were changed since it began", where)

    def _require_followed(self, capture: Capture) -> int:
        """Return how many rounds the file has. Raises LogLost for a file that lacks what Postgres has forgotten."""
        followed = applied_log.read(self.file.connection)
        if followed is None or followed[0] != capture.followed:
            raise lost("a file that follows another log, or none", self.file.where)
        if followed[1] < capture.rounds:
            raise lost(
                f"a file with {followed[1]:,} of the {capture.rounds:,} rounds that Postgres has forgotten",
                self.file.where,
            )
        return followed[1]

    def _target(self, dirty: Dirty) -> Target:
        target = Target(self.conn)
        if self._known is not None and not dirty.schema:
            target.take_schema_of(self._known)
        self._known = target
        return target

    def _write(self, dirty: Dirty, counts: WriteBackCounts) -> bool:
        """Write what differs into the file's open transaction. Returns True if Postgres lacks a player's place."""
        file, target = self.file, self._target(dirty)
        if not file.tables.keys() >= journals.NAMES or numbering.absent_columns(file.connection):
            numbering.make_tables(file.connection)
            numbering.add_columns(file.connection)
            file.reread()
        players = PlayerRows(file, target, counts)
        players.apply(dirty)
        writer = FileWriter(file.connection, target, file.where)
        writer.carried = counts
        journals.apply(file, target, writer, dirty)
        self._write_whole(dirty, target, writer)
        epoch = draws.read(self.conn)
        if legacy_draws.read(file.connection) != epoch:
            legacy_draws.write(file.connection, epoch)
        return players.newcomers

    def _write_whole(self, dirty: Dirty, target: Target, writer: FileWriter) -> None:
        """Write the tables without players of which some row changed, and SQLite's own, which follow the others."""
        tables = self.file.tables
        for statement in target.schema.tables if dirty.whole or dirty.schema else ():
            if statement.name not in tables:
                writer.make(statement)
        for name in (*sorted(dirty.whole), *(name for name in tables if name.startswith("sqlite_"))):
            if name in tables:
                source = self.file.source()
                writer.table(source, name)
                require_equal(differences(name, source, target), self.file.where)
