"""A legacy file as the transfer reads it: opened read-only, its tables as they are, its rows streamed.

What lies in the write-ahead log is read too. A file that can't be the game's is refused, and left as it was: nothing is
created, nothing stays behind beside it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any

from db.counts import few
from db.errors import Failure, Refusal
from db.legacy import schema as schemas
from db.legacy import schema_code
from db.legacy.opening import check_file, tidied
from db.legacy.read_errors import unreadable
from db.legacy.schema import Schema
from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import BadText, Cell, bind, placeholder, quote
from game.runs import runs

CHUNK_BYTES = 8 * 1024 * 1024
CELL_BYTES = 48
"""The memory that a cell takes beside its contents, so that a chunk of many small rows is bounded too."""

LOCK_TIMEOUT_SECONDS = 10.0

UNIT_BYTES = 100
"""The memory that an element of a document takes beside its text: it becomes a record, or a finding."""

_LARGE = 1 << 16
"""A value from this size on is hashed by itself: its repr would take several times its size."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table that holds rows. `columns`: those that are stored, in order; generated ones come back by themselves.

    rowid: the name by which the rowid is reached, or None where there is none or each name is a column's.
    """

    name: str
    columns: tuple[str, ...]
    generated: tuple[str, ...]
    primary_key: tuple[str, ...]
    rowid: str | None
    unique: frozenset[str]
    """Columns of which SQLite itself keeps each alone unique."""
    indexed: frozenset[str]
    """Columns that take part in any unique index or key."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row: its rowid, or its place from 1 where it has none; its cells in the order of the columns.

    units: SQLite's own count of the elements of documents that are taken apart, for `users`. bytes: its size.
    """

    position: int
    cells: tuple[Cell, ...]
    units: dict[str, int]
    bytes: int


class Source:
    """An open legacy file. Not thread-safe; close it, or use it as a context manager by `opened`."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self.connection = connection
        self.where = where

    @cached_property
    def schema(self) -> Schema:
        return schemas.read(self.connection)

    @cached_property
    def tables(self) -> dict[str, SourceTable]:
        """Return every table that holds rows, by name, in the order of the file."""
        return {statement.name: table_of(self.connection, statement.name) for statement in self.schema.tables}

    @cached_property
    def left_out(self) -> list[str]:
        """Return the tables of statistics that this SQLite can't make; they are neither loaded nor compared."""
        return schemas.foreign_statistics(self.connection)

    def count(self, table: str) -> int:
        """Return the number of rows, as SQLite counts them."""
        return int(self.connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])

    def units(self, table: str) -> dict[str, int]:
        """Return the units in each column, as SQLite itself counts them; see `codec.source_units`."""
        counted = self._taken_apart(table)
        sums = "".join(f", total({units_sql(column)})" for column in counted)
        rows, *totals = self.connection.execute(f"SELECT count(*){sums} FROM {quote(table)}").fetchone()
        by_column = dict.fromkeys(self.tables[table].columns, int(rows))
        return by_column | {column: int(total) for column, total in zip(counted, totals, strict=True)}

    def rows(
        self, table: str, *, generated: bool = False, after: tuple[Sequence[str], Sequence[Cell]] | None = None
    ) -> Iterator[SourceRow]:
        """Yield the rows in the order of their positions, one at a time; with their generated columns if asked for.

        after: the expressions and values of a key; only rows with a greater key are read, in the key's order. Without a
        rowid, positions count from that row on.
        """
        shape = self.tables[table]
        columns = (*shape.columns, *shape.generated) if generated else shape.columns
        counted = self._taken_apart(table)
        cursor = self._read(shape, [shape.rowid or "NULL", *map(quote, columns), *map(units_sql, counted)], after)
        width = len(columns) + 1

        def row(place: int, cells: tuple[Any, ...]) -> SourceRow:
            position, values = cells[0], cells[1:width]
            units = dict(zip(counted, cells[width:], strict=True))
            return SourceRow(place if position is None else position, values, units, size_of(values))

        return map(row, count(1), cursor)  # Unlike a generator, it keeps no row that it has handed on.

    def _read(
        self, shape: SourceTable, wanted: list[str], after: tuple[Sequence[str], Sequence[Cell]] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Select the expressions of each row, in the table's own order.

        SQLite gives at most so many columns at once as a table may have. A wider result is read by several cursors that
        walk the table in step.
        """
        # Without a rowid to sort by, an index that covers the columns would be read instead, in its own order.
        order = f" ORDER BY {shape.rowid}" if shape.rowid else ""
        key, values = after if after is not None else ((), ())
        behind = f" WHERE ({', '.join(key)}) > ({', '.join(map(placeholder, values))})" if key else ""
        if key:
            order = f" ORDER BY {', '.join(key)}"
        source = f"{quote(shape.name)}{'' if shape.rowid else ' NOT INDEXED'}{behind}{order}"
        limit = self.connection.getlimit(sqlite3.SQLITE_LIMIT_COLUMN)
        slices = [wanted[start : start + limit] for start in range(0, len(wanted), limit)]
        bound = [*map(bind, values)]
        cursors = [self.connection.execute(f"SELECT {', '.join(some)} FROM {source}", bound) for some in slices]
        if len(cursors) == 1:
            return cursors[0]
        return map(tuple, map(chain.from_iterable, zip(*cursors, strict=True)))

    def _taken_apart(self, table: str) -> list[str]:
        return [column for column in codec.TAKEN_APART if table == "users" and column in self.tables[table].columns]


def units_sql(column: str) -> str:
    """Return SQL that counts one cell's units; a cell that is no text is one (SQLite's JSON functions read blobs)."""
    return f"CASE WHEN typeof({quote(column)}) = 'text' THEN {codec.source_units(column)} ELSE 1 END"


def size_of(values: Iterable[Cell]) -> int:
    """Return about how many bytes the cells take in memory."""
    return sum(
        CELL_BYTES
        + (len(value) if isinstance(value, str | bytes) else len(value.data) if isinstance(value, BadText) else 0)
        for value in values
    )


def chunks(rows: Iterable[SourceRow], limit: int = CHUNK_BYTES) -> Iterator[list[SourceRow]]:
    """Split the rows into runs that cost at most `limit` bytes together; a larger row travels alone."""
    return runs(rows, lambda row: row.bytes + UNIT_BYTES * sum(row.units.values()), limit)


class Digest:
    """A running hash of rows with their positions and storage classes, to know a file again."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, row: SourceRow) -> None:
        """Add a row to the hash. Large cells are hashed apart, without a copy of them in the row's text."""
        large = [cell for cell in row.cells if isinstance(cell, str | bytes) and len(cell) > _LARGE]
        small = tuple(len(cell) if isinstance(cell, str | bytes) and len(cell) > _LARGE else cell for cell in row.cells)
        self._hash.update(repr((row.position, small, [type(cell) for cell in large])).encode("utf-8", "surrogatepass"))
        for cell in large:
            self._hash.update(cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else cell)

    def add_all(self, rows: Iterable[SourceRow]) -> None:
        for row in rows:
            self.add(row)

    def hex(self) -> str:
        return self._hash.hexdigest()


