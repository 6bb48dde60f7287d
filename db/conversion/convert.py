"""Converts a SQLite file in UTF-16 to a new file in UTF-8 with the same contents, and proves the copy.

SQLite can't change a file's encoding. The converter runs no statement of the source. It copies the stored records into
placeholder tables without types, constraints and triggers, writes sqlite_master as it is in the source, and builds the
indexes. So no trigger fires, no value is computed or coerced, rows that break a constraint are kept, and the schema's
text is unchanged. The source is only read. Costs disk space for one copy (for two while it reads a table whose columns
are named rowid, oid and _rowid_), and memory for a few times the largest value.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from db.console.progress import Progress, Silent
from db.conversion.encoded_rows import Converted, IllFormed, LargeText, RowReader
from db.conversion.encoded_schema import EncodedSchema, StoredTable
from db.conversion.proof import Proven, prove
from db.errors import Failure, Refusal
from db.legacy import schema_code
from db.legacy.opening import check_file
from db.legacy.read_errors import unreadable
from db.legacy.schema import Statement
from db.legacy.source import connected
from db.remedies import RESTORE_FILE
from db.transfer.rebuild import made, refuse_taken
from game.legacy import sidecars, sqlite_values
from game.legacy.guarding import guard
from game.legacy.sqlite_values import quote

_EARLY = ("page_size", "auto_vacuum")
"""Pragmas that must be set before the first table is made."""

_LATE = ("user_version", "application_id", "default_cache_size", "schema_version", "journal_mode")
"""Pragmas stored in the file's header. The last one is set last because it makes a log beside the file."""

_BROKEN_CONSTRAINTS = ("NULL value in ", "NUMERIC value in ", "TEXT value in ", "non-")
"""Beginnings of integrity_check's findings about rows that a constraint of their table refuses; the pages are sound."""

_COPY = "a copy (sqlite3 FILE '.backup COPY')"
"""Not a copy made by cp, which misses the write-ahead log."""

_DROP_THE_INDEX = (
    f"Drop that index in {_COPY}, convert the copy, and create the index again with the program that has them."
)
_NO_WAY = "Rebuild the table without it, with a program that has it: a UNIQUE or PRIMARY KEY needs its order."

_CHECKED = 1_000_000
_NO_UNIQUE = "non-unique entry in index"


@dataclass(frozen=True, slots=True)
class Conversion:
    """The new file. encoding: the source's. kept_as_blobs: how many texts are not valid UTF-16.

    kept: the first few of them, by name.
    """

    verdict: str
    source: Path
    into: Path
    encoding: str
    proven: Proven
    kept_as_blobs: int
    kept: tuple[str, ...]
    bytes: int
    seconds: float


def convert(source: Path, into: Path, *, as_blobs: bool = False, progress: Progress | None = None) -> Conversion:
    """Make `into`, a copy of the source in UTF-8. It appears complete and proven, or not at all.

    as_blobs: keep a text that is not valid UTF-16 as a BLOB with the same bytes, instead of refusing the file.
    Raises Refusal if the source is no SQLite file, damaged, locked, in UTF-8 already, or written to meanwhile; if a
    text is not valid UTF-16; if this SQLite lacks the collation or function of an index; or if `into` is taken.
    Raises Failure if the copy can't be written, or differs from the source.
    """
    began = time.monotonic()
    shown = progress or Silent()
    check_file(source)
    _check_name(source, into)
    with _reading(source) as connection, made(into) as part:
        schema = EncodedSchema(connection, str(source))
        entries = [Statement(entry.type, entry.name, entry.table, entry.sql) for entry in schema.entries]
        schema_code.check(entries, schema.where)
        _rehearse(schema)
        shown.say(f"checking {source}")
        broken = _check_sound(connection, source)
        ill_formed = _write(schema, part, as_blobs=as_blobs, progress=shown)
        proven = prove(connection, part, known=broken, blobs=as_blobs, progress=shown)
        _check_unchanged(connection, source)
    return Conversion(
        "pass",
        source,
        into,
        schema.encoding,
        proven,
        ill_formed.count,
        tuple(ill_formed.places),
        into.stat().st_size,
        time.monotonic() - began,
    )


