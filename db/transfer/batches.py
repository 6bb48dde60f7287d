"""From rows of the legacy file to records of the target: one batch a chunk, in the order that foreign keys ask for.

A row whose key another row has already (the file declares no uniqueness) is kept whole, as is a journal line that the
target's constraints would refuse; each of them with a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import sqlalchemy as sa

from db.legacy.source import SourceRow, SourceTable
from game import tables
from game.legacy import codec, sqlite_values
from game.legacy.codec import Finding
from game.legacy.codec.readers import indexable, storable
from game.legacy.sqlite_values import Cell
from game.rows import Record

JOURNALS = {tables.LEGACY_PREFIX + journal.name: journal for journal in tables.JOURNALS}
"""The journals as the legacy file names them."""

_KEYS = {
    "users": ("id", "username", "nickname"),
    "user_credentials": ("username",),
    "kv": ("key",),
    "live_games": ("id",),
}
"""Columns that the target keeps unique, by legacy table; the first is the key."""

_LEAST = {"balance": 0, "stock": 0, "seq": 1}
_CURRENCIES = ("gold", "diamonds")


@dataclass(frozen=True, slots=True)
class _RowProblem:
    """The reason why a row is kept whole."""

    kind: Literal["aside", "held"]
    column: str
    rule: str
    reason: str


@dataclass(slots=True)
class Batch:
    """One chunk, packed. taken, quarantined: units by column of the source table."""

    table: str
    records: dict[str, list[Record]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)

    def add(self, table: str, records: Iterable[Record]) -> None:
        self.records.setdefault(table, []).extend(records)


class BatchBuilder:
    """Packs the rows of one table. `known` tells which of some player ids the target has."""

    def __init__(self, table: SourceTable, known: Callable[[Iterable[str]], set[str]]) -> None:
        self._table = table
        self._known = known
        self._seen: dict[str, set[str]] = {
            column: set() for column in _KEYS.get(table.name, ()) if column not in table.unique
        }

    def pass_over(self, row: SourceRow) -> None:
        """Remember the keys of a row that was loaded before."""
        if self._seen:
            self._taken_key(self._cells(row))

    def pack(self, rows: list[SourceRow]) -> Batch:
        """Return the rows' records and findings. Every row is in it, or nothing is."""
        batch = Batch(self._table.name)
        match self._table.name:
            case "users":
                for row in rows:
                    self._player(batch, row)
            case name if name in JOURNALS:
                self._lines(batch, JOURNALS[name], rows)
            case _:
                for row in rows:
                    self._other(batch, row)
        return batch

    def _cells(self, row: SourceRow) -> dict[str, Cell]:
        return dict(zip(self._table.columns, row.cells, strict=True))

    def _player(self, batch: Batch, row: SourceRow) -> None:
        cells = self._cells(row)
        if (column := self._taken_key(cells)) is not None:
            batch.taken.update(dict.fromkeys(cells, 1) | row.units)
            self._keep_whole(batch, row, _RowProblem("held", column, "duplicate", f"another player has this {column}"))
            return
        decoded = codec.decode_row(cells, rowid=row.position, units=row.units)
        for table, records in decoded.rows.items():
            batch.add(table, records.values())
        batch.findings += decoded.findings
        batch.taken.update(decoded.counts if decoded.rows.get("users") else dict.fromkeys(cells, 1) | row.units)
        batch.quarantined.update(decoded.quarantined())

    def _other(self, batch: Batch, row: SourceRow) -> None:
        """Add a row of a table without players to the batch; keep it whole if another row has its key."""
        cells = self._cells(row)
        batch.taken.update(cells.keys())
        if (column := self._taken_key(cells)) is not None:
            self._keep_whole(batch, row, _RowProblem("aside", column, "duplicate", f"another row has this {column}"))
            return
        table, record = codec.decode_other(self._table.name, cells, rowid=row.position)
        batch.add(table, [record])

    def _lines(self, batch: Batch, journal: sa.Table, rows: list[SourceRow]) -> None:
        lines = [(row, self._cells(row)) for row in rows]
        players = self._known(str(cells["user_id"]) for _row, cells in lines if isinstance(cells["user_id"], str))
        for row, cells in lines:
            batch.taken.update(cells.keys())
            if cells["user_id"] not in players:
                self._keep_whole(
                    batch, row, _RowProblem("aside", "user_id", "unknown", "the target has no such player")
                )
            elif (column := unfit(journal, cells)) is not None:
                self._keep_whole(batch, row, _RowProblem("aside", column, "unfit", f"no value for {column}"))
            else:
                batch.add(journal.name, [plain_line(cells)])

    def _taken_key(self, cells: Mapping[str, Cell]) -> str | None:
        """Return the first column whose value an earlier row has; else this row's values are remembered."""
        for column, known in self._seen.items():
            if cells.get(column) in known:
                return column
        for column, known in self._seen.items():
            value = cells.get(column)
            if isinstance(value, str):
                known.add(value)
        return None

    def _keep_whole(self, batch: Batch, row: SourceRow, problem: _RowProblem) -> None:
        name, column = self._table.name, problem.column
        cells = self._cells(row)
        record: Record = {"source": name, "position": row.position, "key": None, "cells": sqlite_values.encode(cells)}
        batch.add("legacy_rows", [record])
        original, storage = sqlite_values.original(cells[column]), sqlite_values.storage(cells[column])
        batch.findings.append(
            Finding(
                problem.kind,
                name,
                f"row {row.position}",
                column,
                "$",
                None,
                storage,
                original,
                f"{column}.{problem.rule}",
                problem.reason,
            )
        )
        batch.quarantined[column] += 1


def compares_rows(table: SourceTable) -> bool:
    """Return True if a later row with the same key is kept whole: SQLite does not keep the table's key unique."""
    return any(column not in table.unique for column in _KEYS.get(table.name, ()) if column in table.columns)


def quarantine_record(run: str, n: int, finding: Finding) -> Record:
    """Return the finding as number `n` of the quarantine."""
    return {
        "run": run,
        "n": n,
        "kind": finding.kind,
        "source_table": finding.table,
        "key": finding.key,
        "column_name": finding.column,
        "path": as_text(finding.path),
        "position": finding.position,
        "storage": finding.storage,
        "original": finding.original,
        "rule": as_text(finding.rule),
        "reason": as_text(finding.reason),
    }


def as_text(text: str) -> str:
    """Return the text with what Postgres can't hold (NUL, lone surrogates) written as escapes."""
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()


def unfit(journal: sa.Table, cells: Mapping[str, Cell]) -> str | None:
    """Return the first column whose cell the journal's types and checks would refuse."""
    for column in journal.columns:
        cell = cells[column.name]
        if cell is None:
            if not column.nullable:
                return column.name
        elif isinstance(column.type, sa.BigInteger):
            if not isinstance(cell, int) or cell < _LEAST.get(column.name, cell):
                return column.name
        elif not isinstance(cell, str) or not (indexable if column.primary_key else storable)(cell):
            return column.name
    if journal.name == "currency_ledger" and cells["currency"] not in _CURRENCIES:
        return "currency"
    return None


def plain_line(cells: Mapping[str, Cell]) -> Record:
    """Return the record of a journal's line that `unfit` has nothing against."""
    return {column: _value(cell) for column, cell in cells.items()}


def _value(cell: Cell) -> str | int | None:
    assert isinstance(cell, str | int | None)  # `unfit` let nothing else through
    return cell
