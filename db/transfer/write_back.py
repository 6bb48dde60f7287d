"""Writes back to the legacy file what players did on Postgres: in one SQLite transaction, verified before it commits.

A column is written where its rebuilt value differs from the file's; every other byte stays as it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from db.console.progress import Advance, Progress, Silent
from db.errors import Failure, Refusal
from db.legacy.opening import check_file
from db.legacy.row_writer import delete, delete_by_key, insert, update
from db.legacy.schema import Statement
from db.legacy.source import Digest, Source, SourceRow, SourceTable
from db.schema import draws
from db.transfer import missing_players
from db.transfer import target as targets
from db.transfer.batches import JOURNALS
from db.transfer.target import LegacyRow, PlacedRow, Target, sqlite_key
from db.transfer.verify import compare, differing, pairs, uncounted
from game.errors import Fenced, Moved
from game.legacy import draws as legacy_draws
from game.legacy import fence, numbering, sqlite_values
from game.legacy.codec.mapping import USERS
from game.legacy.sqlite_values import quote
from game.urls import PostgresUrl

_BUSY_SECONDS = 15.0


@dataclass(slots=True)
class WriteBackCounts:
    """The counts of a write-back. players: rows of `users` that changed; cells: columns written in any table.

    inserted, deleted: rows of other kinds than journal lines; lines: of the journals. All verified, and committed.
    """

    players: int = 0
    cells: int = 0
    inserted: int = 0
    deleted: int = 0
    lines: int = 0
    seconds: float = 0.0
    added_columns: list[str] = field(default_factory=list)


class TakenOver(Refusal):
    """The file is not under the pass of this process any more: another run fenced it anew, or opened it."""


def write_back(
    target: PostgresUrl,
    legacy: Path,
    *,
    pass_token: str,
    progress: Progress | None = None,
) -> WriteBackCounts:
    """Make the fenced legacy file say what the database says; again is harmless.

    Refusal: no legacy file, one that is not fenced or has another pass, one without a table that was loaded, a database
    that lacks a player of the file.
    Failure: the file, read again, is not what the database says. In all of them nothing is written.
    """
    began = time.monotonic()
    shown = progress or Silent()
    check_file(legacy)
    with (
        targets.opened(target) as snapshot,
        closing(open_file(legacy)) as file,
        writing(file, str(legacy), pass_token) as connection,
    ):
        carried = FileWriter(connection, snapshot, str(legacy)).run(shown)
        compare(Source(connection, str(legacy)), snapshot, shown).check()
        legacy_draws.write(connection, draws.read(snapshot.conn))
    carried.seconds = time.monotonic() - began
    return carried


def open_file(legacy: Path) -> sqlite3.Connection:
    """Open the file to write what comes back; each transaction is on disk when it has ended."""
    connection = sqlite_values.connect(legacy, timeout_seconds=_BUSY_SECONDS)
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA ignore_check_constraints=ON")
    return connection


@contextmanager
def writing(connection: sqlite3.Connection, where: str, pass_token: str) -> Iterator[sqlite3.Connection]:
    """Hold one transaction under the pass; rolled back when the body fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        if fence.state(connection) == "open":
            raise TakenOver(
                "a fenced file",
                "one that anyone may write",
                where=where,
                do="Nothing was written. Run the same command again: it fences the file first.",
            )
        with fence.bypass(connection, pass_token), without_triggers(connection):
            yield connection
        connection.execute("COMMIT")
    except (Fenced, Moved):
        raise TakenOver(
            "the pass of the run that fenced the file",
            "one that the fence does not accept",
            where=where,
            do="Another run took over; nothing was written. The next command: invoke status --env NAME",
        ) from None
    except sqlite3.DatabaseError as error:
        raise Failure(
            "the file to take what is written back",
            str(error),
            where=where,
            do="Nothing was written. Mend what this names, and run the same command again.",
        ) from error
    finally:
        if connection.in_transaction:
            connection.rollback()


@contextmanager
def without_triggers(connection: sqlite3.Connection) -> Iterator[None]:
    """Drop the file's own triggers in the open transaction, and create them again in their order afterwards."""
    # They would react to our writes as if players had made them, or refuse them.
    triggers = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid"
    ).fetchall()
    for name, _sql in triggers:
        connection.execute(f"DROP TRIGGER {quote(name)}")
    yield
    for _name, sql in triggers:
        connection.execute(sql)


