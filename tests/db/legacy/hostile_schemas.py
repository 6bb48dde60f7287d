"""Hostile schemas of legacy files: code that acts, never ends or takes all memory, and texts that lie."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from tests.db.legacy.hostile_kind import Hostile, statements

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
CROSSED = ", ".join(f"users u{n}" for n in range(30))


def _planted(*entries: tuple[str, str, str, str], before: Iterable[str] = ()) -> Callable[[Path], None]:
    """Enter (type, name, table, SQL) into the schema; tables and indexes with the root page of `kv`."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in before:
                connection.execute(statement)
            connection.execute("PRAGMA writable_schema=ON")
            (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'kv'").fetchone()
            for kind, name, table, sql in entries:
                page = root if kind in ("table", "index") else 0
                row = (kind, name, table, page, sql)
                connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)

    return make


def _rewritten(name: str, old: str, new: str, *before: str) -> Callable[[Path], None]:
    """Run `before`, then replace a part of the statement of `name`, so that nothing of it was ever run."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in before:
                connection.execute(statement)
            connection.execute("PRAGMA writable_schema=ON")
            changed = connection.execute(
                "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ?", (old, new, name)
            )
            assert changed.rowcount == 1

    return make


def _not_utf8(path: Path) -> None:
    """Plant a name that SQLite's own message quotes, and Python can't decode."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        bad = (b"\xff\xfe", b"DROP \xff")
        connection.execute("INSERT INTO sqlite_master VALUES ('attack', CAST(? AS TEXT), 'x', 0, CAST(? AS TEXT))", bad)


def _many_tables(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            " INSERT INTO sqlite_master SELECT 'table', 'x' || i, 'x' || i,"
            " (SELECT rootpage FROM sqlite_master WHERE name = 'kv'), 'CREATE TABLE x' || i || '(a)' FROM n"
        )


def _chain(length: int) -> str:
    return "CREATE TABLE chain (c0, " + ", ".join(f"c{n} AS (c{n - 1} || c{n - 1})" for n in range(1, length)) + ")"


def _views(length: int) -> tuple[str, ...]:
    doubled = (f"CREATE VIEW v{n} AS SELECT a.* FROM v{n - 1} a, v{n - 1} b" for n in range(1, length))
    return ("CREATE VIEW v0 AS SELECT id FROM users", *doubled)


def _slow(*statements: str) -> Callable[[Path], None]:
    """Make a table of which one `trim(h, n)` takes minutes, and one `h LIKE p` seconds; then run the statements."""

    def make(path: Path) -> None:
        letters = "".join(chr(0x4E00 + n) for n in range(20_000)) + "a"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE big (h, n, p)")
            connection.execute("INSERT INTO big VALUES (?, ?, ?)", ("a" * 4_000_000, letters, f"%{'a' * 900}b"))
            for statement in statements:
                connection.execute(statement)

    return make


def _slow_check(check: str) -> Callable[[Path], None]:
    return _slow(
        "PRAGMA writable_schema=ON",
        f"UPDATE sqlite_master SET sql = 'CREATE TABLE big (h, n, p, CHECK ({check}))' WHERE name = 'big'",
    )


NOTES = "CREATE TABLE notes (a)"
SOME = "INSERT INTO notes VALUES ('a'), ('b')"

