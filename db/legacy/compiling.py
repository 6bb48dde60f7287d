"""Finds the tables of a legacy file that this program's SQLite can't write, and the statements that mend them.

A function, a collation or a virtual table's module belongs to the program that made the file. Without it the file can
be read but not written: the service, the fence and the way back would stop half-way.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from db.legacy.clauses import neutral_clauses
from db.legacy.schema import Statement
from db.legacy.source import Source, SourceTable
from game.legacy.guarding import guard, strictly
from game.legacy.sqlite_values import quote

_MISSING = re.compile(r"(?:no such|unknown) (?:function|collation sequence): (.+?)(?:\(\))?$")
_PAGE_BYTES = 512


@dataclass(frozen=True, slots=True)
class UnwritableTable:
    """A table that can't be written. error: SQLite's. remedy: statements that make it writable; empty if none can."""

    table: str
    error: str
    remedy: tuple[str, ...]


def find_unwritable(source: Source) -> UnwritableTable | None:
    """Return the first table that can't be written, or None. Costs milliseconds: reads only the schema."""
    statements = [_plain(source.connection, statement) for statement in source.schema.statements]
    with closing(_Compiler(source.tables)) as compiler:
        error = compiler.first_error(statements)
        return None if error is None else UnwritableTable(*error, tuple(_remedy(compiler, statements)))


def _plain(connection: sqlite3.Connection, statement: Statement) -> Statement:
    """Turn a virtual table whose module is loaded into an ordinary table with its columns."""
    # A virtual table can't be opened without the rows of its shadow tables, and the compiler has no rows.
    if not statement.is_virtual:
        return statement
    try:
        described = connection.execute(f"PRAGMA table_xinfo({quote(statement.name)})").fetchall()
    except sqlite3.OperationalError:  # Its module is missing: `first_error` reports the same error.
        return statement
    columns = ", ".join(quote(row[1]) for row in described)
    return replace(statement, sql=f"CREATE TABLE {quote(statement.name)} ({columns})")


class _Compiler:
    """Compiles the statements of the service and the fence against a schema without rows. Runs none of them."""

    def __init__(self, tables: dict[str, SourceTable]) -> None:
        self._tables = tables
        self._memory = guard(sqlite3.connect(":memory:", isolation_level=None))
        self._memory.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        self._memory.execute("CREATE TABLE room (pages)")
        self._memory.execute("PRAGMA writable_schema=ON")
        self._pages = 0

    def close(self) -> None:
        self._memory.close()

    def first_error(self, statements: Iterable[Statement]) -> tuple[str, str] | None:
        """Return the first table that can't be written, and SQLite's error; None if all can be."""
        self._load(list(statements))
        for table in self._tables.values():
            for probe in _probes(table):
                try:
                    with strictly(self._memory):
                        self._memory.execute(f"EXPLAIN {probe}").fetchall()
                except sqlite3.Error as error:
                    return table.name, str(error)
                except MemoryError:
                    return table.name, "it compiles to too large a program"
        return None

    def _load(self, statements: list[Statement]) -> None:
        """Make SQLite read the statements as the schema of a file. Each gets a root page, which is never read."""
        wanted = len(statements) + 3
        if wanted > self._pages:
            self._memory.execute("INSERT INTO room VALUES (zeroblob(?))", (wanted * _PAGE_BYTES,))
            self._pages = wanted
        self._memory.execute("DELETE FROM sqlite_master WHERE name <> 'room'")
        rows = [
            (s.type, s.name, s.table, page if s.type in ("table", "index") and not s.is_virtual else 0, s.sql)
            for page, s in enumerate(statements, 3)
        ]
        self._memory.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", rows)
        self._memory.execute("PRAGMA writable_schema=RESET")
        self._memory.execute("PRAGMA writable_schema=ON")


def _probes(table: SourceTable) -> Iterator[str]:
    name = quote(table.name)
    yield f"INSERT INTO {name} DEFAULT VALUES"
    yield f"UPDATE {name} SET " + ", ".join(f"{quote(column)} = {quote(column)}" for column in table.columns)
    yield f"DELETE FROM {name} WHERE 1"
    if table.name == "users":
        yield "SELECT 1 FROM users WHERE id = ''"


def _remedy(compiler: _Compiler, statements: list[Statement]) -> Iterator[str]:
    """Yield statements after which everything compiles; nothing if there are none."""
    extras = [s for s in statements if s.type == "trigger" or (s.type == "index" and s.sql is not None)]
    remaining = [s for s in statements if s not in extras]
    edits, edited = [], []
    while (error := compiler.first_error(remaining)) is not None:
        step = _edit(remaining, *error)
        if step is None:
            return
        remaining, edit = step
        edits.append(edit)
        edited.append(error[0])
    for extra in sorted(extras, key=lambda statement: statement.type):  # Indexes first: triggers write through them.
        if compiler.first_error([*remaining, extra]) is None:
            remaining.append(extra)
        else:
            yield f"DROP {extra.type.upper()} {quote(extra.name)};"
    if edits:
        yield from ("PRAGMA writable_schema=ON;", *edits, "PRAGMA writable_schema=RESET;")
        yield from (f"REINDEX {quote(table)};" for table in dict.fromkeys(edited))


def _edit(statements: list[Statement], table: str, error: str) -> tuple[list[Statement], str] | None:
    """Neutralise the table's clause that needs the missing part. Return the statements, and the SQL for it."""
    place = next(n for n, s in enumerate(statements) if s.type == "table" and s.name == table)
    missing = _MISSING.search(error)
    if missing is None:
        return None
    text = str(statements[place].sql)
    for clause, neutral in neutral_clauses(text):
        if clause == neutral or not re.search(rf"\b{re.escape(missing[1])}\b", clause, re.IGNORECASE):
            continue
        if neutral == "COLLATE BINARY" and re.search(r"WITHOUT\s+ROWID\W*$", text, re.IGNORECASE):
            return None  # The order of the stored rows may depend on the collation.
        edited = replace(statements[place], sql=text.replace(clause, neutral))
        edit = (
            f"UPDATE sqlite_master SET sql = replace(sql, {_literal(clause)}, {_literal(neutral)})"
            f" WHERE type = 'table' AND name = {_literal(table)};"
        )
        return [*statements[:place], edited, *statements[place + 1 :]], edit
    return None


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
