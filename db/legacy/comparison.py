"""Compares two legacy files: schema, settings, and every row with its rowid, storage classes and bytes.

Differences name places, never values: the files hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from db.legacy import schema as schemas
from db.legacy.source import Source, SourceRow, opened
from game.legacy import sqlite_values
from game.legacy.sqlite_values import Cell

NAMED_PER_TABLE = 20


def compare_files(first_path: Path, second_path: Path) -> list[str]:
    """Return the differences, at most 20 a table and then their number; empty where the files are equal.

    The fence is no part of a file's contents. Refusal where one of them is no legacy file.
    """
    with opened(first_path) as first, opened(second_path) as second:
        differences = list(_schemas(first, second))
        for name, table in first.tables.items():
            if name in second.tables and table.columns == second.tables[name].columns:
                differences += _few(name, _rows(name, first, second))
        return differences


def _schemas(first: Source, second: Source) -> Iterator[str]:
    for name, setting in first.schema.settings.items():
        if setting != second.schema.settings[name]:
            yield f"pragma {name}: {setting} and {second.schema.settings[name]}"
    pairs = zip(schemas.order_by_type(first.schema), schemas.order_by_type(second.schema), strict=True)
    for (kind, of_first), (_kind, of_second) in pairs:
        for a, b in zip_longest(of_first, of_second):
            if a != b:
                yield f"{kind}: {a.name if a else 'none'} and {b.name if b else 'none'} are not the same"


def _few(table: str, differences: Iterator[str]) -> list[str]:
    shown: list[str] = []
    more = 0
    for difference in differences:
        if len(shown) < NAMED_PER_TABLE:
            shown.append(difference)
        else:
            more += 1
    return [*shown, f"{table}: {more} more"] if more else shown


def _rows(table: str, first: Source, second: Source) -> Iterator[str]:
    columns = first.tables[table].columns
    # Generated columns are compared, though they are never written.
    for a, b in zip_longest(first.rows(table, generated=True), second.rows(table, generated=True)):
        if a is None or b is None:
            has = "the second" if a is None else "the first"
            position = b.position if a is None and b is not None else a.position if a else None
            yield f"{table} row {position}: only in {has} file"
        elif a.position != b.position:
            yield f"{table}: row {a.position} against row {b.position}"
        else:
            yield from _cells(table, columns, a, b)


def _cells(table: str, columns: tuple[str, ...], a: SourceRow, b: SourceRow) -> Iterator[str]:
    names = (*columns, *("a generated column",) * (len(a.cells) - len(columns)))
    for column, first, second in zip(names, a.cells, b.cells, strict=True):
        if not sqlite_values.same(first, second):
            yield f"{table} row {a.position}, {column}: {_shape(first)} and {_shape(second)} differ"


def _shape(cell: Cell) -> str:
    return f"{sqlite_values.storage(cell)} of {len(sqlite_values.original(cell)):,} bytes"
