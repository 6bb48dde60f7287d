"""The schema of a legacy file: its statements in order and its settings, read from one file and made again in another.

The fence's own table and triggers belong to no file's contents: they are neither read, nor made, nor compared.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from db.errors import Refusal
from game.legacy import fence_schema, sqlite_values
from game.legacy.guarding import guard
from game.legacy.sqlite_values import BadText

SETTINGS = ("page_size", "auto_vacuum", "user_version", "application_id", "journal_mode")
"""Pragmas that live in the file, in the order in which they can be set; the last one once all rows are written."""

_EARLY = SETTINGS[:2]
_LATE = SETTINGS[2:]
_VIRTUAL = re.compile(
    r"(?:\s|/\*.*?\*/|--[^\n]*\n)*CREATE(?:\s|/\*.*?\*/|--[^\n]*\n)+VIRTUAL\b", re.IGNORECASE | re.DOTALL
)
_NO_COLLATION = re.compile("no such collation sequence: (.+)")
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
        return self.type == "table" and _VIRTUAL.match(self.sql or "") is not None

    @property
    def is_internal(self) -> bool:
        """Return True for a table or index of SQLite's own, which no statement may create."""
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
        """Return the tables that hold rows: all but virtual ones, whose rows stand in tables of their own."""
        return [statement for statement in self.of_type("table") if not statement.is_virtual]


def in_the_file(*statements: str) -> str:
    """Write the remedy that consists of these statements."""
    return f"With the game stopped, in the file: {' '.join(statements)}"


def renaming(table: str, to: str) -> str:
    """Return SQL that renames a table."""
    # writable_schema: without it SQLite renames no table in a file with a broken view.
    return f"PRAGMA writable_schema=ON; ALTER TABLE {sqlite_values.quote(table)} RENAME TO {sqlite_values.quote(to)};"


def _freeing(kind: str, name: str) -> str:
    """Return SQL that frees the name: renames a table, drops anything else."""
    return renaming(name, f"game_{name}") if kind == "table" else f"DROP {kind.upper()} {sqlite_values.quote(name)};"


def read(connection: sqlite3.Connection) -> Schema:
    """Read the file's schema. Raises Refusal if a name or statement is no text, or the fence needs a name."""
    if taken := fence_schema.strangers(connection):
        raise Refusal(
            f"no name that begins with {fence_schema.TABLE}, but the fence's own",
            ", ".join(taken),
            where="sqlite_master",
            do=in_the_file(*(_freeing(*stranger.split(" ", 1)) for stranger in taken)),
        )
    fence_names = fence_schema.own(connection) | {("table", name) for name in foreign_statistics(connection)}
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid").fetchall()
    statements = tuple(Statement(*row) for row in rows if (row[0], row[1]) not in fence_names)
    for statement in statements:
        for column, part in (("name", statement.name), ("tbl_name", statement.table), ("sql", statement.sql)):
            if isinstance(part, BadText) or (part is not None and "\0" in part):
                raise _no_text(statement, column, part)
    return Schema(statements, {name: _setting(connection, name) for name in SETTINGS})


def _no_text(statement: Statement, column: str, part: str | BadText) -> Refusal:
    """Refuse a name or statement that Postgres can't hold, with the SQL that mends every one of its kind."""
    data = part.data if isinstance(part, BadText) else part.encode()
    if b"\0" in data:  # SQLite reads only up to the NUL.
        fault, blob = "a NUL", f"CAST({column} AS BLOB)"
        end = f"instr({blob}, x'00')"
        mend = f"{column} = CAST(substr({blob}, 1, {end} - 1) AS TEXT) WHERE {end}"
    else:
        bad = list(_not_utf8(data))
        fault = f"the bytes {b''.join(bad)[:8].hex(' ')}"
        mend = ", ".join(f"{name} = {_replaced(name, bad)}" for name in ("name", "tbl_name", "sql"))
    return Refusal(
        "a schema in UTF-8",
        f"{fault} in {statement.type} {data.decode(errors='replace')[:40]!r}",
        where="sqlite_master",
        do=in_the_file(f"PRAGMA writable_schema=ON; UPDATE sqlite_master SET {mend};"),
    )


def _not_utf8(data: bytes) -> Iterator[bytes]:
    """Yield each sequence of bytes that is not UTF-8, once."""
    seen: set[bytes] = set()
    while True:
        try:
            data.decode()
        except UnicodeDecodeError as error:
            bad, data = data[error.start : error.end], data[error.end :]
            if bad not in seen:
                yield bad
            seen.add(bad)
        else:
            return


def _replaced(column: str, bad: Iterable[bytes]) -> str:
    for each in bad:
        column = f"replace({column}, CAST(x'{each.hex()}' AS TEXT), '_')"
    return column


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
    """Make all tables in their order, SQLite's own and virtual ones too. No index yet, so that rows load fast."""
    for statement in schema.of_type("table"):
        if statement.is_internal:
            _make_internal(connection, statement)
        elif statement.is_virtual:
            _register(connection, statement)
        else:
            _run(connection, statement)


