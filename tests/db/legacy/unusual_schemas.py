"""Schemas that today's service would not make, and that still come back from Postgres unchanged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from db.legacy import declared_tables
from tests.db.legacy.unusual_cases import Case, Step, case, in_schema

NAMES = (
    "order",
    'a"b',
    "dot.ted",
    "it's",
    "two words",
    "%s",
    "%(n)s",
    "표",
    "é",
    "e\u0301",
    "{x}",
    "$1",
    "a\nb",
    "--",
    "/*",
    "users2;drop",
    "SELECT",
    "sqlite3x",
    ":p",
    "?",
    "",
    " ",
    "\t",
    "rows of x",
    "sizes_1",
    "kv_insert",
)
"""Names of tables, columns and indexes at once."""

LONG_NAMES = ("t" * 200, "긴 이름의 표" * 17, "긴 이름의 표" * 17 + "2", "🂡" * 300)
"""Names whose first 63 bytes are equal, end within a character, or both."""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unusual_names() -> Iterator[Step]:
    for name in NAMES:
        quoted = _quoted(name)
        yield f'CREATE TABLE {quoted} ({quoted} TEXT, "group" BLOB, "%(x)s", UNIQUE ({quoted}))'
        yield f"INSERT INTO {quoted} VALUES (?, ?, ?)", [(name, b"\x00", 1.5)]
        yield f'CREATE INDEX {_quoted(name + "_index")} ON {quoted} ("group")'


def _long_names() -> Iterator[Step]:
    """Each table larger than a chunk, so that it is read back by cursors."""
    for name in LONG_NAMES:
        yield f"CREATE TABLE {_quoted(name)} (a TEXT, {_quoted(name)} TEXT UNIQUE)"
        yield f"INSERT INTO {_quoted(name)} VALUES (?, ?)", [(f"{n}" + "y" * 3_000_000, f"{n}") for n in range(3)]


def _users() -> str:
    """The statement that makes the players' table."""
    memory = sqlite3.connect(":memory:")
    try:
        declared_tables.create(memory)
        return str(memory.execute("SELECT sql FROM sqlite_master WHERE name = 'users'").fetchone()[0])
    finally:
        memory.close()


def _columns(count: int, declared: str = "") -> str:
    return ", ".join(f"c{n}{declared}" for n in range(count))


def _of_page_size(size: int, auto_vacuum: int) -> Case:
    return case(f"pages of {size}", f"PRAGMA page_size={size}", f"PRAGMA auto_vacuum={auto_vacuum}", "VACUUM")


INDEXES = (
    case(
        "a key made after a named index",
        "CREATE INDEX by_league ON users (league)",
        "CREATE TABLE friends (id TEXT PRIMARY KEY, note TEXT)",
        "INSERT INTO friends VALUES ('f1', 'x')",
    ),
    case(
        "indexes of every kind, mixed",
        "CREATE INDEX by_lower ON users (lower(nickname) DESC, gold + 1)",
        "CREATE TABLE keyed (a PRIMARY KEY, b UNIQUE, c) WITHOUT ROWID",
        "INSERT INTO keyed VALUES (3, 2, 1), (1, 9, 9)",
        "CREATE INDEX covering ON keyed (c, b, a)",
        "CREATE INDEX rich ON users (nickname) WHERE gold > 5",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x UNIQUE)",
        "INSERT INTO counted VALUES (7, 'q')",
        "CREATE TABLE late (a UNIQUE, b, UNIQUE (b, a))",
        "INSERT INTO late VALUES (1, 2)",
    ),
    case(
        "rows whose rowid has no name, under an index that covers them",
        "CREATE TABLE t (rowid TEXT, oid, _rowid_)",
        "INSERT INTO t VALUES ('b', 1, 'x'), ('a', 2, 'y')",
        "CREATE INDEX covering ON t (rowid, oid, _rowid_)",
    ),
    case(
        "a sequence that is older than its table",
        "CREATE TABLE plain (id INTEGER PRIMARY KEY)",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO counted VALUES (9)",
        *in_schema("plain", "CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT)"),
        "INSERT INTO sqlite_sequence VALUES ('gone', 7), (NULL, NULL), ('counted', 'text'), ('counted', x'00')",
    ),
)

