"""A legacy file with a table of odd names, and writes that a fence must refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from game.legacy import sqlite_values
from game.legacy.fence_schema import Owner

OWNER = Owner("20260101_000000_ab12", "a-database")
ODD = '"or""der; --"'
SCHEMA = f"""
CREATE TABLE users (
    id TEXT PRIMARY KEY, nickname TEXT UNIQUE, gold INTEGER, twice INTEGER GENERATED ALWAYS AS (gold * 2)
);
CREATE INDEX users_gold ON users (gold);
CREATE TABLE sudamr_action_receipts (user_id TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (user_id, n)) WITHOUT ROWID;
CREATE TABLE {ODD} (value INTEGER PRIMARY KEY AUTOINCREMENT, "무엇" TEXT);
CREATE TABLE "table" (a INTEGER NOT NULL);
CREATE VIEW rich AS SELECT * FROM users WHERE gold > 100;
CREATE TRIGGER theirs AFTER UPDATE ON users BEGIN SELECT 1; END;
INSERT INTO users (id, nickname, gold) VALUES ('a', 'Anna', 5), ('b', 'Bo', 500);
INSERT INTO sudamr_action_receipts VALUES ('a', 1);
INSERT INTO "table" VALUES (1);
"""
WRITES = (
    "INSERT INTO users (id) VALUES ('c')",
    "INSERT OR IGNORE INTO users (id) VALUES ('a')",
    "INSERT OR REPLACE INTO users (id) VALUES ('a')",
    "INSERT OR ROLLBACK INTO users (id) VALUES ('c')",
    "INSERT INTO users (id) VALUES ('a') ON CONFLICT DO UPDATE SET gold = 0",
    "INSERT INTO users (id) VALUES ('c') RETURNING id",
    "UPDATE users SET gold = gold",
    "UPDATE OR IGNORE users SET gold = 1 WHERE id = 'a'",
    "DELETE FROM users",
    "DELETE FROM sudamr_action_receipts WHERE n = 1",
    "UPDATE sudamr_action_receipts SET n = 2",
    "INSERT INTO sudamr_action_receipts VALUES ('a', 2)",
    f"INSERT INTO {ODD} VALUES (1, 'x')",
    'DELETE FROM "table"',
)


@pytest.fixture(params=["wal", "delete"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of the game, in each of the two journal modes that files out there have."""
    file = tmp_path / "game.db"
    with closing(sqlite3.connect(file)) as conn:
        conn.execute(f"PRAGMA journal_mode = {request.param}")
        conn.executescript(SCHEMA)
    return file


@pytest.fixture
def conn(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite_values.connect(path)) as connection:
        yield connection


@contextmanager
def stranger(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of a service that knows nothing of us."""
    with closing(sqlite3.connect(path, timeout=5)) as connection:
        yield connection


def everything(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as conn:
        return list(conn.iterdump())


def schema(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
