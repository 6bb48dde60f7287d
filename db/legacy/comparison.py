"""Whether two legacy files are the same: schema, settings, and every row with its rowid, storage classes and bytes.

Differences name places, never values: the files hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from db.legacy import schema as schemas
from db.legacy.source import Row, Source, opened
from game.legacy import sqlite_values
from game.legacy.sqlite_values import Cell

NAMED_PER_TABLE = 20


def compare_files(left: Path, right: Path) -> list[str]:
    """The differences, at most 20 a table and then their number; empty where the files are equal.

    The fence is no part of a file's contents. Refusal where one of them is no legacy file.
    """
    with opened(left) as one, opened(right) as other:
        found = list(_schemas(one, other))
        for name, table in one.tables.items():
            if name in other.tables and table.columns == other.tables[name].columns:
                found += _few(name, _rows(name, one, other))
        return found


def _schemas(one: Source, other: Source) -> Iterator[str]:
    for name, setting in one.schema.settings.items():
        if setting != other.schema.settings[name]:
            yield f"pragma {name}: {setting} and {other.schema.settings[name]}"
    pairs = zip(schemas.order_by_type(one.schema), schemas.order_by_type(other.schema), strict=True)
    for (kind, here_all), (_kind, there_all) in pairs:
        for here, there in zip_longest(here_all, there_all):
            if here != there:
                yield f"{kind}: {here.name if here else 'none'} and {there.name if there else 'none'} are not the same"


def _few(table: str, differences: Iterator[str]) -> list[str]:
    shown: list[str] = []
    more = 0
    for difference in differences:
        if len(shown) < NAMED_PER_TABLE:
            shown.append(difference)
        else:
            more += 1
    return [*shown, f"{table}: {more} more"] if more else shown


def _rows(table: str, one: Source, other: Source) -> Iterator[str]:
    columns = one.tables[table].columns
    # Generated columns are compared, though they are never written.
    for here, there in zip_longest(one.rows(table, generated=True), other.rows(table, generated=True)):
        if here is None or there is None:
            has = "the second" if here is None else "the first"
            position = there.position if here is None and there is not None else here.position if here else None
            yield f"{table} row {position}: only in {has} file"
        elif here.position != there.position:
            yield f"{table}: row {here.position} against row {there.position}"
        else:
            yield from _cells(table, columns, here, there)


def _cells(table: str, columns: tuple[str, ...], here: Row, there: Row) -> Iterator[str]:
    names = (*columns, *("a generated column",) * (len(here.cells) - len(columns)))
    for column, left, right in zip(names, here.cells, there.cells, strict=True):
        if not sqlite_values.same(left, right):
            yield f"{table} row {here.position}, {column}: {_shape(left)} and {_shape(right)} differ"


def _shape(cell: Cell) -> str:
    return f"{sqlite_values.storage(cell)} of {len(sqlite_values.original(cell)):,} bytes"
