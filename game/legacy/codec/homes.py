"""Finds the columns of game.tables that have no place in the legacy file: the codec reads them from no example row."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from game import tables
from game.json_text import dumps
from game.legacy import codec
from game.legacy.codec.document import Document, DocumentShape, RowMapping
from game.legacy.codec.mapping import USERS
from game.legacy.codec.quests import ARRAY
from game.legacy.sqlite_values import Cell


def _needed(document: Document) -> dict[str, str]:
    return {document.keys[column]: "a" for column in document.needs}


_EXAMPLES: dict[DocumentShape, Callable[[Document], str]] = {
    "object": lambda _: "{}",
    "record": lambda document: dumps({document.status: "active"}),
    "array": lambda document: dumps([_needed(document)]),
    "entries": lambda _: '{"a":{}}',
    "slots": lambda _: '{"a":"a"}',
    "names": lambda _: '["a"]',
    "periods": lambda document: dumps({document.periods[0]: {ARRAY: [_needed(document)]}}),
}
"""The shortest document of each shape that gives a record of each of its tables."""


def one_of_each(mapping: RowMapping) -> dict[str, Cell]:
    """Return a legacy row whose documents give a record of each table."""
    return {"id": "hana", **{one.column: _EXAMPLES[one.shape](one) for one in mapping.documents}}


@cache
def homeless() -> tuple[str, ...]:
    """Name the columns of a player's state without a place, as table.column. Journals have their own tables there."""
    rows = codec.decode_row(one_of_each(USERS), rowid=1).rows
    given = {(name, column) for name, records in rows.items() for record in records.values() for column in record}
    return tuple(
        f"{table.name}.{column.name}"
        for table in tables.PLAYER_STATE
        for column in tables.record_columns(table)
        if (table.name, column.name) not in given
    )
