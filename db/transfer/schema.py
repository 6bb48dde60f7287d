"""The schema of a legacy file: its statements in order and its settings, read from one file and made again in another.

The fence's own table and triggers belong to no file's contents: they are neither read, nor made, nor compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from db.errors import Refusal
from game.legacy import fence_schema

SETTINGS = ("page_size", "auto_vacuum", "user_version", "application_id", "journal_mode")
"""Pragmas that live in the file, in the order in which they can be set; the last one once all rows are written."""

_EARLY = SETTINGS[:2]
_LATE = SETTINGS[2:]
_JOURNAL_MODES = frozenset(("wal", "delete"))
"""The modes that a file keeps; every other one lasts only as long as a connection."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One row of sqlite_master. `sql` is None for an index that SQLite made itself."""

    type: str
    name: str
    table: str
    sql: str | None

    @property
    def is_virtual(self) -> bool:
        return self.type == "table" and (self.sql or "").lstrip().upper().startswith("CREATE VIRTUAL")

    @property
    def is_internal(self) -> bool:
        """Whether SQLite makes it by itself, and refuses to be told."""
        return self.name.startswith("sqlite_")


@dataclass(frozen=True, slots=True)
class Schema:
    """Statements in the order of the file, and settings by name."""

    statements: tuple[Statement, ...]
    settings: dict[str, str]

    def of_type(self, *types: str) -> list[Statement]:
        return [statement for statement in self.statements if statement.type in types]

    @property
    def tables(self) -> list[Statement]:
        """The tables that hold rows: all but virtual ones, whose rows stand in tables of their own."""
        return [statement for statement in self.of_type("table") if not statement.is_virtual]


def read(connection: sqlite3.Connection) -> Schema:
    """The file's schema; Refusal where a name or statement is no UTF-8, or a name is one that the fence takes."""
    if taken := fence_schema.strangers(connection):
        raise Refusal(
            f"no name that begins with {fence_schema.TABLE}, but the fence's own", ", ".join(taken),
            where="sqlite_master", do="The fence takes these names for itself: rename it in the source.",
        )  # fmt: skip
    ours = fence_schema.own(connection)
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()
    statements = tuple(Statement(*row) for row in found if (row[0], row[1]) not in ours)
    for statement in statements:
        if not all(isinstance(part, str | None) for part in (statement.name, statement.table, statement.sql)):
            raise Refusal("a schema in UTF-8", f"{statement.type} {statement.name!r}", do="Rename it in the source.")
    return Schema(statements, {name: _setting(connection, name) for name in SETTINGS})


def _setting(connection: sqlite3.Connection, name: str) -> str:
    value = str(connection.execute(f"PRAGMA {name}").fetchone()[0])
    if name == "journal_mode" and value not in _JOURNAL_MODES:
        return "delete"
    return value


def prepare(connection: sqlite3.Connection, schema: Schema) -> None:
    """Set what must be set before the first table is made, on a new file."""
    for name in _EARLY:
        connection.execute(f"PRAGMA {name}={schema.settings[name]}")


def make_tables(connection: sqlite3.Connection, schema: Schema) -> None:
    """The tables in their order, SQLite's own and virtual ones included; nothing else yet, so that rows load fast."""
    for statement in schema.of_type("table"):
        if statement.is_internal:
            _make_internal(connection, statement)
        elif statement.is_virtual:
            _register(connection, statement)
        else:
            _run(connection, statement)


def make_the_rest(connection: sqlite3.Connection, schema: Schema) -> None:
    """Indexes, views and triggers, each kind in its order."""
    for kind in ("index", "view", "trigger"):
        for statement in schema.of_type(kind):
            if statement.sql is not None:
                _run(connection, statement)


def finish(connection: sqlite3.Connection, schema: Schema) -> None:
    """Set what stands in the file's header; outside any transaction."""
    for name in _LATE:
        connection.execute(f"PRAGMA {name}={schema.settings[name]}").fetchall()


def rehearse(schema: Schema) -> None:
    """Make it all in memory once; Refusal naming the statement that can't be made again."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        make_tables(memory, schema)
        make_the_rest(memory, schema)
    finally:
        memory.close()


def order_by_type(schema: Schema) -> Iterator[tuple[str, list[Statement]]]:
    """What two equal schemas share: for each type its statements in order (types need not interleave alike)."""
    for kind in ("table", "index", "view", "trigger"):
        yield kind, schema.of_type(kind)


def _run(connection: sqlite3.Connection, statement: Statement) -> None:
    try:
        connection.execute(str(statement.sql))
    except sqlite3.Error as error:
        raise Refusal(
            "a schema that can be made again", f"{statement.type} {statement.name}: {error}", where="sqlite_master",
            do="Drop it from the source, or mend its statement.",
        ) from None  # fmt: skip


def _make_internal(connection: sqlite3.Connection, statement: Statement) -> None:
    """Have SQLite make a table of its own, which it does not let others make."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (statement.name,)).fetchone():
        return
    if statement.name == "sqlite_sequence":
        connection.execute("CREATE TABLE sudamr_counted (n INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("DROP TABLE sudamr_counted")
    else:
        connection.execute("ANALYZE sqlite_master")


def _register(connection: sqlite3.Connection, statement: Statement) -> None:
    """Enter a virtual table without running its module, whose tables are there already; as `.dump` does."""
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute(
        "INSERT INTO sqlite_master(type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)",
        (statement.name, statement.table, statement.sql),
    )
    connection.execute("PRAGMA writable_schema=OFF")


def to_records(schema: Schema) -> Iterable[dict[str, str | int | None]]:
    """The schema as records of `legacy_schema`: settings first, then the statements."""
    settings = [("pragma", name, "", value) for name, value in schema.settings.items()]
    statements = [(s.type, s.name, s.table, s.sql) for s in schema.statements]
    for position, (kind, name, table, sql) in enumerate([*settings, *statements]):
        yield {"position": position, "type": kind, "name": name, "table_name": table, "sql": sql}


def from_records(records: Iterable[tuple[str, str, str, str | None]]) -> Schema:
    """The schema again, from (type, name, table_name, sql) in the order of position."""
    rows = list(records)
    statements = tuple(Statement(*row) for row in rows if row[0] != "pragma")
    return Schema(statements, {name: str(sql) for kind, name, _table, sql in rows if kind == "pragma"})
