"""The journals' tables as the legacy file has them, beside the game's own."""

from __future__ import annotations

import sqlalchemy as sa

from game import tables

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
