"""The proof: every row of the file against the one rebuilt from the target, in storage classes and bytes.

Both sides are streamed in the same order. A mismatch names its place, never a value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from db.console.progress import Advance, Progress, Silent
from db.errors import Failure
from db.legacy import source as sources
from db.legacy.source import Source, SourceRow
from db.remedies import LOAD_ANEW
from db.transfer import heads
from db.transfer import target as targets
from db.transfer.target import LegacyRow, PlacedRow, Target
from game.legacy import sqlite_values
from game.urls import PostgresUrl

NAMED = 20
ROWS_BETWEEN = 50


@dataclass(frozen=True, slots=True)
class Proof:
    """players: how many were compared; mismatches: how many cells and rows differ; named: the first 20 of them.

    units: of the rows that are equal, as `reconcile.UnitCount` counts them.
    """

    players: int
    mismatches: int
    named: tuple[str, ...]
    units: int = 0

    def check(self) -> None:
        """Raise Failure unless everything is equal."""
        if self.mismatches:
            raise Failure(
                "every row rebuilt from the target to equal the one in the file",
                f"{self.mismatches:,} that differ: {'; '.join(self.named)}",
                do=LOAD_ANEW,
            )


def prove(source: Path, target: PostgresUrl, *, progress: Progress | None = None) -> Proof:
    """Compare the whole file with the target. Refusal where either can't be read."""
    with sources.opened(source) as legacy:
        return prove_source(legacy, target, progress or Silent())


def prove_source(source: Source, target: PostgresUrl, progress: Progress) -> Proof:
    """Prove a file that is open already, as `prove` does."""
    with targets.opened(target) as snapshot:
        return compare(source, snapshot, progress)


def compare(source: Source, target: Target, progress: Progress) -> Proof:
    """Compare file and target when both are open."""
    counted = _Counted()
    players = source.count("users")
    with progress.bar("proving", players, "players") as advance:
        for name in dict.fromkeys((*source.tables, *(statement.name for statement in target.schema.tables))):
            counted.add(_table(name, source, target, counted, advance if name == "users" else seldom(advance)))
    if target.numbers_receipts:
        counted.add(heads.differences(source, target.conn))
    return Proof(players, counted.mismatches, tuple(counted.named), counted.units)


@dataclass(slots=True)
class Pair:
    """One position: the file's row, the target's, or both. It is emptied once the next one is asked for."""

    position: int
    row: SourceRow | None
    line: LegacyRow | None


def pairs(rows: Iterator[SourceRow], lines: Iterator[PlacedRow]) -> Iterator[Pair]:
    """Yield both sides by position, in order. A large value is never held for longer than its turn."""
    line, row = next(lines, None), next(rows, None)
    while row is not None or line is not None:
        ahead = line is None or (row is not None and row.position < line[0])
        behind = row is None or (line is not None and line[0] < row.position)
        pair = Pair(0, None, None)
        if row is not None and not behind:
            pair.position, pair.row, row = row.position, row, None
        if line is not None and not ahead:
            pair.position, pair.line = line
            line = None
        yield pair
        pair.row = pair.line = None
        line = next(lines, None) if not ahead else line
        row = next(rows, None) if not behind else row


def differing(columns: tuple[str, ...], row: SourceRow, line: LegacyRow) -> list[str]:
    """Return the columns in which the file's row is not what the target says, and those that only the target has."""
    differing_columns = [
        column
        for column, cell in zip(columns, row.cells, strict=True)
        if not sqlite_values.same(cell, line.get(column))
    ]
    if len(line) > len(columns) or not line.keys() <= set(columns):
        differing_columns += [column for column, cell in line.items() if column not in columns and cell is not None]
    return differing_columns


class _Counted:
    def __init__(self) -> None:
        self.mismatches = 0
        self.units = 0
        self.named: list[str] = []

    def add(self, differences: Iterator[str]) -> None:
        """Count the differences, and keep the first NAMED of them. Consumes the iterator."""
        for place in differences:
            self.mismatches += 1
            if len(self.named) < NAMED:
                self.named.append(place)


def differences(name: str, source: Source, target: Target) -> Iterator[str]:
    """Yield the place of each difference of one table."""
    return _table(name, source, target, _Counted(), uncounted)


def _table(name: str, source: Source, target: Target, counted: _Counted, advance: Advance) -> Iterator[str]:
    shape = source.tables.get(name)
    rows = source.rows(name) if shape else iter(())
    columns = shape.columns if shape else ()
    for pair in pairs(rows, target.rows(name)):
        if pair.row is None:
            yield f"{name} row {pair.position}: only in the target"
        elif pair.line is None:
            yield f"{name} row {pair.position}: not in the target"
        elif wrong := differing(columns, pair.row, pair.line):
            yield from (f"{name} row {pair.position}, {column}" for column in wrong)
        else:
            counted.units += len(columns) - len(pair.row.units) + sum(pair.row.units.values())
        if pair.row is not None:
            advance(1)


def seldom(advance: Advance) -> Advance:
    """Return what tells of no progress, now and then: who shows it may have something else to do meanwhile."""
    rows = itertools.count(1)

    def advanced(_more: int) -> None:
        if next(rows) % ROWS_BETWEEN == 0:
            advance(0)

    return advanced


def uncounted(_more: int) -> None:
    """Advance nothing: only players are counted on the bar."""