def _check_name(source: Path, into: Path) -> None:
    refuse_taken(into)
    if into.resolve() in sidecars.beside(source.resolve()):
        raise Refusal(
            "a name of its own", "the name of the source's log", where=str(into), do="Choose another name for --into."
        )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file in one read transaction, its write-ahead log included, whether or not it is the game's."""
    with connected(path) as connection:
        _begin(connection, path)
        yield connection


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.DatabaseError, MemoryError) as error:
        raise unreadable(path, error) from error


def _rehearse(schema: EncodedSchema) -> None:
    """Make the schema in memory: a missing collation or function is refused before rows are copied."""
    memory = guard(sqlite3.connect(":memory:", isolation_level=None))
    try:
        memory.execute("PRAGMA encoding='UTF-8'")
        _make_placeholders(memory, schema)
        _enter_schema(memory, schema)
        _build_indexes(memory, schema, Silent())
    finally:
        memory.close()


def _check_sound(connection: sqlite3.Connection, source: Path) -> frozenset[str]:
    """Refuse damage. Return SQLite's findings about rows that break a constraint: they are copied as they are."""
    connection.execute("PRAGMA ignore_check_constraints=ON")  # A CHECK may call a function that this SQLite lacks.
    broken = set()
    try:
        findings = connection.execute(f"PRAGMA integrity_check({_CHECKED})")
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise
        raise Refusal(
            "functions that this SQLite has, for columns that are NOT NULL",
            str(error),
            where=str(source),
            do=f"Drop the generated column that calls it in {_COPY}, and convert the copy.",
        ) from None
    for (finding,) in findings:
        if finding != "ok" and (not finding.startswith(_BROKEN_CONSTRAINTS) or finding.startswith(_NO_UNIQUE)):
            raise Refusal("a sound SQLite file", finding, where=str(source), do=RESTORE_FILE)
        broken.add(finding)
    return frozenset(broken)


def _write(schema: EncodedSchema, part: Path, *, as_blobs: bool, progress: Progress) -> IllFormed:
    """Write the copy. Raises Refusal naming the texts that are not valid UTF-16, unless as_blobs keeps them."""
    connection = guard(sqlite3.connect(part, isolation_level=None))
    try:
        connection.execute("PRAGMA encoding='UTF-8'")
        _set(connection, schema, _EARLY)
        connection.execute("PRAGMA journal_mode=OFF").fetchall()
        connection.execute("PRAGMA synchronous=OFF")  # The file gets its name only after it was synced.
        connection.execute("BEGIN")
        _make_placeholders(connection, schema)
        ill_formed = _copy_rows(connection, schema, part.parent, progress)
        if ill_formed.count and not as_blobs:
            raise Refusal(
                "texts in valid UTF-16",
                f"{ill_formed.count:,} that are not: {ill_formed}",
                where=schema.where,
                do="Correct them in the source, or run again with --as-blobs, which keeps their bytes as BLOBs.",
            )
        _enter_schema(connection, schema)
        _build_indexes(connection, schema, progress)
        _set(connection, schema, _LATE)
    except (sqlite3.Error, OSError) as error:
        raise Failure(
            "a copy that can be written",
            str(error),
            where=str(part.parent),
            do="Nothing was made. Make room there, or name another place with --into NEW.",
        ) from error
    finally:
        connection.close()
    return ill_formed


def _set(connection: sqlite3.Connection, schema: EncodedSchema, pragmas: tuple[str, ...]) -> None:
    for name in pragmas:
        wanted = schema.connection.execute(f"PRAGMA {name}").fetchone()
        if wanted != connection.execute(f"PRAGMA {name}").fetchone():
            connection.execute(f"PRAGMA {name}={wanted[0]}").fetchall()


def _make_placeholders(connection: sqlite3.Connection, schema: EncodedSchema) -> None:
    """Make tables t0, t1, … for those with rows, and indexes i0, i1, …, which stay empty until REINDEX."""
    connection.execute("CREATE VIEW first AS SELECT 1")  # SQLite does not store the encoding of an empty file.
    names = {table.entry.name.lower(): f"t{place}" for place, table in enumerate(schema.tables)}
    for table in schema.tables:
        placeholder = table.placeholder(names[table.entry.name.lower()])
        _try(connection, placeholder, f"primary key of {table.entry.name}", schema, _NO_WAY)
    for place, index in enumerate(schema.indexes):
        connection.execute(f"CREATE INDEX i{place} ON {names[index.table.lower()]} (c0) WHERE 0")


