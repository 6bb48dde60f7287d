"""Files that are refused because of what another program or damage left in them, with the remedies."""

from __future__ import annotations

from dataclasses import dataclass

from tests.db.legacy.unusual_cases import Step, case, in_schema

LONG = "표" * 700
BROKEN_VIEW = "CREATE VIEW broken AS SELECT * FROM nowhere"
"""In a file with this view SQLite renames nothing."""


@dataclass(frozen=True)
class Refused:
    """A file that is refused, and what the refusal says was found.

    mend: SQL with which somebody mends the rows, where the remedy names them and leaves their values to people.
    """

    name: str
    steps: tuple[Step, ...]
    found: str
    mend: str = ""


def refused(name: str, found: str, *steps: Step, mend: str = "") -> Refused:
    return Refused(name, case(name, *steps).steps, found, mend)


def _notes(declared: str = "t TEXT") -> str:
    return f"CREATE TABLE notes (id INTEGER PRIMARY KEY, {declared})"


FUNCTIONS = (
    refused(
        "an index by a function",
        "unknown function: norm()",
        _notes(),
        "CREATE INDEX by_norm ON notes (norm(t))",
        "INSERT INTO notes VALUES (1, '가')",
    ),
    refused(
        "an index of players in part",
        "unknown function: norm()",
        "CREATE INDEX some ON users (gold) WHERE norm(nickname) = 'x'",
    ),
    refused(
        "a trigger that calls a function",
        "norm",
        "CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE kv SET value = norm(value); END",
    ),
    refused(
        "a trigger that writes where a function is needed",
        "norm",
        "CREATE TABLE audit (a)",
        "CREATE INDEX by_norm ON audit (norm(a))",
        "CREATE TRIGGER t AFTER INSERT ON kv BEGIN INSERT INTO audit VALUES (new.key); END",
    ),
    refused(
        "a CHECK by a function",
        "norm",
        _notes("t TEXT CONSTRAINT fit CHECK (norm(t) > '(' /* ) */)"),
        "INSERT INTO notes VALUES (1, '가')",
    ),
    refused(
        "a default by a function", "norm", _notes("t TEXT, u DEFAULT (norm('x'))"), "INSERT INTO notes DEFAULT VALUES"
    ),
    refused(
        "a stored column by a function",
        "norm",
        _notes("t, g TEXT GENERATED ALWAYS AS (norm(t)) STORED"),
        "INSERT INTO notes (t) VALUES ('가')",
        "CREATE INDEX by_g ON notes (g)",
    ),
    refused(
        "a column by a function, of players",
        "norm",
        "ALTER TABLE users ADD COLUMN g AS (norm(nickname))",
        "CREATE INDEX by_g ON users (g)",
    ),
    refused(
        "functions and collations all over",
        "norm",
        _notes(
            "a, g TEXT AS (norm(a)) STORED, h AS (norm(g)), i DEFAULT (norm(1)), k TEXT COLLATE unicase UNIQUE,"
            " CHECK (norm(a) > 0)"
        ),
        "INSERT INTO notes (a, k) VALUES ('x', 'y'), ('z', 'w')",
        "CREATE INDEX by_h ON notes (h)",
    ),
)

COLLATIONS = (
    refused(
        "an index by a collation",
        "no such collation sequence: unicase",
        _notes("t TEXT COLLATE unicase"),
        "CREATE INDEX by_t ON notes (t)",
        "INSERT INTO notes VALUES (1, '가')",
    ),
    refused(
        "a key by a collation",
        "unicase",
        _notes('t TEXT COLLATE "unicase" UNIQUE'),
        "INSERT INTO notes VALUES (1, '나'), (2, '가')",
    ),
    refused(
        "players' ids by a collation",
        "unicase",
        "PRAGMA writable_schema=ON",
        """UPDATE sqlite_master SET sql = replace(sql, '"id" TEXT', '"id" TEXT COLLATE unicase')""",
    ),
    refused(
        "rows that stand in the order of a collation",
        "unicase",
        "CREATE TABLE n (a TEXT COLLATE unicase PRIMARY KEY, b) WITHOUT ROWID",
        "INSERT INTO n VALUES ('나', 1), ('가', 2)",
        mend="CREATE TABLE anew (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO anew SELECT * FROM n; DROP TABLE n;"
        " ALTER TABLE anew RENAME TO n",
    ),
)

MODULES = (
    refused(
        "a trigger into a search that is not here",
        "no such module: vec0",
        "CREATE TRIGGER t AFTER UPDATE ON users BEGIN INSERT INTO vec (e) VALUES (new.id); END",
        "PRAGMA writable_schema=ON",
        "INSERT INTO sqlite_master VALUES ('table', 'vec', 'vec', 0, 'CREATE VIRTUAL TABLE vec USING vec0(e)')",
    ),
    refused(
        "a trigger into a table that is gone",
        "no such table: main.gone",
        "CREATE TRIGGER t AFTER DELETE ON users BEGIN INSERT INTO gone VALUES (1); END",
    ),
    refused(
        "a trigger into another database",
        "malformed database schema (t)",
        "CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE kv SET value = 1; END",
        *in_schema("t", "CREATE TRIGGER t AFTER UPDATE ON users BEGIN UPDATE other.kv SET value = 1; END")[:2],
    ),
    refused(
        "an index of a column that is gone",
        "malformed database schema (by_a)",
        "CREATE TABLE q (a, b)",
        "CREATE INDEX by_a ON q (a)",
        *in_schema("by_a", "CREATE INDEX by_a ON q (zz)")[:2],
    ),
)

