"""The journals' tables as the legacy file has them, beside the game's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from game import tables
from game.rows import Key, Record

ADDED_TO_RECEIPTS = ("seq", "chain")
"""Columns that a file's receipts lack if an earlier version made them; a process of that version writes NULL there."""

metadata = sa.MetaData()


def _in_the_file(journal: sa.Table) -> sa.Table:
    """Return the journal's table: same columns, the prefix, no foreign key (the file has none)."""
    columns = [
        sa.Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable or c.name in ADDED_TO_RECEIPTS)
        for c in journal.columns
    ]
    return sa.Table(tables.LEGACY_PREFIX + journal.name, metadata, *columns, sqlite_with_rowid=False)


TABLES = {journal.name: _in_the_file(journal) for journal in tables.JOURNALS}
RECEIPTS = TABLES[tables.action_receipts.name]
SEQ_INDEX = sa.Index(f"{RECEIPTS.name}_seq", RECEIPTS.c.user_id, RECEIPTS.c.seq, unique=True)


def records(
    connection: sqlite3.Connection,
    journal: sa.Table,
    player: str,
    *,
    request_ids: Sequence[str] | None = None,
    absent: Collection[str] = (),
) -> dict[Key, Record]:
    """Return a journal's records of the player; none where the file has no journals yet.

    request_ids: of these requests alone. absent: the columns that the file's own table lacks, NULL in each record.
    """
    name, columns = TABLES[journal.name].name, [column.name for column in journal.columns if column.name not in absent]
    if not has(connection, name):
        return {}
    query, values = f"SELECT {', '.join(columns)} FROM {name} WHERE user_id = ?", [player]
    if request_ids is not None:
        query += f" AND request_id IN ({', '.join('?' * len(request_ids))})"
        values += request_ids
    none: Record = dict.fromkeys(absent)
    records = [none | dict(zip(columns, cells, strict=True)) for cells in connection.execute(query, values)]
    return {tuple(record[part] for part in tables.KEYS[journal.name]): record for record in records}


def has(connection: sqlite3.Connection, table: str) -> bool:
    """Return True if the file has a table of this name."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None