ACTS = (
    Hostile(
        "a trigger that loads a library",
        statements("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT load_extension('./evil'); END"),
        "refused",
    ),
    Hostile(
        "a trigger that names a tokenizer by its address",
        statements("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT fts3_tokenizer('x', x'41414141'); END"),
        "refused",
    ),
    Hostile(
        "a trigger without an end",
        statements(f"CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT max(i) FROM ({ENDLESS} SELECT i FROM n); END"),
        "refused",
    ),
    Hostile(
        "a trigger without an end before every write",
        statements(
            *(
                f"CREATE TRIGGER t{event} BEFORE {event} ON users BEGIN SELECT count(*) FROM {CROSSED}; END"
                for event in ("INSERT", "UPDATE", "DELETE")
            )
        ),
        "carried",
    ),
    Hostile(
        "a trigger of a gigabyte",
        statements("CREATE TRIGGER t AFTER UPDATE ON kv BEGIN SELECT randomblob(999999999); END"),
        "refused",
    ),
    Hostile(
        "a trigger that enriches",
        statements("CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE users SET gold = 999999999; END"),
        "carried",
    ),
    Hostile(
        "a trigger that undoes",
        statements("CREATE TRIGGER t BEFORE UPDATE ON users BEGIN SELECT RAISE(IGNORE); END"),
        "carried",
    ),
    Hostile(
        "triggers that start each other",
        statements(
            NOTES,
            "CREATE TRIGGER t AFTER INSERT ON notes BEGIN INSERT INTO notes VALUES (new.a + 1); END",
            "CREATE TRIGGER u AFTER UPDATE ON users BEGIN INSERT INTO notes VALUES (1); END",
        ),
        "carried",
    ),
    Hostile(
        "a journal that is a view",
        statements(
            "CREATE VIEW sudamr_action_receipts AS SELECT * FROM kv",
            "CREATE TRIGGER t INSTEAD OF INSERT ON sudamr_action_receipts BEGIN SELECT 1; END",
        ),
        "refused",
    ),
    Hostile(
        "a journal with a trigger",
        statements(
            "CREATE TABLE sudamr_currency_ledger (user_id, request_id)",
            "CREATE TRIGGER t BEFORE INSERT ON sudamr_currency_ledger BEGIN SELECT RAISE(IGNORE); END",
        ),
        "refused",
    ),
    Hostile("a fence that is a view", statements("CREATE VIEW sudamr_fence AS SELECT 1 AS state"), "refused"),
    Hostile(
        "players that are a view without an end",
        statements("ALTER TABLE users RENAME TO people", f"CREATE VIEW users AS {ENDLESS} SELECT i AS id FROM n"),
        "refused",
    ),
    Hostile(
        "other tables that are views without an end",
        statements(
            "DROP TABLE kv",
            f"CREATE VIEW kv AS {ENDLESS} SELECT i AS key, i AS value FROM n",
            "CREATE TRIGGER t INSTEAD OF INSERT ON kv BEGIN DELETE FROM users; END",
        ),
        "carried",
    ),
    Hostile(
        "a view of itself",
        statements("CREATE VIEW a AS SELECT * FROM b", "CREATE VIEW b AS SELECT * FROM a"),
        "carried",
    ),
    Hostile("views that double each other", statements(*_views(40)), "carried"),
    Hostile(
        "a CHECK of a gigabyte",
        _rewritten("notes", "(a)", "(a, CHECK (length(randomblob(999999999)) > 0))", NOTES, SOME),
        "refused",
    ),
    Hostile(
        "a CHECK of a gigabyte behind one that nobody knows",
        _rewritten(
            "notes",
            "(a)",
            "(a COLLATE none CHECK (norm(a)), CHECK (length(hex(zeroblob(499999999))) > 0))",
            NOTES,
            SOME,
        ),
        "refused",
    ),
    Hostile(
        "a CHECK in SQLite's own table",
        _rewritten(
            "sqlite_stat1",
            "(tbl,idx,stat)",
            "(tbl,idx,stat, CHECK (length(randomblob(999999999)) > 0))",
            "CREATE INDEX leagues ON users (league)",
            "ANALYZE",
        ),
        "carried",
    ),
    Hostile(
        "a generated column of a gigabyte",
        statements(NOTES, SOME, "ALTER TABLE notes ADD COLUMN b AS (printf('%.*c', 999999999, 'x'))"),
        "refused",
    ),
    Hostile(
        "a generated column that replaces",
        statements(NOTES, SOME, "ALTER TABLE notes ADD COLUMN b AS (replace(replace(a, 'a', a || a), 'a', a))"),
        "refused",
    ),
    Hostile("generated columns that double each other", statements(_chain(40)), "refused"),
    Hostile(
        "an index of a gigabyte",
        _rewritten(
            "costly",
            "length(a)",
            "length(zeroblob(999999999))",
            NOTES,
            SOME,
            "CREATE INDEX costly ON notes (length(a))",
        ),
        "refused",
    ),
    Hostile(
        "a default of a gigabyte", statements("CREATE TABLE notes (a DEFAULT (zeroblob(999999999)), b)"), "refused"
    ),
    Hostile(
        "a function and a collation that nobody has",
        _rewritten("notes", "(a)", "(a COLLATE none, CHECK (norm(a)))", NOTES, SOME),
        "refused",
    ),
    Hostile(
        "a CHECK that we could read otherwise than SQLite",
        _rewritten(
            "notes",
            "(a)",
            f"(a CHECK (a <> ') CHECK ((SELECT max(i) FROM ({ENDLESS} SELECT i FROM n)))'))",
            NOTES,
            SOME,
        ),
        "carried",
    ),
    Hostile(
        "a table of another module in another spelling",
        _planted(("table", "v", "v", "CREATE/**/VIRTUAL/**/TABLE v USING fts5(a)")),
        "refused",
    ),
)