NAMES = (
    refused(
        "a name of bytes",
        "the bytes ff fe in table",
        "CREATE TABLE badly (a UNIQUE)",
        "INSERT INTO badly VALUES (1)",
        "PRAGMA writable_schema=ON",
        *(
            f"UPDATE sqlite_master SET {column} = replace({column}, 'badly', CAST(x'7a7afffe' AS TEXT))"
            for column in ("name", "tbl_name", "sql")
        ),
    ),
    refused(
        "a column of players with a name of bytes",
        "the bytes ff in table",
        "ALTER TABLE users ADD COLUMN badly",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'badly', CAST(x'7aff' AS TEXT))",
    ),
    refused(
        "a comment of bytes",
        "the bytes c0 ff in table",
        "CREATE TABLE z (a)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'a', 'a /* ' || CAST(x'c0ff' AS TEXT) || ' */') WHERE name = 'z'",
    ),
    refused(
        "a statement that a NUL ends",
        "a NUL in table",
        "CREATE TABLE z (a)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_master SET sql = sql || char(0) || 'rest' WHERE name = 'z'",
    ),
    refused("a name too long to be a key", "2,100: 표", f'CREATE TABLE "{LONG}" (a)', BROKEN_VIEW),
    refused(
        "a table with a name of SQLite's own",
        "sqlite_history",
        "CREATE TABLE badly (a UNIQUE)",
        "PRAGMA writable_schema=ON",
        *(
            f"UPDATE sqlite_master SET {column} = replace({column}, 'badly', 'sqlite_history')"
            for column in ("name", "tbl_name", "sql")
        ),
    ),
    refused(
        "a table and a trigger with names of the fence",
        "table sudamr_fence_notes, trigger sudamr_fence_t",
        "CREATE TABLE sudamr_fence_notes (a)",
        "CREATE TRIGGER sudamr_fence_t AFTER INSERT ON kv BEGIN SELECT 1; END",
        BROKEN_VIEW,
    ),
    refused(
        "a table with the name of a journal",
        "a table sudamr_currency_ledger of user_id, amount",
        "CREATE TABLE sudamr_currency_ledger (user_id, amount)",
    ),
    refused(
        "a table with the name of a journal in capitals",
        "a table Sudamr_Currency_Ledger of",
        "CREATE TABLE Sudamr_Currency_Ledger (user_id, amount)",
        BROKEN_VIEW,
    ),
    refused(
        "the players' table in capitals",
        "tables: USERS",
        "ALTER TABLE users RENAME TO u",
        "ALTER TABLE u RENAME TO USERS",
        BROKEN_VIEW,
    ),
    refused(
        "a column of players in capitals",
        "one spelt `GOLD`",
        "ALTER TABLE users RENAME COLUMN gold TO GOLD",
        BROKEN_VIEW,
    ),
    refused(
        "a player with an id of the smoke test's",
        "sudamr-canary-1",
        "UPDATE users SET id = 'sudamr-canary-1' WHERE rowid = 1",
        mend="UPDATE users SET id = 'player-1' WHERE id = 'sudamr-canary-1'",
    ),
)

VIOLATIONS = (
    refused(
        "NULL where none may be",
        "NULL value in p.a",
        "CREATE TABLE p (a, b)",
        "INSERT INTO p VALUES (NULL, 'x')",
        *in_schema("p", "CREATE TABLE p (a NOT NULL, b)"),
        mend="UPDATE p SET a = '' WHERE typeof(a) = 'null'",
    ),
    refused(
        "a CHECK that rows do not meet",
        "rows of p that CHECK (b < 3) refuses: 1",
        "CREATE TABLE p (a, b)",
        "INSERT INTO p VALUES (1, 2), (1, 4)",
        *in_schema("p", "CREATE TABLE p (a, b CHECK (b < 3))"),
        mend="UPDATE p SET b = 2 WHERE b >= 3",
    ),
    refused(
        "twins where all are unique",
        "non-unique entry in index by_a",
        "CREATE TABLE p (a)",
        "CREATE INDEX by_a ON p (a)",
        "INSERT INTO p VALUES (1), (1)",
        *in_schema("by_a", "CREATE UNIQUE INDEX by_a ON p (a)"),
        mend="UPDATE p SET a = 2 WHERE rowid = 2",
    ),
    refused(
        "texts where a strict table has numbers",
        "value in p.a",
        "CREATE TABLE p (a TEXT) STRICT",
        "INSERT INTO p VALUES ('x')",
        *in_schema("p", "CREATE TABLE p (a INTEGER) STRICT"),
        mend="UPDATE p SET a = 1",
    ),
    refused(
        "an index of other rows",
        "row 1 missing from index by_a",
        "CREATE TABLE p (a, b)",
        "CREATE INDEX by_a ON p (a)",
        "INSERT INTO p VALUES (1, 2), (3, 4)",
        *in_schema("by_a", "CREATE INDEX by_a ON p (b)"),
    ),
)

PLACES = (
    refused(
        "rows at the end of SQLite's rowids",
        "its last rowid is 9223372036854775807",
        _notes(),
        "INSERT INTO notes VALUES (1, 'a'), (9223372036854775806, 'b'), (9223372036854775807, 'c')",
    ),
)

REFUSED = (*FUNCTIONS, *COLLATIONS, *MODULES, *NAMES, *VIOLATIONS, *PLACES)