def table_of(connection: sqlite3.Connection, name: str) -> SourceTable:
    """Return the table as SQLite describes it."""
    about = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
    columns = tuple(row[1] for row in about if row[6] == 0)
    names = {row[1].lower() for row in about}
    key = tuple(row[1] for row in sorted((row for row in about if row[5]), key=lambda row: row[5]))
    free = next((alias for alias in ("rowid", "oid", "_rowid_") if alias not in names), None)
    rowid = free if free is not None and _has(connection, name, free) else None
    unique, indexed = _unique(connection, name)
    if len(key) == 1 and any(row[5] and row[2].upper() == "INTEGER" for row in about):
        unique |= {key[0]}
    generated = tuple(row[1] for row in about if row[6] in (2, 3))
    return SourceTable(name, columns, generated, key, rowid, frozenset(unique), frozenset(indexed | set(key)))


def _has(connection: sqlite3.Connection, table: str, rowid: str) -> bool:
    """Return True if the table has a rowid."""
    # PRAGMA table_list says it too, and compiles every view of the file: twenty that double each other never end.
    try:
        connection.execute(f"EXPLAIN SELECT {rowid} FROM {quote(table)}").close()
    except sqlite3.OperationalError as error:
        if not str(error).startswith("no such column"):
            raise
        return False
    return True


def _unique(connection: sqlite3.Connection, table: str) -> tuple[set[str], set[str]]:
    alone: set[str] = set()
    indexed: set[str] = set()
    for _n, index, is_unique, _origin, partial in connection.execute(f"PRAGMA index_list({quote(table)})").fetchall():
        if is_unique:
            members = [row[2] for row in connection.execute(f"PRAGMA index_info({quote(index)})").fetchall()]
            indexed |= {member for member in members if member is not None}
            if len(members) == 1 and members[0] is not None and not partial:
                alone.add(members[0])
    return alone, indexed