SLOW = (
    Hostile(
        "a trigger that trims for minutes",
        _slow("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT trim(h, n) FROM big; END"),
        "carried",
    ),
    Hostile(
        "a trigger that merges documents for minutes",
        _slow("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT json_patch(h, n) FROM big; END"),
        "refused",
    ),
    Hostile("a CHECK that trims for minutes", _slow_check("trim(h, n) <> 1"), "refused"),
    Hostile("a CHECK that compares for minutes", _slow_check("h NOT LIKE p"), "refused"),
    Hostile(
        "a generated column that trims for minutes",
        _slow("ALTER TABLE big ADD COLUMN g AS (trim(h, n))"),
        "refused",
    ),
    Hostile(
        "an index that trims for minutes",
        _rewritten(
            "slow",
            "length(h)",
            "trim(h, n)",
            "CREATE TABLE big (h, n)",
            "INSERT INTO big VALUES (hex(zeroblob(200000)), hex(zeroblob(20000)))",
            "CREATE INDEX slow ON big (length(h))",
        ),
        "refused",
    ),
)

SCHEMAS = (
    Hostile("a million tables", _many_tables, "refused"),
    Hostile(
        "a statement of ten megabytes",
        _planted(("table", "x", "x", f"CREATE TABLE x (a) /* {'x' * 10_000_000} */")),
        "refused",
    ),
    Hostile(
        "views of ninety megabytes",
        _planted(
            *[
                ("view", f"v{n}", f"v{n}", f"CREATE VIEW v{n} AS SELECT {','.join(['1'] * 1900)} /* {'x' * 900_000} */")
                for n in range(100)
            ]
        ),
        "refused",
    ),
    Hostile("a table in the pages of another", _planted(("table", "x", "x", "CREATE TABLE x (key, value)")), "refused"),
    Hostile(
        "an index in the pages of a table", _planted(("index", "x", "kv", "CREATE INDEX x ON kv (key)")), "refused"
    ),
    Hostile(
        "a table in the schema's own page",
        statements(
            "PRAGMA writable_schema=ON",
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 1, 'CREATE TABLE x (a, b, c, d, e)')",
        ),
        "refused",
    ),
    Hostile(
        "a table in a page that is not there",
        statements(
            "PRAGMA writable_schema=ON",
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2147483647, 'CREATE TABLE x (a)')",
        ),
        "refused",
    ),
    Hostile("a second table of players", _planted(("table", "users", "users", "CREATE TABLE users (id)")), "refused"),
    Hostile("a statement that is another", _planted(("table", "x", "x", "DELETE FROM users")), "refused"),
    Hostile("a trigger that is a table", _planted(("trigger", "x", "kv", "CREATE TABLE x (a)")), "refused"),
    Hostile("a name that is no text", _not_utf8, "refused"),
    Hostile("a type that is none", _planted(("attack", "x", "x", "DROP TABLE users")), "refused"),
)