STATISTICS = (
    case(
        "statistics of tables that are gone",
        "CREATE INDEX by_league ON users (league)",
        "ANALYZE",
        "INSERT INTO sqlite_stat1 VALUES ('gone', 'gone_i', '9 9'), (NULL, x'00', NULL)",
        "DROP INDEX by_league",
    ),
    *(
        case(
            f"statistics of another SQLite, {name}",
            "CREATE INDEX by_league ON users (league)",
            "ANALYZE",
            f"CREATE TABLE foreign_one {columns}",
            "INSERT INTO foreign_one (tbl) VALUES ('users')",
            "PRAGMA writable_schema=ON",
            f"UPDATE sqlite_master SET name = '{name}', tbl_name = '{name}', sql = 'CREATE TABLE {name}{columns}'"
            " WHERE name = 'foreign_one'",
        )
        for name, columns in (("sqlite_stat4", "(tbl,idx,neq,nlt,ndlt,sample)"), ("sqlite_stat2", "(tbl,idx,no,s)"))
    ),
)

WIDE = (
    case(
        "two thousand columns",
        f"CREATE TABLE wide ({_columns(2000)})",
        "INSERT INTO wide (rowid, c0, c1999) VALUES (-5, 'a', x'00'), (9, 1.5, 2), (9223372036854775807, NULL, '')",
    ),
    case(
        "two thousand columns that want a value",
        f"CREATE TABLE wide ({_columns(1999, ' NOT NULL DEFAULT 1')}, id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO wide (id) VALUES (-5), (9223372036854775807)",
    ),
    case(
        "two thousand columns without a rowid",
        f"CREATE TABLE wide ({_columns(1999)}, k PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO wide (k, c0) VALUES (2, 'z'), (1, 'y')",
        "CREATE INDEX covering ON wide (c0)",
    ),
    case(
        "as many unknown columns of players as fit",
        *(f"ALTER TABLE users ADD COLUMN u{n} TEXT" for n in range(1920)),
        "UPDATE users SET u7 = 5, u1900 = x'00'",
    ),
    case(
        "a column that is computed",
        "ALTER TABLE users ADD COLUMN wealth INT AS (gold + diamonds) VIRTUAL",
        "CREATE INDEX wealthy ON users (wealth)",
    ),
)

VIRTUAL = (
    case(
        "searches of every kind that is here",
        "CREATE VIRTUAL TABLE search USING fts5(body, content='', tokenize='trigram')",
        "INSERT INTO search (rowid, body) VALUES (1, '바둑 두는 사람')",
        "CREATE VIRTUAL TABLE nick USING fts5(nickname, content='users', content_rowid='rowid')",
        "INSERT INTO nick (nick) VALUES ('rebuild')",
        "CREATE TRIGGER nick_ai AFTER INSERT ON users BEGIN"
        " INSERT INTO nick (rowid, nickname) VALUES (new.rowid, new.nickname); END",
        "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1)",
        "INSERT INTO box VALUES (1, 0.5, 1.5)",
        "CREATE VIRTUAL TABLE old USING fts3(a)",
        "INSERT INTO old VALUES ('hello')",
    ),
    case(
        "a module that is not here",
        "PRAGMA writable_schema=ON",
        "INSERT INTO sqlite_master VALUES ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0(e)')",
        "PRAGMA writable_schema=RESET",
        "CREATE TABLE vec_chunks (a)",
        "INSERT INTO vec_chunks VALUES (x'00')",
    ),
    case(
        "a tokenizer that is not here",
        "CREATE VIRTUAL TABLE spoken USING fts5(body)",
        "INSERT INTO spoken VALUES ('바둑 두는 사람')",
        *in_schema("spoken", "CREATE VIRTUAL TABLE spoken USING fts5(body, tokenize='mecab')"),
    ),
    case(
        "tables of a search that is gone",
        "CREATE VIRTUAL TABLE search USING fts5(a)",
        "INSERT INTO search VALUES ('x')",
        "PRAGMA writable_schema=ON",
        "DELETE FROM sqlite_master WHERE name = 'search'",
    ),
)

