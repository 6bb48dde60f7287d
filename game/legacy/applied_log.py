"""The change log of Postgres that a fenced legacy file follows, and how many of its rounds the file has.

One row in a table of its own, written in the transaction of each round: a file that is older than what Postgres has
forgotten is then known by it. A large round is written in parts; while only some of them are in the file, the number is
negative: n rounds and a part of another are -n - 1. A file that everything is written into anew is that of no log, and
has a part of its first round, until all is in it. Like the fence's table it is no part of the game. It goes when the
file is opened.
"""

from __future__ import annotations

import sqlite3

from game.errors import StoreFailure

TABLE = "sudamr_fence_applied"

NO_LOG = ""
"""The name of the log while everything is written anew: no log has it."""

_MADE = f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), log TEXT NOT NULL, rounds INTEGER NOT NULL)"


def read(conn: sqlite3.Connection) -> tuple[str, int] | None:
    """Return the name by which the file follows its log, and how many rounds it has whole; None if it follows none."""
    row = conn.execute(f"SELECT log, max(rounds, -rounds - 1) FROM main.{TABLE}").fetchone() if exists(conn) else None
    return None if row is None else (str(row[0]), int(row[1]))


def note_part(conn: sqlite3.Connection) -> None:
    """Note in the open transaction that the file has a part of its next round; `write` ends that."""
    if exists(conn):
        conn.execute(f"UPDATE main.{TABLE} SET rounds = -rounds - 1 WHERE rounds >= 0")


def has_part(conn: sqlite3.Connection) -> bool:
    """Return True if the file has a part of a round: some players as they are, and others, or their receipts, not."""
    return exists(conn) and conn.execute(f"SELECT 1 FROM main.{TABLE} WHERE rounds < 0").fetchone() is not None


def begin_anew(conn: sqlite3.Connection) -> None:
    """Note in the open transaction that the file follows no log, and has a part of what it will be; `write` ends that.

    Raises StoreFailure as `write` does.
    """
    write(conn, NO_LOG, -1)


def write(conn: sqlite3.Connection, log: str, rounds: int) -> None:
    """Write into the file, in the open transaction, how many rounds of this log it has.

    Raises StoreFailure if the name is taken by something of the game.
    """
    if not exists(conn):
        if conn.execute("SELECT 1 FROM main.sqlite_master WHERE lower(name) = ?", (TABLE,)).fetchone():
            raise StoreFailure(f"a name that is kept for the rounds of a write-back is taken: {TABLE}")
        conn.execute(_MADE)
    conn.execute(f"INSERT OR REPLACE INTO main.{TABLE} VALUES (1, ?, ?)", (log, rounds))


def drop(conn: sqlite3.Connection) -> None:
    """Follow no log any more, in the open transaction."""
    if exists(conn):
        conn.execute(f"DROP TABLE main.{TABLE}")


def exists(conn: sqlite3.Connection) -> bool:
    """Return True if the file has our table, and not something else of that name."""
    table = conn.execute("SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    return table is not None and table[0] == _MADE
