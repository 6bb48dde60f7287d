"""Proves that a file in UTF-8 equals a file in UTF-16: settings, schema, and every value of every row.

It shares no code with the converter and works in the other direction: it encodes the copy's texts strictly as UTF-16,
and compares the bytes with the source's. Differences name places, never values: the files hold secrets.
"""

from __future__ import annotations

import codecs
import hashlib
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeAlias

from db.console.progress import Advance, Progress
from db.conversion.table_pages import rowids
from db.counts import first_of
from db.errors import Failure
from db.files import private
from db.transfer.verify import uncounted
from game.legacy.guarding import guard
from game.legacy.sqlite_values import quote

_SETTINGS = (
    "page_size",
    "auto_vacuum",
    "user_version",
    "application_id",
    "schema_version",
    "default_cache_size",
    "journal_mode",
)
_SHOWN = 20
_COLUMNS_A_PASS = 400
_PIECE = 1 << 20

TypedBytes: TypeAlias = tuple[str, bytes]
"""A storage class, and the value as bytes: UTF-16 for a text, a digest for a large value."""

RowLine: TypeAlias = tuple[int | None, list[TypedBytes]]
"""A row: its rowid, and its cells."""


@dataclass(frozen=True, slots=True)
class Proven:
    """Counts of what was compared.

    unread: generated columns that neither file can be asked for, because this SQLite lacks their function.
    """

    tables: int
    rows: int
    values: int
    unread: tuple[str, ...]


def prove(source: sqlite3.Connection, copy: Path, *, known: frozenset[str], blobs: bool, progress: Progress) -> Proven:
    """Compare the copy with the source. Raises Failure naming at most 20 differences.

    source: still in the transaction that was copied. known: the findings that integrity_check may have on the copy.
    blobs: the copy must hold each text that is not valid UTF-16 as a BLOB of the same bytes. Without it such a text is
    a difference.
    """
    uri = f"{copy.resolve().as_uri()}?mode=ro"
    with closing(guard(sqlite3.connect(uri, uri=True, isolation_level=None))) as connection:
        comparison = _Comparison(source, connection, copy, blobs=blobs)
        progress.say("checking the copy")
        with progress.bar("proving", comparison.count(), "rows") as advance:
            differences = first_of(comparison.run(known, advance), _SHOWN)
    if differences:
        raise Failure(
            "a copy that equals the source",
            differences,
            where=str(copy.parent),
            do="Nothing was made. If a generated column depends on a text's bytes, drop it in a copy; convert that.",
        )
    return Proven(comparison.tables, comparison.rows, comparison.values, tuple(comparison.unread))


