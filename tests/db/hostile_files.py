"""Legacy files that somebody made to harm whoever opens them, by name. Each begins as a seeded file of six players."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.db.transferring import seeded

PLAYERS = 6

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
MB = 1_000_000
CROSSED = ", ".join(f"users u{n}" for n in range(30))

End = Literal["carried", "refused"]


@dataclass(frozen=True)
class Hostile:
    """end: what becomes of the file. carried: loaded, and equal on the way back."""

    name: str
    make: Callable[[Path], None]
    end: End

    def write(self, path: Path) -> Path:
        """Make the file at `path`, in the journal mode that leaves nothing beside it."""
        seeded(path, PLAYERS)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        self.make(path)
        return path


def _sql(*statements: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()

    return make


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


def _cells(columns: Iterable[str], value: Callable[[], str | bytes]) -> Callable[[Path], None]:
    """Write the value into each of the columns, of another player each while there are some."""

    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for place, column in enumerate(columns):
                # The second player is the one who plays.
                row = (1, 3, 4, 5, 6)[place % (PLAYERS - 1)]
                connection.execute(f'UPDATE users SET "{column}" = ? WHERE rowid = ?', (value(), row))

    return make


def _beside(suffix: str, make_it: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda path: make_it(path.with_name(path.name + suffix)) and None


def _many_tables(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            " INSERT INTO sqlite_master SELECT 'table', 'x' || i, 'x' || i,"
            " (SELECT rootpage FROM sqlite_master WHERE name = 'kv'), 'CREATE TABLE x' || i || '(a)' FROM n"
        )


def _bytes(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return make


def _encrypt(content: bytearray) -> None:
    content[:] = bytes(byte ^ 0xA5 for byte in content)


def _cut(content: bytearray) -> None:
    del content[len(content) // 3 :]


def _reserve(content: bytearray) -> None:
    content[20] = 0xFF  # Of each page's bytes so many are not used.


def _super_journal(path: Path) -> None:
    """A hot journal that names another file, which SQLite would read and remove."""
    victim = path.with_name("victim")
    victim.write_text("kept", encoding="utf-8")
    name = os.fsencode(victim)
    pages = (path.stat().st_size // 4096).to_bytes(4, "big")
    head = bytes.fromhex("d9d505f920a163d7") + b"\0" * 8 + pages + b"\0\0\2\0" + b"\0\0\x10\0"
    tail = (
        name
        + len(name).to_bytes(4, "big")
        + (sum(name) & 0xFFFFFFFF).to_bytes(4, "big")
        + bytes.fromhex("d9d505f920a163d7")
    )
    path.with_name(f"{path.name}-journal").write_bytes(head.ljust(512, b"\0") + (1).to_bytes(4, "big") + tail)


def _is_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _is_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _is_link_to(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def _is_link(path: Path) -> None:
    real = path.with_name("real ?mode=rw&vfs=none#%00.db")
    path.rename(real)
    path.symlink_to(real)


def _pages(size: int, mode: str) -> Callable[[Path], None]:
    return _sql(f"PRAGMA page_size={size}", "VACUUM", f"PRAGMA journal_mode={mode}")


def _chain(length: int) -> str:
    return "CREATE TABLE chain (c0, " + ", ".join(f"c{n} AS (c{n - 1} || c{n - 1})" for n in range(1, length)) + ")"


def _views(length: int) -> tuple[str, ...]:
    doubled = (f"CREATE VIEW v{n} AS SELECT a.* FROM v{n - 1} a, v{n - 1} b" for n in range(1, length))
    return ("CREATE VIEW v0 AS SELECT id FROM users", *doubled)


NOTES = "CREATE TABLE notes (a)"
SOME = "INSERT INTO notes VALUES ('a'), ('b')"

ACTS = (
    Hostile(
        "a trigger that loads a library",
        _sql("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT load_extension('./evil'); END"),
        "refused",
    ),
    Hostile(
        "a trigger that names a tokenizer by its address",
        _sql("CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT fts3_tokenizer('x', x'41414141'); END"),
        "refused",
    ),
    Hostile(
        "a trigger without an end",
        _sql(f"CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT max(i) FROM ({ENDLESS} SELECT i FROM n); END"),
        "refused",
    ),
    Hostile(
        "a trigger without an end before every write",
        _sql(
            *(
                f"CREATE TRIGGER t{event} BEFORE {event} ON users BEGIN SELECT count(*) FROM {CROSSED}; END"
                for event in ("INSERT", "UPDATE", "DELETE")
            )
        ),
        "carried",
    ),
    Hostile(
        "a trigger of a gigabyte",
        _sql("CREATE TRIGGER t AFTER UPDATE ON kv BEGIN SELECT randomblob(999999999); END"),
        "refused",
    ),
    Hostile(
        "a trigger that enriches",
        _sql("CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE users SET gold = 999999999; END"),
        "carried",
    ),
    Hostile(
        "a trigger that undoes",
        _sql("CREATE TRIGGER t BEFORE UPDATE ON users BEGIN SELECT RAISE(IGNORE); END"),
        "carried",
    ),
    Hostile(
        "triggers that start each other",
        _sql(
            NOTES,
            "CREATE TRIGGER t AFTER INSERT ON notes BEGIN INSERT INTO notes VALUES (new.a + 1); END",
            "CREATE TRIGGER u AFTER UPDATE ON users BEGIN INSERT INTO notes VALUES (1); END",
        ),
        "carried",
    ),
    Hostile(
        "a journal that is a view",
        _sql(
            "CREATE VIEW sudamr_action_receipts AS SELECT * FROM kv",
            "CREATE TRIGGER t INSTEAD OF INSERT ON sudamr_action_receipts BEGIN SELECT 1; END",
        ),
        "refused",
    ),
    Hostile(
        "a journal with a trigger",
        _sql(
            "CREATE TABLE sudamr_currency_ledger (user_id, request_id)",
            "CREATE TRIGGER t BEFORE INSERT ON sudamr_currency_ledger BEGIN SELECT RAISE(IGNORE); END",
        ),
        "refused",
    ),
    Hostile("a fence that is a view", _sql("CREATE VIEW sudamr_fence AS SELECT 1 AS state"), "refused"),
    Hostile(
        "players that are a view without an end",
        _sql("ALTER TABLE users RENAME TO people", f"CREATE VIEW users AS {ENDLESS} SELECT i AS id FROM n"),
        "refused",
    ),
    Hostile(
        "other tables that are views without an end",
        _sql(
            "DROP TABLE kv",
            f"CREATE VIEW kv AS {ENDLESS} SELECT i AS key, i AS value FROM n",
            "CREATE TRIGGER t INSTEAD OF INSERT ON kv BEGIN DELETE FROM users; END",
        ),
        "carried",
    ),
    Hostile(
        "a view of itself", _sql("CREATE VIEW a AS SELECT * FROM b", "CREATE VIEW b AS SELECT * FROM a"), "carried"
    ),
    Hostile("views that double each other", _sql(*_views(40)), "carried"),
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
        _sql(NOTES, SOME, "ALTER TABLE notes ADD COLUMN b AS (printf('%.*c', 999999999, 'x'))"),
        "refused",
    ),
    Hostile(
        "a generated column that replaces",
        _sql(NOTES, SOME, "ALTER TABLE notes ADD COLUMN b AS (replace(replace(a, 'a', a || a), 'a', a))"),
        "refused",
    ),
    Hostile("generated columns that double each other", _sql(_chain(40)), "refused"),
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
    Hostile("a default of a gigabyte", _sql("CREATE TABLE notes (a DEFAULT (zeroblob(999999999)), b)"), "refused"),
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

SCHEMAS = (
    Hostile("a million tables", _many_tables, "refused"),
    Hostile(
        "a statement of ten megabytes",
        _planted(("table", "x", "x", f"CREATE TABLE x (a) /* {'x' * 10 * MB} */")),
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
        _sql(
            "PRAGMA writable_schema=ON",
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 1, 'CREATE TABLE x (a, b, c, d, e)')",
        ),
        "refused",
    ),
    Hostile(
        "a table in a page that is not there",
        _sql(
            "PRAGMA writable_schema=ON",
            "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2147483647, 'CREATE TABLE x (a)')",
        ),
        "refused",
    ),
    Hostile("a second table of players", _planted(("table", "users", "users", "CREATE TABLE users (id)")), "refused"),
    Hostile("a statement that is another", _planted(("table", "x", "x", "DELETE FROM users")), "refused"),
    Hostile("a trigger that is a table", _planted(("trigger", "x", "kv", "CREATE TABLE x (a)")), "refused"),
    Hostile("a type that is none", _planted(("attack", "x", "x", "DROP TABLE users")), "refused"),
)

DOCUMENTS = (
    "inventory",
    "equipment",
    "equipmentPresets",
    "mail",
    "quests",
    "singlePlayerMissions",
    "clearedSinglePlayerStages",
    "actionPoints",
    "lastWorldTournament",
    "currencyLogs",
)


def _deep() -> str:
    return "[" * 100_000 + "]" * 100_000


BOMBS: dict[str, Callable[[], str]] = {
    "deep": _deep,
    "deep in its place": lambda: '[{"id":"a","name":"b","x":' + _deep() + "}]",
    "objects in objects": lambda: '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a million digits": lambda: '[{"id":"a","name":"b","quantity":' + "9" * MB + "}]",
    "a number without bounds": lambda: '[{"id":"a","name":"b","quantity":1e999999}]',
    "a key twice": lambda: '{"daily":{"quests":[]},"daily":{"quests":1},"current":1,"current":2,"max":3}',
    "surrogates": lambda: '[{"id":"\\ud800","name":"\\udfff\\ud800","from":"\\u0000"}]',
    "NaN": lambda: '[{"id":"a","name":"b","quantity":NaN}]',
}
LARGE_BOMBS: dict[str, Callable[[], str]] = {
    "ten million numbers": lambda: "[" + "0," * 9_999_999 + "0]",
    "ten million objects": lambda: "[" + "{}," * 9_999_999 + "{}]",
    "a million objects": lambda: "[" + "{}," * 999_999 + "{}]",
    "a hundred thousand keys": lambda: "{" + ",".join(f'"{n}":{n}' for n in range(100_000)) + "}",
    "a hundred thousand names": lambda: "[" + ",".join(f'"{n}"' for n in range(100_000)) + "]",
}


def _crowd(path: Path) -> None:
    """Many players whose bags have as many broken items as are read one by one: each becomes a finding."""
    bag = "[" + "0," * 49_998 + "0]"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (id, username, nickname, inventory) VALUES (?, ?, ?, ?)",
            [(f"user-{n}", f"name-{n}", f"nick-{n}", bag) for n in range(4)],
        )


CELLS = (
    *(Hostile(f"documents: {name}", _cells(DOCUMENTS, bomb), "carried") for name, bomb in BOMBS.items()),
    *(
        Hostile(f"documents: {name}", _cells(DOCUMENTS[:1] + DOCUMENTS[5:7], bomb), "carried")
        for name, bomb in LARGE_BOMBS.items()
    ),
    Hostile("a crowd with broken items", _crowd, "carried"),
    Hostile("a text of 100 MB", _cells(["appSettings"], lambda: "가" * (100 * MB // 3)), "carried"),
    Hostile("a blob of 100 MB", _cells(["appSettings"], lambda: bytes(100 * MB)), "carried"),
    Hostile("a bag of 100 MB", _cells(["inventory"], lambda: "[" + " " * 100 * MB + "]"), "carried"),
    Hostile("a text beyond the limit", _cells(["appSettings"], lambda: "x" * 200 * MB), "refused"),
)

FILES = (
    Hostile("a folder", _is_folder, "refused"),
    Hostile("a pipe", _is_pipe, "refused"),
    Hostile("a device without an end", _is_link_to("/dev/zero"), "refused"),
    Hostile("a link to itself", _is_link_to("game.db"), "refused"),
    Hostile("a link to a name full of marks", _is_link, "carried"),
    Hostile("encrypted", _bytes(_encrypt), "refused"),
    Hostile("cut off", _bytes(_cut), "refused"),
    Hostile("bytes reserved in each page", _bytes(_reserve), "refused"),
    Hostile("a log of garbage", _beside("-wal", lambda log: log.write_bytes(b"\x37\x7f\x06\x82" * 10_000)), "carried"),
    Hostile("a log that is a pipe", _beside("-wal", os.mkfifo), "refused"),
    Hostile("a log that is a link", _beside("-wal", lambda log: log.symlink_to("/etc/passwd")), "refused"),
    Hostile("a journal that is a pipe", _beside("-journal", os.mkfifo), "refused"),
    Hostile("a journal that is a folder", _beside("-journal", lambda journal: journal.mkdir()), "refused"),
    Hostile("a journal that removes another file", _super_journal, "refused"),
    Hostile("the smallest pages", _pages(512, "PERSIST"), "carried"),
    Hostile("the largest pages", _pages(65536, "TRUNCATE"), "carried"),
)

ALL = (*ACTS, *SCHEMAS, *CELLS, *FILES)
