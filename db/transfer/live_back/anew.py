"""Writes everything back once into a file whose log was lost, in transactions of a bounded size, while players play.

From the first transaction on the file says that it has a part and follows no log, until it was compared whole: a
write-back that is killed anywhere is begun anew, and nobody takes the file for one that could be played on.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from db.console.progress import Progress
from db.errors import Failure
from db.legacy.source import Source, SourceRow, SourceTable, chunks, size_of
from db.schema import draws
from db.transfer import target as targets
from db.transfer.batches import JOURNALS
from db.transfer.live_back.file import FileTransactions
from db.transfer.live_back.players import require_equal
from db.transfer.target import LegacyRow, Target
from db.transfer.verify import compare, differing
from db.transfer.write_back import FileWriter, WriteBackCounts
from game.legacy import applied_log
from game.legacy import draws as legacy_draws
from game.legacy.sqlite_values import Cell, bind, placeholder, quote
from game.urls import PostgresUrl

PART_BYTES = 4 << 20
"""Written in one transaction, as in a round; a larger row is written alone."""

PAGE_BYTES = 2 << 20
"""Read at once: no statement stays open on the file between two pages, so nobody's checkpoint waits for this reader."""

DELETED_BYTES = 8 << 10
"""Of the pages that a deleted row changes, about."""

MOST_LOG_BYTES = 32 << 20
"""The file's write-ahead log may grow to so much. SQLite brings it back at 4 MB, unless another process is reading."""


class LogOfFileGrows(Failure):
    """Another process reads the file for so long that its write-ahead log would grow without a bound."""


def write_back_anew(target: PostgresUrl, file: FileTransactions, followed: str, progress: Progress) -> WriteBackCounts:
    """Make the fenced file say what one snapshot of the database says, and follow the log from then on.

    followed: the name of a log that was on before this is called. Raises what `write_back` raises, and LogOfFileGrows.
    Unlike there, parts may be in the file after an error; the file says so, and the next call goes on with the rest.
    """
    began = time.monotonic()
    with targets.opened(target) as snapshot:
        writer = PartWriter(file, snapshot)
        with file.in_parts():
            counts = writer.run(progress)
        compare(writer.source(), snapshot, progress).check()
        with file.writing():
            legacy_draws.write(file.connection, draws.read(snapshot.conn))
            applied_log.write(file.connection, followed, 0)
    counts.seconds = time.monotonic() - began
    return counts


class PartWriter(FileWriter):
    """Writes in transactions of PART_BYTES at most, each of which reads again what it wrote before it commits.

    A transaction begins with its first write, and ends where the next page of the file is read: other connections of
    the file wait for one page at most.
    """

    def __init__(self, file: FileTransactions, target: Target) -> None:
        super().__init__(file.connection, target, file.where)
        self._file = file
        self._bytes = 0

    def source(self) -> Source:
        return PagedSource(self.connection, self.where, self._end_part)

    def before_write(self) -> None:
        if not self.connection.in_transaction:
            self._file.begin_part()

    def written(self, table: SourceTable, position: int, line: LegacyRow | None) -> None:
        if line is not None:
            require_equal(self._differences(table, position, line), self.where)
        self._bytes += DELETED_BYTES if line is None else size_of(line.values())
        if self._bytes >= PART_BYTES:
            self._end_part()

    def _end_part(self) -> None:
        self._bytes = 0
        if self.connection.in_transaction:
            self._file.end_part()
            self._require_bounded_log()

    def _differences(self, table: SourceTable, position: int, line: LegacyRow) -> Iterator[str]:
        key = (table.rowid,) if table.rowid else table.primary_key
        values = [position if table.rowid else line[column] for column in key]
        where = " AND ".join(
            f"{quote(column) if not table.rowid else column} IS {placeholder(value)}"
            for column, value in zip(key, values, strict=True)
        )
        columns = ", ".join(map(quote, table.columns))
        query = f"SELECT {columns} FROM {quote(table.name)} WHERE {where}"
        cells = self.connection.execute(query, [*map(bind, values)]).fetchone()
        if cells is None:
            yield f"{table.name} row {position}: not in the file"
        else:
            row = SourceRow(position, cells, {}, 0)
            yield from (f"{table.name} row {position}, {one}" for one in differing(table.columns, row, line))

    def _require_bounded_log(self) -> None:
        if size := self._file.log_beyond(MOST_LOG_BYTES):
            raise LogOfFileGrows(
                f"the file's write-ahead log to stay below {MOST_LOG_BYTES >> 20} MB",
                f"{size >> 20} MB of it, since another process reads the legacy file for long",
                where=self.where,
                do="Players play on Postgres, and nothing was lost. End whoever reads the file (lsof names him), and"
                " run the same command again: what is written already stays.",
            )


class PagedSource(Source):
    """A file whose rows are read some at a time. before_page: called while no statement reads.

    For a file that nobody else writes: between two pages this reader holds no snapshot of it.
    """

    def __init__(self, connection: sqlite3.Connection, where: str, before_page: Callable[[], None]) -> None:
        super().__init__(connection, where)
        self._before_page = before_page

    def rows(
        self, table: str, *, generated: bool = False, after: tuple[Sequence[str], Sequence[Cell]] | None = None
    ) -> Iterator[SourceRow]:
        shape = self.tables[table]
        if shape.rowid is None and table not in JOURNALS:  # Its key may order otherwise than its rows stand.
            self._before_page()
            return super().rows(table, generated=generated, after=after)
        return self._paged(shape, generated=generated, after=after)

    def _paged(
        self, table: SourceTable, *, generated: bool, after: tuple[Sequence[str], Sequence[Cell]] | None
    ) -> Iterator[SourceRow]:
        key = [table.rowid] if table.rowid else [*map(quote, table.primary_key)]
        read = 0
        while True:
            self._before_page()
            page = next(iter(chunks(super().rows(table.name, generated=generated, after=after), PAGE_BYTES)), [])
            if not page:
                return
            last = page[-1]
            cells = dict(zip(table.columns, last.cells, strict=False))
            after = key, [last.position] if table.rowid else [cells[column] for column in table.primary_key]
            for row in page:
                read += 1
                yield row if table.rowid else replace(row, position=read)
