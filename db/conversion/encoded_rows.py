"""Reads the rows of a SQLite file in UTF-16. Every text is decoded strictly from the bytes that the file holds."""

from __future__ import annotations

import codecs
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TypeAlias

from db.conversion.encoded_schema import EncodedSchema, StoredTable
from db.files import private
from game.legacy.guarding import guard
from game.legacy.sqlite_values import quote

LARGE_BYTES = 1 << 20
"""A text of this size is decoded piece by piece: a string would take up to twice its bytes more memory."""

NAMED = 20

_COLUMNS_A_CURSOR = 900
"""A result may have 2,000 columns, and each cell is read as two: its storage class and its value."""


@dataclass(frozen=True, slots=True)
class LargeText:
    utf8: bytes


EncodedValue: TypeAlias = int | float | str | bytes | LargeText | None


@dataclass(frozen=True, slots=True)
class Converted:
    """One row: its rowid, or its place from 1 if it has none, and the values that its record stores."""

    rowid: int
    values: tuple[EncodedValue, ...]


@dataclass(slots=True)
class IllFormed:
    """Texts that are not valid UTF-16: their count, and the names of the first few."""

    places: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, place: str) -> None:
        """Count a text, and keep the places of the first NAMED."""
        self.count += 1
        if len(self.places) < NAMED:
            self.places.append(place)

    def __str__(self) -> str:
        more = f"; {self.count - len(self.places):,} more" if self.count > len(self.places) else ""
        return "; ".join(self.places) + more


class RowReader:
    """Reads tables row by row. A text that is not valid UTF-16 becomes a BLOB, and is noted in `ill_formed`.

    scratch: a folder for a copy of the file, which is made if SQL can't name a table's rowid.
    """

    def __init__(self, schema: EncodedSchema, scratch: Path) -> None:
        self.schema = schema
        self.ill_formed = IllFormed()
        self._connection = schema.connection
        self._scratch = scratch

    @contextmanager
    def rows(self, table: StoredTable) -> Iterator[Iterator[Converted]]:
        """Read the rows in the table's own order."""
        with self._rowids(table) as rowids:
            yield map(lambda rowid, cells: self._row(table, rowid, cells), rowids, self._cells(table))

    @contextmanager
    def _rowids(self, table: StoredTable) -> Iterator[Iterator[int]]:
        if table.key:
            yield count(1)
        elif table.rowid is not None:
            source = f"{quote(table.entry.name)} NOT INDEXED"
            yield map(_first, self._connection.execute(f"SELECT {table.rowid} FROM {source} ORDER BY {table.rowid}"))
        else:
            with self._under_another_name(table) as rowids:
                yield map(_first, rowids)

    @contextmanager
    def _under_another_name(self, table: StoredTable) -> Iterator[sqlite3.Cursor]:
        """Read rowids whose names are all taken by columns, in a copy of the file whose schema has other columns."""
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix=".convert-") as folder:
            path = Path(folder) / "copy.db"
            private.make(path)
            copy = guard(sqlite3.connect(path, isolation_level=None))
            try:
                self._connection.backup(copy)
                copy.execute("PRAGMA writable_schema=ON")
                copy.execute("DELETE FROM sqlite_master")
                copy.execute(
                    "INSERT INTO sqlite_master(type, name, tbl_name, rootpage, sql) VALUES ('table', 't', 't', ?, ?)",
                    (table.entry.root, "CREATE TABLE t (c0)"),
                )
                copy.execute("PRAGMA writable_schema=RESET")
                yield copy.execute("SELECT rowid FROM t ORDER BY rowid")
            finally:
                copy.close()

    def _cells(self, table: StoredTable) -> Iterator[Iterator[object]]:
        """Yield each row's cells: storage class and value by turns. A text's value is its bytes.

        Several cursors read a wide table in step.
        """
        # Without it, SQLite could read a table WITHOUT ROWID through a covering index, in the order of that index.
        source = f"{quote(table.entry.name)} NOT INDEXED"
        order = f" ORDER BY {table.rowid}" if table.rowid else ""
        starts = range(0, len(table.columns), _COLUMNS_A_CURSOR)
        slices = [table.columns[start : start + _COLUMNS_A_CURSOR] for start in starts]
        cursors = [
            self._connection.execute(f"SELECT {', '.join(map(_cell, some))} FROM {source}{order}") for some in slices
        ]
        return map(chain.from_iterable, zip(*cursors, strict=True))

    def _row(self, table: StoredTable, rowid: int, cells: Iterator[object]) -> Converted:
        values: list[EncodedValue] = []
        for column, kind, value in zip(table.columns, cells, cells, strict=True):
            values.append(self._value(table, rowid, column, kind, value))
        if table.alias is not None:
            values[table.alias] = None  # The record stores NULL; SQLite reads the rowid instead.
        return Converted(rowid, tuple(values))

    def _value(self, table: StoredTable, rowid: int, column: str, kind: object, value: object) -> EncodedValue:
        assert value is None or isinstance(value, int | float | bytes)
        if kind != "text" or not isinstance(value, bytes):
            return value
        try:
            return _utf8(value, self.schema.codec) if len(value) >= LARGE_BYTES else value.decode(self.schema.codec)
        except UnicodeDecodeError:
            row = f"row {rowid} in the order of its primary key" if table.key else f"rowid {rowid}"
            self.ill_formed.add(f"{table.entry.name}.{column}, {row}")
            return value


def _cell(column: str) -> str:
    # CAST gives the bytes that the file holds. Read as a text, SQLite would translate them.
    name = quote(column)
    return f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"


def _first(row: tuple[int]) -> int:
    return row[0]


def _utf8(data: bytes, codec: str) -> LargeText:
    decoder = codecs.getincrementaldecoder(codec)()
    pieces = bytearray()
    view = memoryview(data)
    for start in range(0, len(data), LARGE_BYTES):
        pieces += decoder.decode(view[start : start + LARGE_BYTES]).encode()
    pieces += decoder.decode(b"", final=True).encode()
    return LargeText(bytes(pieces))
