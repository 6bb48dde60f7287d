"""What nobody touched must come back as it was: two legacy files side by side, but for the players that acted."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from db.transfer.source import quote
from game.legacy import cells
from game.tables import LEGACY_PREFIX


@dataclass
class Untouched:
    """cells: values compared; differences: one line for each row that is not as it was."""

    cells: int = 0
    differing: int = 0
    differences: list[str] = field(default_factory=list)


def compare(before: Path, after: Path, acted: Collection[str]) -> Untouched:
    """Every row of every table of `before`, by its place, in `after`; of `users` only the players that did not act."""
    found = Untouched()
    with closing(cells.connect(before, readonly=True)) as old, closing(cells.connect(after, readonly=True)) as new:
        for table, columns, order in _tables(old):
            listed = ", ".join(quote(column) for column in columns)
            query = f"SELECT {listed} FROM {quote(table)} ORDER BY {order}"
            nothing = (None,) * len(columns)
            for place, (was, now) in enumerate(zip_longest(old.execute(query), new.execute(query), fillvalue=nothing)):
                if table == "users" and was[columns.index("id")] in acted:
                    continue
                wrong = [c for c, a, b in zip(columns, was, now, strict=True) if not cells.same(a, b)]
                found.cells += len(columns)
                found.differing += len(wrong)
                if wrong:
                    found.differences.append(f"{table}, row {place + 1}: not as it was: {', '.join(wrong)}")
    return found


def _tables(connection: sqlite3.Connection) -> Iterator[tuple[str, list[str], str]]:
    """Name, columns and order of each table, the journals apart: they are counted by receipts."""
    for _schema, table, kind, _columns, without_rowid, _strict in connection.execute("PRAGMA table_list").fetchall():
        if kind == "table" and not table.startswith(("sqlite_", LEGACY_PREFIX)):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quote(table)})")]
            yield table, columns, ", ".join(map(quote, columns)) if without_rowid else "rowid"
