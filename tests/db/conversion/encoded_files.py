"""Files in UTF-16 for the tests of the conversion, and a reader of any SQLite file that is neither converter nor proof.

The reader has SQLite itself translate texts to UTF-8, while converter and proof read their bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PRAGMAS = (
    "application_id",
    "auto_vacuum",
    "default_cache_size",
    "journal_mode",
    "page_size",
    "schema_version",
    "user_version",
)

EVERYTHING = (
    """
CREATE TABLE users (id TEXT PRIMARY KEY, gold INTEGER DEFAULT 5 CHECK (gold <> -1), /* a comment */
    "a ""name"" -- 이름" TEXT COLLATE NOCASE UNIQUE, more INTEGER GENERATED ALWAYS AS (gold + 1) STORED,
    twice AS (gold * 2), UNIQUE (twice, id)) -- the end

INSERT INTO users(rowid, id, gold) VALUES (-5, 'user' || char(0) || '-1', 3), (9223372036854775807, '가😀', 4),
    (-9223372036854775808, '', NULL), (7, char(65279, 65534, 65535), 0)

CREATE TABLE by_key (a TEXT, b ANY, c ANY, PRIMARY KEY (b DESC, a)) STRICT, WITHOUT ROWID

INSERT INTO by_key VALUES ('가', 1, NULL), ('😀', 1, 2.5),
    ('a' || char(0), 'a', x'00ff'), ('z', x'', -0.0), ('', 9e999, 1)

CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, real REAL, numeric NUMERIC, blob)

INSERT INTO counted VALUES (900, 5, '5', 5), (901, -0.0, 'five', x'35')

DELETE FROM counted WHERE id = 901

CREATE TABLE all_names (rowid, oid TEXT, _rowid_)

INSERT INTO all_names VALUES (1, 'one', 2), (3, 'two', 4), (5, 'three', 6)

DELETE FROM all_names WHERE oid = 'two'

CREATE TABLE two_names (oid INTEGER PRIMARY KEY, rowid, _rowid_)

INSERT INTO two_names VALUES (-3, 1, 2)

CREATE TABLE descending (id INTEGER PRIMARY KEY DESC) -- Not the rowid: a quirk that SQLite keeps.

INSERT INTO descending(rowid, id) VALUES (4, 400)

CREATE TABLE empty (a)

CREATE VIRTUAL TABLE words USING fts5(body)

INSERT INTO words VALUES ('안녕 hello'), ('other')

CREATE INDEX some_gold ON users (gold) WHERE gold > 3

CREATE INDEX by_expression ON users (lower(id) DESC, length(id))

CREATE INDEX "by; ""c"" --" ON by_key (c, a)

CREATE VIEW rich AS SELECT id AS "it's" FROM users WHERE gold > 3

CREATE VIEW broken AS SELECT * FROM nowhere

CREATE TRIGGER fires AFTER INSERT ON users BEGIN INSERT INTO empty VALUES (new.id); END

CREATE TABLE wide (WIDE)

INSERT INTO wide (c0, c899, c900, c1999) VALUES (1, '첫', 'b', x'01')

ALTER TABLE users ADD COLUMN late TEXT DEFAULT 'it''s -- late'

ANALYZE

PRAGMA user_version=-77

PRAGMA application_id=1234567

PRAGMA default_cache_size=321
""".replace("WIDE", ", ".join(f"c{n}" for n in range(2000)))
    .strip()
    .split("\n\n")
)
"""All that a file can have, as far as SQL makes it. The journal's mode is chosen by the test."""


def make(path: Path, *statements: str, encoding: str = "UTF-16le") -> Path:
    """A new file of that encoding, made by the statements, one by one."""
    with opened(path) as connection:
        connection.execute(f"PRAGMA encoding='{encoding}'")
        for statement in statements:
            connection.execute(statement)
    return path


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, open for writing, with a collation and a function that nobody else has."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        extend(connection)
        yield connection


def extend(connection: sqlite3.Connection) -> None:
    """Add the collation and the function `dan`, which a program could have and this project has not."""
    connection.create_collation("dan", lambda one, other: (one < other) - (one > other))
    connection.create_function("dan", 1, lambda rank: f"{rank}단", deterministic=True)


def literal(text: str, encoding: str) -> str:
    """SQL for a text by its bytes: a bound one would pass through SQLite's translation, which changes U+FFFE."""
    return f"CAST(x'{text.encode(encoding.lower().replace('utf-16', 'utf-16-')).hex()}' AS TEXT)"


def contents(path: Path) -> dict[str, Any]:
    """Settings, schema, and each table's rows: rowids, storage classes, and bytes as SQLite itself translates them."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        schema = connection.execute(
            "SELECT rowid, type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
        ).fetchall()
        by_name: dict[str, Any] = {name: connection.execute(f"PRAGMA {name}").fetchall() for name in PRAGMAS}
        by_name["sqlite_master"] = schema
        stored = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
        for (name,) in connection.execute(stored).fetchall():
            by_name[f"rows of {name.decode()}"] = _rows(connection, name.decode().replace('"', '""'))
        return by_name


def _rows(connection: sqlite3.Connection, table: str) -> list[list[tuple[str, bytes]]]:
    about = connection.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
    columns = [row[1].decode().replace('"', '""') for row in about]
    count = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
    rowids = _rowids(connection, table, columns)
    rows = [[("rowid", _bytes(rowid))] for rowid in rowids] if rowids is not None else [[] for _ in range(count)]
    for column in columns:
        query = f'SELECT typeof("{column}"), "{column}" FROM "{table}" NOT INDEXED'
        for row, (kind, value) in zip(rows, connection.execute(query), strict=True):
            row.append((kind.decode(), _bytes(value)))
    return sorted(rows) if rowids is None else rows


def _rowids(connection: sqlite3.Connection, table: str, columns: list[str]) -> list[int] | None:
    """In the table's order; None for a table WITHOUT ROWID. A column that hides them is renamed in a copy in memory."""
    if any(row[1] == table.encode() and row[4] for row in connection.execute("PRAGMA table_list").fetchall()):
        return None
    with closing(sqlite3.connect(":memory:")) as memory:
        if "rowid" in columns:
            connection.backup(memory)
            memory.execute("DROP VIEW IF EXISTS broken")
            memory.execute(f'ALTER TABLE "{table}" RENAME COLUMN rowid TO renamed_by_the_test')
            return [rowid for (rowid,) in memory.execute(f'SELECT rowid FROM "{table}" NOT INDEXED')]
        return [rowid for (rowid,) in connection.execute(f'SELECT rowid FROM "{table}" NOT INDEXED')]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


def recoded(source: Path, path: Path, *statements: str, encoding: str = "UTF-16le") -> Path:
    """The tables, rows and indexes of a file whose texts are all valid, in another encoding; then the statements."""
    with opened(path) as connection, closing(sqlite3.connect(source)) as given:
        connection.execute(f"PRAGMA encoding='{encoding}'")
        stored = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        for name, sql in given.execute(stored).fetchall():
            connection.execute(sql)
            for row in given.execute(f'SELECT rowid, * FROM "{name}"'):
                columns = [column[1] for column in given.execute(f'PRAGMA table_info("{name}")')]
                names = ", ".join(f'"{column}"' for column in ("rowid", *columns))
                connection.execute(f'INSERT INTO "{name}"({names}) VALUES ({", ".join("?" * len(row))})', row)
        for (sql,) in given.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall():
            connection.execute(sql)
        for statement in statements:
            connection.execute(statement)
    return path