def _copy_rows(connection: sqlite3.Connection, schema: EncodedSchema, scratch: Path, progress: Progress) -> IllFormed:
    reader = RowReader(schema, scratch)
    count = "SELECT count(*) FROM {}"
    names = [quote(table.entry.name) for table in schema.tables]
    total = sum(schema.connection.execute(count.format(name)).fetchone()[0] for name in names)
    with progress.bar("converting", total, "rows") as advance:
        for place, table in enumerate(schema.tables):
            with reader.rows(table) as rows:
                for row in rows:
                    _insert(connection, f"t{place}", table, row, schema.where)
                    advance(1)
    return reader.ill_formed


def _insert(connection: sqlite3.Connection, name: str, table: StoredTable, row: Converted, where: str) -> None:
    large = tuple(place for place, value in enumerate(row.values) if isinstance(value, LargeText))
    values = [value.utf8 if isinstance(value, LargeText) else value for value in row.values]
    try:
        if table.key:
            connection.execute(_statement(name, "", len(values), large), values)
        else:
            connection.execute(_statement(name, "rowid", len(values), large), (row.rowid, *values))
    except (sqlite3.DataError, OverflowError) as error:
        raise Refusal(
            "a row that SQLite can store in UTF-8",
            f"{error}: {table.entry.name}, row {row.rowid}",
            where=where,
            do="Shorten that row in the source file.",
        ) from None


@lru_cache
def _statement(name: str, rowid: str, columns: int, large: tuple[int, ...]) -> str:
    """Return the INSERT of a record. `large`: places whose bytes SQLite is to store as TEXT."""
    wanted = [*([rowid] if rowid else []), *(f"c{place}" for place in range(columns))]
    marks = [*(["?"] if rowid else []), *("CAST(? AS TEXT)" if at in large else "?" for at in range(columns))]
    return sqlite_values.insert_into(name, marks, wanted)


def _enter_schema(connection: sqlite3.Connection, schema: EncodedSchema) -> None:
    """Replace the placeholders in sqlite_master by the source's own rows, and make SQLite read it again."""
    roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master").fetchall())
    by_rowid = {table.entry.rowid: roots[f"t{place}"] for place, table in enumerate(schema.tables)}
    by_rowid |= {index.rowid: roots[f"i{place}"] for place, index in enumerate(schema.indexes)}
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("DELETE FROM sqlite_master")
    for entry in schema.entries:
        connection.execute(
            "INSERT INTO sqlite_master(rowid, type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, ?, ?, ?)",
            (entry.rowid, entry.type, entry.name, entry.table, by_rowid.get(entry.rowid, entry.root), entry.sql),
        )
    if connection.in_transaction:
        connection.execute("COMMIT")
    connection.execute("PRAGMA writable_schema=RESET")


def _build_indexes(connection: sqlite3.Connection, schema: EncodedSchema, progress: Progress) -> None:
    with progress.bar("indexing", len(schema.indexes), "indexes") as advance:
        for index in schema.indexes:
            do = _DROP_THE_INDEX if index.sql else _NO_WAY
            _try(connection, f"REINDEX main.{quote(index.name)}", f"index {index.name} of {index.table}", schema, do)
            advance(1)


def _try(connection: sqlite3.Connection, statement: str, subject: str, schema: EncodedSchema, do: str) -> None:
    """Run a statement. Raises Refusal if this SQLite lacks a collation or function that the schema names."""
    try:
        connection.execute(statement)
    except sqlite3.OperationalError as error:
        if not _is_missing(error):
            raise
        raise Refusal(
            "collations and functions that this SQLite has",
            f"{subject}: {error}",
            where=schema.where,
            do=do,
        ) from None


def _is_missing(error: sqlite3.OperationalError) -> bool:
    """Return True if SQLite could not compile the statement. A missing collation has its own code."""
    return str(error.sqlite_errorname) in {"SQLITE_ERROR", "SQLITE_ERROR_MISSING_COLLSEQ"}


def _check_unchanged(connection: sqlite3.Connection, source: Path) -> None:
    """Refuse a source that was written to while it was read: the copy lacks that write."""
    before = connection.execute("PRAGMA data_version").fetchone()
    connection.execute("COMMIT")
    if connection.execute("PRAGMA data_version").fetchone() != before:
        raise Refusal(
            "a source that nobody writes to",
            "one that was written to meanwhile",
            where=str(source),
            do="Stop the service, and run this command again.",
        )