class _Comparison:
    def __init__(self, source: sqlite3.Connection, copy: sqlite3.Connection, path: Path, *, blobs: bool) -> None:
        self.source = source
        self.copy = copy
        self.path = path
        self.blobs = blobs
        self.codec = "utf-16-be" if source.execute("PRAGMA encoding").fetchone() == ("UTF-16be",) else "utf-16-le"
        self.tables = self.rows = self.values = 0
        self.unread: list[str] = []

    def count(self) -> int:
        return sum(_one(self.copy, f"SELECT count(*) FROM {quote(table)}") for table, _root in self._stored())

    def run(self, known: frozenset[str], advance: Advance) -> Iterator[str]:
        yield from self._settings()
        yield from self._schema()
        self.copy.execute("PRAGMA ignore_check_constraints=ON")  # A CHECK may call a function that this SQLite lacks.
        for (finding,) in self.copy.execute("PRAGMA integrity_check(1000000)"):
            if finding != "ok" and finding not in known:
                yield f"integrity_check: {finding}"
        for table, root in self._stored():
            self.tables += 1
            yield from self._table(table, root, advance)

    def _settings(self) -> Iterator[str]:
        if (encoding := self.copy.execute("PRAGMA encoding").fetchone()) != ("UTF-8",):
            yield f"pragma encoding: {encoding}"
        for name in _SETTINGS:
            source, copy = (connection.execute(f"PRAGMA {name}").fetchone() for connection in (self.source, self.copy))
            if source != copy:
                yield f"pragma {name}: {source} and {copy}"

    def _schema(self) -> Iterator[str]:
        columns = ["type", "name", "tbl_name", "sql"]
        query = f"SELECT rowid, {', '.join(map(_pair, columns))} FROM sqlite_master ORDER BY rowid"
        for source, copy in zip_longest(self._lines(self.source, query), self._lines(self.copy, query)):
            if source != copy:
                yield f"sqlite_master, row {(source or copy or (None,))[0]}: not the same"

    def _stored(self) -> list[tuple[str, int]]:
        """List the tables that hold rows, with their root pages in the copy."""
        query = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY rowid"
        return self.copy.execute(query).fetchall()

    def _table(self, table: str, root: int, advance: Advance) -> Iterator[str]:
        described, copied = (
            connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
            for connection in (self.source, self.copy)
        )
        if described != copied:
            yield f"{table}: not the same columns"
            return
        columns = [str(row[1]) for row in described if row[6] != 2 or self._readable(table, str(row[1]))]
        key = [str(row[1]) for row in described if row[5]]
        without_rowid = any(row[1:5:3] == (table, 1) for row in self.copy.execute("PRAGMA main.table_list").fetchall())
        rows = _one(self.copy, f"SELECT count(*) FROM {quote(table)}")
        self.rows += rows
        self.values += rows * len(columns)
        for start in range(0, len(columns), _COLUMNS_A_PASS):
            some = columns[start : start + _COLUMNS_A_PASS]
            if without_rowid:
                yield from self._compare_as_sets(table, list(dict.fromkeys((*key, *some))))
            else:
                yield from self._compare_by_rowid(table, root, some, uncounted if start else advance)
        if without_rowid:
            advance(rows)

    def _readable(self, table: str, column: str) -> bool:
        """Return False for a virtual column whose function is missing; the file stores no value of it."""
        try:
            self.source.execute(f"SELECT {quote(column)} FROM {quote(table)} LIMIT 0")
        except sqlite3.OperationalError:
            self.unread.append(f"{table}.{column}")
            return False
        return True

    def _compare_as_sets(self, table: str, columns: list[str]) -> Iterator[str]:
        """Compare rows WITHOUT ROWID, whatever their order: texts sort by bytes, which differ between the encodings."""
        query = f"SELECT NULL, {', '.join(map(_pair, columns))} FROM {quote(table)} NOT INDEXED"
        sums = [_sum(self._lines(connection, query)) for connection in (self.source, self.copy)]
        if sums[0] != sums[1]:
            yield f"{table}: rows are not the same"

    def _compare_by_rowid(self, table: str, root: int, columns: list[str], advance: Advance) -> Iterator[str]:
        with self._both(table, root, columns) as lines:
            for source, copy in zip_longest(*lines):
                if source is None or copy is None or source[0] != copy[0]:
                    yield f"{table}: rowid {source and source[0]} and {copy and copy[0]}"
                    return
                advance(1)
                if source != copy:
                    cells = zip(columns, source[1], copy[1], strict=True)
                    yield f"{table}, rowid {source[0]}: {', '.join(name for name, one, other in cells if one != other)}"

    @contextmanager
    def _both(self, table: str, root: int, columns: list[str]) -> Iterator[tuple[Iterator[RowLine], Iterator[RowLine]]]:
        """Give the rows of both files with their rowids. If columns take each name of the rowid, its pages are read."""
        taken = {str(row[1]).lower() for row in self.copy.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()}
        rowid = next((name for name in ("_rowid_", "oid", "rowid") if name not in taken), None)
        order = f" ORDER BY {rowid}" if rowid else ""
        query = f"SELECT {rowid or 'NULL'}, {', '.join(map(_pair, columns))} FROM {quote(table)} NOT INDEXED{order}"
        source, copy = self._lines(self.source, query), self._lines(self.copy, query)
        if rowid:
            yield source, copy
            return
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".prove-") as folder:
            pages = Path(folder) / "source.db"
            private.make(pages)
            with closing(sqlite3.connect(pages)) as target:
                self.source.backup(target)
            find = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?"
            yield (
                _numbered(rowids(pages, _one(self.source, find, table)), source),
                _numbered(rowids(self.path, root), copy),
            )

    def _lines(self, connection: sqlite3.Connection, query: str) -> Iterator[RowLine]:
        read = self._from_source if connection is self.source else self._from_copy
        return (
            (rowid, [read(kind, value) for kind, value in zip(pairs[::2], pairs[1::2], strict=True)])
            for rowid, *pairs in connection.execute(query)
        )

    def _from_source(self, kind: str, value: object) -> TypedBytes:
        if kind == "text" and self.blobs and isinstance(value, bytes) and not _decodes(value, self.codec):
            return _cell("blob", value)
        return _cell(kind, value)

    def _from_copy(self, kind: str, value: object) -> TypedBytes:
        if kind == "text" and isinstance(value, bytes):
            try:
                return _cell(kind, b"".join(_as_utf16(value, self.codec)))
            except UnicodeError:
                return "text that is no UTF-8", value
        return _cell(kind, value)


def _one(connection: sqlite3.Connection, query: str, *values: str) -> int:
    return int(connection.execute(query, values).fetchone()[0])


def _pair(column: str) -> str:
    """Return SQL for a storage class and a value. A text's value is the bytes that the file holds."""
    return "typeof({0}), iif(typeof({0}) = 'text', CAST({0} AS BLOB), {0})".format(quote(column))


def _cell(kind: str, value: object) -> TypedBytes:
    match value:
        case float():
            return kind, struct.pack(">d", value)
        case bytes() if len(value) > _PIECE:
            return f"{kind} of {len(value)}", hashlib.blake2b(value).digest()
        case bytes():
            return kind, value
        case _:
            return kind, repr(value).encode()


def _as_utf16(data: bytes, codec: str) -> Iterator[bytes]:
    """Encode UTF-8 as UTF-16 piece by piece: a string of the whole would take several times its size."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _PIECE):
        yield decoder.decode(data[start : start + _PIECE]).encode(codec)
    yield decoder.decode(b"", final=True).encode(codec)


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _sum(lines: Iterator[RowLine]) -> tuple[int, int]:
    """Count the rows, and add up their digests, so that their order does not matter."""
    many = total = 0
    for _rowid, cells in lines:
        many += 1
        total += int.from_bytes(hashlib.blake2b(repr(cells).encode()).digest())
    return many, total


def _numbered(numbers: Iterator[int], lines: Iterator[RowLine]) -> Iterator[RowLine]:
    return ((rowid, cells) for rowid, (_none, cells) in zip(numbers, lines, strict=True))
