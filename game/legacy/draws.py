"""The draw epoch of a legacy file: one value in a table of its own, which `game.rules.chance` mixes into every draw.

The table is there only once an epoch was given. Like the fence's table it is no part of the game: its rows are never
loaded as the game's, never compared and never fenced. What bears its name and was not made here is the game's own.
"""

from __future__ import annotations

import secrets
import sqlite3

from game.errors import StoreFailure

TABLE = "sudamr_fence_draws"
"""Begins as the fence's names do: a version that knows no epochs then refuses the file, and does not lose its epoch."""

_MADE = f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL)"


def read(conn: sqlite3.Connection) -> str:
    """Return the epoch; "" if none was ever given. Two small reads."""
    row = conn.execute(f"SELECT epoch FROM main.{TABLE}").fetchone() if exists(conn) else None
    return "" if row is None else str(row[0])


def write(conn: sqlite3.Connection, epoch: str) -> None:
    """Give the file this epoch, in the open transaction; "" removes the table.

    Raises StoreFailure if the name is taken by something of the game; nothing is changed.
    """
    if exists(conn):
        conn.execute(f"DROP TABLE main.{TABLE}")
    elif conn.execute("SELECT 1 FROM main.sqlite_master WHERE lower(name) = ?", (TABLE,)).fetchone():
        raise StoreFailure(f"a name that is kept for the draw epoch is taken: {TABLE}")
    if epoch:
        conn.execute(_MADE)
        conn.execute(f"INSERT INTO main.{TABLE} VALUES (1, ?)", (epoch,))


def renew(conn: sqlite3.Connection) -> None:
    """Give the file a new epoch, in the open transaction, so that requests that won before draw anew."""
    write(conn, secrets.token_hex(16))


def exists(conn: sqlite3.Connection) -> bool:
    """Return True if the file has our table, and not something else of that name."""
    table = conn.execute("SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (TABLE,)).fetchone()
    return table is not None and table[0] == _MADE