def make_the_rest(connection: sqlite3.Connection, schema: Schema) -> None:
    """Make the indexes, views and triggers, each kind in its order."""
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
    memory = guard(sqlite3.connect(":memory:", isolation_level=None))
    try:
        make_tables(memory, schema)
        make_the_rest(memory, schema)
    finally:
        memory.close()


def order_by_type(schema: Schema) -> Iterator[tuple[str, list[Statement]]]:
    """Yield for each type its statements in order. Equal schemas yield the same."""
    # Types may interleave differently. SQLite creates its own tables when it first needs them, so their place means
    # nothing. An index without a statement follows from its table's.
    for kind in ("table", "index", "view", "trigger"):
        written = [statement for statement in schema.of_type(kind) if statement.sql is not None]
        yield kind, sorted(written, key=lambda statement: statement.name if statement.is_internal else "")


def foreign_statistics(connection: sqlite3.Connection) -> list[str]:
    """List the tables of planner statistics that another SQLite made and this one can't create."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND substr(lower(name), 1, 11) = 'sqlite_stat'"
    return [str(name) for name, sql in connection.execute(query).fetchall() if (name, sql) not in _statistics()]


@cache
def _statistics() -> frozenset[tuple[str, str]]:
    """Return the planner's tables that this SQLite can make, with their statements; others can't be made again here."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        memory.execute("ANALYZE")
        return frozenset(memory.execute("SELECT name, sql FROM sqlite_master").fetchall())
    finally:
        memory.close()


def _run(connection: sqlite3.Connection, statement: Statement) -> None:
    try:
        connection.execute(str(statement.sql))
    except sqlite3.Error as error:
        # A missing collation of a column does no harm unless an index sorts by it: nothing else is stored in its order.
        if statement.type == "table" and (missing := _NO_COLLATION.fullmatch(str(error))):
            connection.create_collation(missing[1], _by_bytes)
            _run(connection, statement)
            return
        raise Refusal(
            "a schema that can be made again",
            f"{statement.type} {statement.name}: {error}",
            where="sqlite_master",
            do="Rebuild it with a statement that SQLite accepts."
            if statement.type == "table"
            else in_the_file(f"DROP {statement.type.upper()} {sqlite_values.quote(statement.name)};"),
        ) from None


def _by_bytes(left: str, right: str) -> int:
    return (left > right) - (left < right)


def _make_internal(connection: sqlite3.Connection, statement: Statement) -> None:
    """Have SQLite make a table of its own, which it does not let others make."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (statement.name,)).fetchone():
        return
    if statement.name == "sqlite_sequence":
        connection.execute("CREATE TABLE sudamr_counted (n INTEGER PRIMARY KEY AUTOINCREMENT)")
        connection.execute("DROP TABLE sudamr_counted")
    elif statement.name in (name for name, _sql in _statistics()):
        connection.execute("ANALYZE sqlite_master")
    else:
        old = "'" + statement.name.replace("'", "''") + "'"
        mend = ", ".join(f"{column} = replace({column}, {old}, 'x' || {old})" for column in ("name", "tbl_name", "sql"))
        raise Refusal(
            "names that begin with sqlite_ only for SQLite's own tables",
            statement.name,
            where="sqlite_master",
            do=in_the_file(f"PRAGMA writable_schema=ON; UPDATE sqlite_master SET {mend};"),
        )


def _register(connection: sqlite3.Connection, statement: Statement) -> None:
    """Enter a virtual table without running its module, whose tables are there already; as `.dump` does."""
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute(
        "INSERT INTO sqlite_master(type, name, tbl_name, rootpage, sql) VALUES ('table', ?, ?, 0, ?)",
        (statement.name, statement.table, statement.sql),
    )
    connection.execute("PRAGMA writable_schema=OFF")


def to_records(schema: Schema) -> Iterable[dict[str, str | int | None]]:
    """Return the schema as records of `legacy_schema`: settings first, then the statements."""
    settings = [("pragma", name, "", value) for name, value in schema.settings.items()]
    statements = [(s.type, s.name, s.table, s.sql) for s in schema.statements]
    for position, (kind, name, table, sql) in enumerate([*settings, *statements]):
        yield {"position": position, "type": kind, "name": name, "table_name": table, "sql": sql}


def from_records(records: Iterable[tuple[str, str, str, str | None]]) -> Schema:
    """Return the schema again, from (type, name, table_name, sql) in the order of position."""
    rows = list(records)
    statements = tuple(Statement(*row) for row in rows if row[0] != "pragma")
    return Schema(statements, {name: str(sql) for kind, name, _table, sql in rows if kind == "pragma"})
