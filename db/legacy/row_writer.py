"""Rows written into a SQLite file, with their rowids, storage classes and bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from db.legacy.source import SourceTable
from game.legacy.sqlite_values import Cell, bind, insert_into, placeholder, quote


def insert(connection: sqlite3.Connection, table: SourceTable, position: int, row: Mapping[str, Cell]) -> None:
    """Add one row at its position; a column that `row` lacks is NULL."""
    values: list[Cell] = [row.get(column) for column in table.columns]
    names = [*map(quote, table.columns)]
    if table.rowid is not None and len(names) < connection.getlimit(sqlite3.SQLITE_LIMIT_COLUMN):
        values, names = [position, *values], [table.rowid, *names]
    connection.execute(insert_into(quote(table.name), map(placeholder, values), names), [*map(bind, values)])
    if table.rowid is not None and table.rowid not in names:
        # A statement may name only as many values as a table may have columns, so the rowid did not fit.
        moved = f"UPDATE {quote(table.name)} SET {table.rowid} = ? WHERE {table.rowid} = last_insert_rowid()"
        connection.execute(moved, (position,))


def update(
    connection: sqlite3.Connection, table: SourceTable, position: int, row: Mapping[str, Cell], columns: Sequence[str]
) -> None:
    """Write the columns of the row that stands at the position; the others stay as they are, byte for byte."""
    assert table.rowid is not None
    values = [row.get(column) for column in columns]
    changes = ", ".join(
        f"{quote(column)} = {placeholder(value)}" for column, value in zip(columns, values, strict=True)
    )
    cursor = connection.execute(
        f"UPDATE {quote(table.name)} SET {changes} WHERE {table.rowid} = ?", [*map(bind, values), position]
    )
    assert cursor.rowcount == 1, f"{table.name} row {position} was there a moment ago"


def delete(connection: sqlite3.Connection, table: SourceTable, position: int) -> None:
    """Remove the row at the position."""
    assert table.rowid is not None
    connection.execute(f"DELETE FROM {quote(table.name)} WHERE {table.rowid} = ?", (position,))


def delete_by_key(connection: sqlite3.Connection, table: SourceTable, row: Mapping[str, Cell]) -> None:
    """Remove the row with these values of the primary key, for a table without rowids."""
    key = [row[column] for column in table.primary_key]
    where = " AND ".join(f"{quote(c)} IS {placeholder(v)}" for c, v in zip(table.primary_key, key, strict=True))
    connection.execute(f"DELETE FROM {quote(table.name)} WHERE {where}", [*map(bind, key)])