TEXTS = (
    case("odd names", *_unusual_names()),
    case("long names of large tables", *_long_names()),
    case("a table of the game in capitals", "ALTER TABLE kv RENAME TO kv_x", "ALTER TABLE kv_x RENAME TO KV"),
    case(
        "comments and texts in double quotes",
        "CREATE/* old */TABLE noted /* a ; b */ (a TEXT DEFAULT 'x;y' -- CHECK (0)\n, b INT DEFAULT (strftime('%s')))",
        "INSERT INTO noted (a) VALUES ('q')",
        'CREATE TABLE IF NOT EXISTS dq (a TEXT DEFAULT "dq", CHECK (a <> "zz")) /* trailing */ -- end',
        "INSERT INTO dq DEFAULT VALUES",
    ),
    case(
        "views and triggers that nothing stands behind",
        "CREATE VIEW broken AS SELECT norm(x) FROM nowhere",
        "CREATE VIEW sorted AS SELECT id FROM users ORDER BY id COLLATE unicase",
        "CREATE TRIGGER of_view INSTEAD OF INSERT ON broken BEGIN SELECT norm(1); END",
    ),
    case(
        "a collation that is not here and that no index sorts by",
        "CREATE TABLE n (a TEXT COLLATE unicase, b)",
        "INSERT INTO n VALUES ('가', 1), ('나', 2)",
        "ALTER TABLE users ADD COLUMN z TEXT COLLATE unicase",
    ),
    case(
        "parents that are missing",
        "CREATE TABLE parent (id TEXT PRIMARY KEY)",
        "CREATE TABLE child (p TEXT REFERENCES parent (id) ON DELETE CASCADE, q TEXT REFERENCES missing (id))",
        "INSERT INTO child VALUES ('none', 'none')",
    ),
)

TABLES = (
    case(
        "strict and generated",
        "CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, n INT, b BLOB, a ANY,"
        " g TEXT AS (t || n) STORED, v INT AS (n + 1) VIRTUAL) STRICT",
        "INSERT INTO s (id, t, n, b, a) VALUES (-5, CAST(x'fffe' AS TEXT), 9223372036854775806, x'00', 1.0),"
        " (9223372036854775807, 'a' || char(0) || 'b', -9223372036854775808, NULL, '1')",
    ),
    case(
        "sorted downwards, without regard to capitals",
        "CREATE TABLE nr (a REAL, b TEXT COLLATE NOCASE, c, PRIMARY KEY (b, a DESC)) WITHOUT ROWID",
        "INSERT INTO nr VALUES (9e999, 'B', NULL), (-9e999, 'a', 0.1), (5e-324, 'b ', -0.0), (2.5, '', x'')",
        "CREATE INDEX nr_c ON nr (c, b, a)",
    ),
    case(
        "players without rowids",
        "CREATE TABLE kept AS SELECT * FROM users",
        "DROP TABLE users",
        f"{_users()} WITHOUT ROWID",
        "INSERT INTO users SELECT * FROM kept",
        "DROP TABLE kept",
    ),
    case(
        "a trigger that keeps accounts",
        "CREATE TABLE audit (at, what)",
        "INSERT INTO audit VALUES (1, 'begun')",
        "CREATE TRIGGER noted AFTER UPDATE OF gold ON users BEGIN INSERT INTO audit VALUES (unixepoch(), new.id); END",
    ),
    case(
        "triggers that get in the way",
        "CREATE TRIGGER cap BEFORE INSERT ON users"
        " WHEN (SELECT count(*) FROM users) > 3 BEGIN SELECT RAISE(ABORT, 'server is full'); END",
        "CREATE TRIGGER more AFTER INSERT ON kv BEGIN UPDATE kv SET value = value || '+' WHERE key = new.key; END",
    ),
    _of_page_size(512, 1),
    _of_page_size(65536, 2),
)

CARRIED = (*INDEXES, *STATISTICS, *WIDE, *VIRTUAL, *TEXTS, *TABLES)