class FileWriter:
    """Brings the file, whose transaction is open, to the database: every table, or one by one.

    A subclass may divide the writes into several transactions: it reads the file by `source`, and is told of each write
    by `before_write` and `written`.
    """

    def __init__(self, connection: sqlite3.Connection, target: Target, where: str) -> None:
        self.connection = connection
        self.target = target
        self.where = where
        self.carried = WriteBackCounts()

    def run(self, progress: Progress) -> WriteBackCounts:
        """Bring every table to the database; SQLite's own ones last, for they follow the others."""
        missing_players.require_none(self.source(), self.target.conn)
        self._make_room()
        source = self.source()
        named = dict.fromkeys((*source.tables, *(statement.name for statement in self.target.schema.tables)))
        names = sorted(named, key=lambda name: name.startswith("sqlite_"))
        with progress.bar("carrying back", source.count("users"), "players") as advance:
            for name in names:
                self.table(source, name, advance if name == "users" else uncounted)
        return self.carried

    def source(self) -> Source:
        """Return the file as it is read, with its tables of now."""
        return Source(self.connection, self.where)

    def before_write(self) -> None:
        """Do nothing: the transaction is open."""

    def written(self, table: SourceTable, position: int, line: LegacyRow | None) -> None:
        """Do nothing with a row that was written, or without a line deleted: the caller verifies all of them."""

    def table(self, source: Source, name: str, advance: Advance = uncounted) -> None:
        """Bring one table of the file to the database."""
        table = source.tables[name]
        if name in JOURNALS:
            self._journal(source, table)
        elif table.rowid is None:
            self._wholly(source, table)
        else:
            self._table(source, table, advance)

    def _make_room(self) -> None:
        """Make the journals that the file lacks, and the columns that a command wrote and the file has no place for."""
        source = self.source()
        missing = [statement for statement in self.target.schema.tables if statement.name not in source.tables]
        for statement in missing:
            self.make(statement)
        if {numbering.RECEIPTS} & {*source.tables, *(statement.name for statement in missing)}:
            self.before_write()
            numbering.add_columns(self.connection)  # The file may be older than the numbers.
        for column in self.target.added_columns():
            if column not in source.tables["users"].columns:
                self.before_write()
                self.connection.execute(f"ALTER TABLE users ADD COLUMN {quote(column)} {USERS.declared[column]}")
                self.carried.added_columns.append(column)

    def make(self, statement: Statement) -> None:
        """Make a journal. Raises Refusal for any other table: the file is not the one that was loaded."""
        if statement.name not in JOURNALS:
            raise Refusal(
                f"the file that was loaded, with its table {statement.name}",
                "no such table",
                where=self.where,
                do="Nothing was written. Correct `legacy` where it is set (invoke status --env NAME: settings): it is"
                " the file that the game moved from.",
            )
        self.before_write()
        self.connection.execute(str(statement.sql))

    def _table(self, source: Source, table: SourceTable, advance: Advance) -> None:
        """Update in place; a row whose unique columns change is written anew, so that two may swap theirs."""
        gone: list[int] = []
        wanted: set[int] = set()
        for pair in pairs(source.rows(table.name), self.target.rows(table.name)):
            if pair.line is None:
                gone.append(pair.position)
            elif pair.row is None:
                wanted.add(pair.position)
                self.carried.inserted += 1
            elif changed := differing(table.columns, pair.row, pair.line):
                self.carried.cells += len(changed)
                self.carried.players += table.name == "users"
                if table.indexed.isdisjoint(changed):
                    self.before_write()
                    update(self.connection, table, pair.position, pair.line, changed)
                    self.written(table, pair.position, pair.line)
                else:
                    wanted.add(pair.position)
            if pair.row is not None:
                advance(1)
        self.carried.deleted += len(gone)
        self._replace(table, gone, wanted)

    def _replace(self, table: SourceTable, gone: list[int], wanted: set[int]) -> None:
        """Delete what goes, and write anew what is wanted, each row at once; last those whose names others had."""
        for position in gone:
            self.before_write()
            delete(self.connection, table, position)
            self.written(table, position, None)
        late: set[int] = set()
        for position, row in self._rows_at(table, wanted):
            self.before_write()
            delete(self.connection, table, position)  # In one transaction with what comes in its place.
            try:
                self._insert(table, position, row)
            except sqlite3.IntegrityError:  # Another row that is still to come has what must be unique.
                late.add(position)
        for position, row in self._rows_at(table, late):
            self._insert(table, position, row)

    def _rows_at(self, table: SourceTable, positions: set[int]) -> Iterator[PlacedRow]:
        return (row for row in self.target.rows(table.name) if row[0] in positions) if positions else iter(())

    def _insert(self, table: SourceTable, position: int, line: LegacyRow) -> None:
        self.before_write()
        insert(self.connection, table, position, line)
        self.written(table, position, line)

    def _wholly(self, source: Source, table: SourceTable) -> None:
        """Compare a table whose rows have no rowid; leave it alone where all is equal, else write it anew."""
        digest_of_file, digest_of_target = Digest(), Digest()
        rows_in_file = rows_in_target = 0
        for row in source.rows(table.name):
            digest_of_file.add(row)
            rows_in_file += 1
        for position, line in self.target.rows(table.name):
            digest_of_target.add(SourceRow(position, tuple(line.get(column) for column in table.columns), {}, 0))
            rows_in_target += 1
        if digest_of_file.hex() == digest_of_target.hex():
            return
        self.before_write()
        self.connection.execute(f"DELETE FROM {quote(table.name)}")
        for position, line in self.target.rows(table.name):
            self._insert(table, position, line)
        self.carried.deleted += rows_in_file
        self.carried.inserted += rows_in_target

    def _journal(self, source: Source, table: SourceTable) -> None:
        """Add the lines that the file lacks. Both sides come in the key's order, so what is added lies behind us."""
        key = table.primary_key
        rows = (dict(zip(table.columns, row.cells, strict=True)) for row in source.rows(table.name))
        line_of_file = next(rows, None)
        for _position, line in self.target.rows(table.name):
            place = sqlite_key(line, key)
            while line_of_file is not None and sqlite_key(line_of_file, key) < place:
                self.drop_line(table, line_of_file)
                line_of_file = next(rows, None)
            if line_of_file is None or sqlite_key(line_of_file, key) != place:
                self.add_line(table, line)
                continue
            if any(not sqlite_values.same(line_of_file[column], line.get(column)) for column in table.columns):
                self.drop_line(table, line_of_file)
                self.add_line(table, line)
            line_of_file = next(rows, None)
        while line_of_file is not None:
            self.drop_line(table, line_of_file)
            line_of_file = next(rows, None)

    def add_line(self, table: SourceTable, line: LegacyRow) -> None:
        """Add a line to a journal of the file."""
        self._insert(table, 0, line)
        self.carried.lines += 1

    def drop_line(self, table: SourceTable, line: LegacyRow) -> None:
        """Delete a line of a journal of the file."""
        self.before_write()
        delete_by_key(self.connection, table, line)
        self.written(table, 0, None)
        self.carried.deleted += 1
