"""Compares two legacy files, but for the players that acted: the rest must come back as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from db.legacy.source import Source
from game.legacy import sqlite_values
from game.legacy.sqlite_values import Cell, quote
from game.tables import LEGACY_PREFIX

WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)


@dataclass
class Untouched:
    """cells: values compared; differences: one line for each row that is not as it was."""

    cells: int = 0
    differing: int = 0
    differences: list[str] = field(default_factory=list)


def compare(before: Path, after: Path, acted: Collection[str]) -> Untouched:
    """Compare every row of every table, by its place, in both files; of `users` only players that did not act."""
    untouched = Untouched()
    with (
        closing(sqlite_values.connect(before, readonly=True)) as first,
        closing(sqlite_values.connect(after, readonly=True)) as second,
    ):
        old, new = Source(first, str(before)), Source(second, str(after))
        for table in _tables(old):
            columns = old.tables[table].columns
            places = [new.tables[table].columns.index(column) for column in columns]
            for place, (was, row) in enumerate(zip_longest(old.rows(table), new.rows(table)), 1):
                if table == "users" and was is not None and was.cells[columns.index("id")] in acted:
                    continue
                now = None if row is None else [row.cells[n] for n in places]
                wrong = _wrong(columns, None if was is None else was.cells, now)
                untouched.cells += len(columns)
                untouched.differing += len(wrong)
                if wrong:
                    untouched.differences.append(f"{table}, row {place}: not as it was: {', '.join(wrong)}")
    return untouched


def _wrong(columns: Sequence[str], was: Sequence[Cell] | None, now: Sequence[Cell] | None) -> list[str]:
    """Return the columns that differ; all columns if only one file has the row."""
    if was is None or now is None:
        return list(columns)
    return [name for name, left, right in zip(columns, was, now, strict=True) if not sqlite_values.same(left, right)]


def _tables(source: Source) -> Iterator[str]:
    """Yield the tables whose rows must not change.

    Leaves out our journals, which the receipts prove, the tables behind virtual tables, and the tables that the file's
    triggers write when players act.
    """
    kinds = {row[1]: row[2] for row in source.connection.execute("PRAGMA table_list").fetchall()}
    triggered = _written_by_triggers(source) - {"users"}
    for table in source.tables:
        if kinds[table] == "table" and table not in triggered and not table.startswith(("sqlite_", LEGACY_PREFIX)):
            yield table


def _written_by_triggers(source: Source) -> set[str]:
    """Return the tables that triggers write when a player's row changes, as SQLite's authorizer reports them."""
    written: set[str] = set()

    def note(action: int, table: str | None, _column: str | None, _schema: str | None, trigger: str | None) -> int:
        if trigger is not None and table is not None and action in WRITES:
            written.add(table)
        return sqlite3.SQLITE_OK

    columns = ", ".join(f"{quote(column)} = NULL" for column in source.tables["users"].columns)
    source.connection.set_authorizer(note)
    for statement in ("INSERT INTO users DEFAULT VALUES", f"UPDATE users SET {columns}", "DELETE FROM users WHERE 1"):
        source.connection.execute(f"EXPLAIN {statement}").fetchall()
    source.connection.set_authorizer(None)
    return written
