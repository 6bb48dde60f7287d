"""One player's row of the legacy file, read as far as a command needs it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from game import tables
from game.legacy import codec
from game.legacy.codec.unneeded import HarmlessDocuments
from game.legacy.sqlite_values import Cell, quote
from game.rows import Rows


def find(
    connection: sqlite3.Connection, player: str, names: Collection[str], harmless: HarmlessDocuments
) -> tuple[dict[str, Cell], Rows] | None:
    """Return the player's row, as far as the tables need it, and its rows; None if there is no such row, or its id
    can't be a player's.

    harmless: documents that need not be decoded.
    """
    wanted = codec.columns_for(names, columns(connection))
    listed = ", ".join(quote(column) for column in wanted)
    cells = connection.execute(f"SELECT {listed} FROM users WHERE id = ?", (player,)).fetchone()
    if cells is None:
        return None
    row = dict(zip(wanted, cells, strict=True))
    needed = harmless.without(row, names)
    # Not the real rowid: the table may have none, and only the transfer uses it.
    decoded = codec.decode_row(needed, rowid=0)
    harmless.learn(needed, names, decoded)
    return (row, decoded.rows) if decoded.rows.get("users") else None


def columns(connection: sqlite3.Connection) -> list[str]:
    """Return the columns of `users` as the file has them now."""
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info('users')")]


def without_codec_columns(rows: Rows) -> Rows:
    """Return the rows as the game knows them, without what the codec keeps beside."""
    for name, records in rows.items():
        shown = [column.name for column in tables.game_columns(tables.BY_NAME[name])]
        rows[name] = {key: {column: record[column] for column in shown} for key, record in records.items()}
    return rows
