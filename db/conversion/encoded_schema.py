"""Reads the schema of a SQLite file in UTF-16, and makes placeholders for its tables.

SQLite silently changes texts that are not valid UTF-16 when it translates them. So every text is read as bytes and
decoded strictly.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cached_property

from db.errors import Refusal
from game.legacy.sqlite_values import quote

CODECS = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}
"""Python's codec for each of SQLite's encodings. These neither add nor remove a byte order mark."""

_ENTRIES = """
SELECT rowid, CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB), rootpage, CAST(sql AS BLOB)
FROM sqlite_master ORDER BY rowid
"""


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """One row of sqlite_master. root: its b-tree's first page; 0 or None for a view, a trigger, a virtual table."""

    rowid: int
    type: str
    name: str
    table: str
    root: int | None
    sql: str | None


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table that stores rows. columns: those that a record holds, in order, without virtual generated ones.

    rowid: SQL for the rowid; None if there is none, or if columns take all three names of it.
    alias: the place of the column that is the rowid itself, an INTEGER PRIMARY KEY.
    key: for a table WITHOUT ROWID, (place, collation, descending) of each column of its primary key.
    """

    entry: SchemaEntry
    columns: tuple[str, ...]
    rowid: str | None
    alias: int | None
    key: tuple[tuple[int, str, bool], ...]

    def placeholder(self, name: str) -> str:
        """Return the statement of a table for the same records, without types, constraints and generated columns."""
        columns = ", ".join(f"c{place}" for place in range(len(self.columns)))
        if not self.key:
            return f"CREATE TABLE {name} ({columns})"
        key = ", ".join(f"c{place} COLLATE {quote(coll)} {'DESC' if down else 'ASC'}" for place, coll, down in self.key)
        return f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"


class EncodedSchema:
    """The schema of an open file in UTF-16. Raises Refusal if a statement or a name is not valid UTF-16."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self.connection = connection
        self.where = where
        self.encoding = str(connection.execute("PRAGMA encoding").fetchone()[0])
        if self.encoding not in CODECS:
            raise Refusal(
                "a file in UTF-16",
                f"one in {self.encoding} already",
                where=where,
                do="There is nothing to convert: use it as it is.",
            )
        self.codec = CODECS[self.encoding]
        self.entries = tuple(self._entry(*row) for row in connection.execute(_ENTRIES).fetchall())

    @cached_property
    def tables(self) -> tuple[StoredTable, ...]:
        return tuple(self._table(entry) for entry in self.entries if entry.type == "table" and entry.root)

    @property
    def indexes(self) -> list[SchemaEntry]:
        """List the indexes in order, including those that SQLite made for UNIQUE and PRIMARY KEY."""
        return [entry for entry in self.entries if entry.type == "index"]

    def _entry(
        self, rowid: int, kind: bytes, name: bytes, table: bytes, root: int | None, sql: bytes | None
    ) -> SchemaEntry:
        try:
            texts = [part.decode(self.codec) for part in (kind, name, table)]
            statement = None if sql is None else sql.decode(self.codec)
        except UnicodeDecodeError:
            shown = name.decode(self.codec, "replace")
            raise Refusal(
                "a schema in valid UTF-16",
                f"{kind.decode(self.codec, 'replace')} {shown!r}, which is not",
                where=self.where,
                do="Rename it in the source, or what its statement names.",
            ) from None
        return SchemaEntry(rowid, texts[0], texts[1], texts[2], root, statement)

    def _table(self, entry: SchemaEntry) -> StoredTable:
        about = self.connection.execute(f"PRAGMA table_xinfo({quote(entry.name)})").fetchall()
        stored = [row for row in about if row[6] in (0, 3)]
        place = {row[0]: at for at, row in enumerate(stored)}
        keys = [place[row[0]] for row in about if row[5]]
        index = self._primary_index(entry.name)
        columns = tuple(row[1] for row in stored)
        if index is not None and all(index != other.name for other in self.indexes):
            # A table WITHOUT ROWID is its own primary key index, so sqlite_master does not list that index.
            described = self.connection.execute(f"PRAGMA index_xinfo({quote(index)})").fetchall()
            key = tuple((place[row[1]], row[4], bool(row[3])) for row in described if row[5])
            return StoredTable(entry, columns, None, None, key)
        alias = keys[0] if keys and index is None else None
        return StoredTable(entry, columns, _rowid({row[1].lower() for row in about}, columns, alias), alias, ())

    def _primary_index(self, table: str) -> str | None:
        listed = self.connection.execute(f"PRAGMA index_list({quote(table)})").fetchall()
        return next((str(row[1]) for row in listed if row[3] == "pk"), None)


def _rowid(names: set[str], columns: tuple[str, ...], alias: int | None) -> str | None:
    if alias is not None:
        return quote(columns[alias])
    return next((name for name in ("rowid", "oid", "_rowid_") if name not in names), None)