@contextmanager
def opened(path: Path, *, lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> Iterator[Source]:
    """Open the legacy file in one read transaction. Raises Refusal if it can't be one, or stays locked."""
    check_file(path)
    with connected(path, lock_timeout_seconds=lock_timeout_seconds) as connection:
        _open(connection, path)
        yield Source(connection, str(path))


@contextmanager
def connected(path: Path, *, lock_timeout_seconds: float = LOCK_TIMEOUT_SECONDS) -> Iterator[sqlite3.Connection]:
    """Connect read-only to a file that `check_file` has passed. Raises Failure, as `unreadable`, if a read fails."""
    with (
        tidied(path),
        closing(sqlite_values.connect(path, readonly=True, timeout_seconds=lock_timeout_seconds)) as connection,
    ):
        try:
            yield connection
        except (sqlite3.DatabaseError, MemoryError) as error:
            refusal = unreadable(path, error)
            raise Failure(refusal.expected, refusal.found, where=refusal.where, do=refusal.do) from error


@contextmanager
def untouched(path: Path) -> Iterator[None]:
    """Keep the file and its log unchanged while others open and close the file. Does nothing if there is no file.

    Not around plain reads of the file: closing any descriptor of it drops this process's locks on it.
    """
    # The last connection to close would fold the log into the file and remove it, unless it is read-only, as ours is.
    with tidied(path), ExitStack() as stack:
        with suppress(Refusal, sqlite3.Error):  # No legacy file, so nobody else opens it either.
            check_file(path)
            keeper = stack.enter_context(closing(sqlite_values.connect(path, readonly=True)))
            keeper.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        yield


def _open(connection: sqlite3.Connection, path: Path) -> None:
    try:
        _check_contents(connection, path)
    except sqlite3.DatabaseError as error:
        if (drop := _drop_of_malformed(connection, error)) is not None:
            raise Refusal(
                "a schema that SQLite can read", str(error), where=str(path), do=schemas.in_the_file(drop)
            ) from error
        raise unreadable(path, error) from error
    except MemoryError as error:
        raise unreadable(path, error) from error


def _drop_of_malformed(connection: sqlite3.Connection, error: sqlite3.DatabaseError) -> str | None:
    """Return SQL that removes the index, trigger or view that makes the schema unreadable; None for another cause."""
    # A snapshot would not help: it has the same statement. An index without a statement means a damaged page.
    named = re.match(r"malformed database schema \((.+?)\) - ", str(error))
    if named is None:
        return None
    connection.execute("PRAGMA writable_schema=ON")  # SQLite then skips the statement that it can't read.
    kind = connection.execute(
        "SELECT type FROM sqlite_master WHERE name = ? AND sql IS NOT NULL", (named[1],)
    ).fetchone()
    if kind is None or kind[0] not in ("index", "trigger", "view"):
        return None
    name = "'" + named[1].replace("'", "''") + "'"
    where = f"type = '{kind[0]}' AND name = {name}"
    return f"PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE {where}; VACUUM;"


def _check_contents(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall())
    if kinds.get("users") != "table":
        tables = sorted(str(name) for name, kind in kinds.items() if kind == "table")
        # Two steps: SQLite refuses to rename a table to a name that differs only in case.
        spelt = next((name for name in tables if name.lower() == "users"), None)
        steps = [] if spelt is None else [schemas.renaming(spelt, "users_"), schemas.renaming("users_", "users")]
        raise Refusal(
            "a table `users`",
            f"tables: {few(tables, 8) or 'none'}",
            where=str(path),
            do=schemas.in_the_file(*steps) if steps else "Name the database that the game writes.",
        )
    if (encoding := connection.execute("PRAGMA encoding").fetchone()[0]) != "UTF-8":
        # SQLite would translate its texts, and silently change those that are not valid UTF-16.
        raise Refusal(
            "a file in UTF-8",
            f"one in {encoding}",
            where=str(path),
            do=f"Make a copy that loses nothing: invoke transfer.convert --source {shlex.quote(str(path))} --into NEW",
        )
    schema = schemas.read(connection)  # Refuses names that are no text before anything compares them.
    schema_code.check(schema.statements, str(path))
    columns = table_of(connection, "users").columns
    if "id" not in columns:
        raise Refusal(
            "a column `id` in `users`", "no such column", where=str(path), do="Name the game's file: this is another's."
        )
    # SQLite ignores the case of names; the game does not, and would miss the column.
    spellings = {name.lower(): name for name in codec.MODELLED}
    if other := next((name for name in columns if spellings.get(name.lower(), name) != name), None):
        real = spellings[other.lower()]
        raise Refusal(
            f"a column `{real}` in `users`",
            f"one spelt `{other}`",
            where=str(path),
            do=schemas.in_the_file(
                f"PRAGMA writable_schema=ON; ALTER TABLE users RENAME COLUMN {quote(other)} TO {quote(real)};"
            ),
        )
