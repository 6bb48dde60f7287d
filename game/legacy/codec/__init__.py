"""The one reader and writer of legacy rows: decode_row(row) → Rows, encode_row(rows) → row, byte for byte.

A document is taken apart into rows; each row's `form` is its element's own text with the modelled values cut out, so
what the game does not know comes back as it was and what it changes is changed alone. What does not fit a column (NULL
for a number, a text in a number, broken JSON, an item without an id) stays in its place: as a cell of the player's
`legacy_rows` record, or as raw text in the document's layout, and comes back. No command overwrites it: either
the player is held, or a record with the key "" makes commands on its table refused, or commands write beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from game.json_text import MOST_CHARACTERS
from game.legacy import sqlite_values
from game.legacy.codec.arrays import KnownElement, KnownTexts
from game.legacy.codec.decode import RowDecoder
from game.legacy.codec.decoded import NOTHING, Decoded, Finding, keep_whole
from game.legacy.codec.document import RowMapping
from game.legacy.codec.encode import UNREAD, RowEncoder
from game.legacy.codec.mapping import OTHERS, USERS
from game.legacy.codec.readers import indexable, storable
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows, Value, is_same

__all__ = [
    "MODELLED",
    "NOTHING",
    "TAKEN_APART",
    "UNREAD",
    "Decoded",
    "Finding",
    "changed",
    "columns_for",
    "decode_other",
    "decode_row",
    "encode_other",
    "encode_row",
    "known_elements",
    "source_units",
]

NOTHING_KNOWN: Mapping[Any, Any] = MappingProxyType({})

MODELLED = tuple(USERS.declared)
"""The legacy columns of `users` that the game models; `id` besides."""

TAKEN_APART = tuple(USERS.counted)
"""The columns whose units are the elements of their document."""


def columns_for(tables: Iterable[str], have: Collection[str], mapping: RowMapping = USERS) -> tuple[str, ...]:
    """Return the columns of `users` to read for a command on these tables, of those that the file has.

    Besides the plain ones it names every column that may hold a player, so that both stores refuse the same players.
    """
    return tuple(column for column in mapping.wanted(frozenset(tables)) if column in have)


def source_units(column: str, mapping: RowMapping = USERS) -> str:
    """Return SQL by which SQLite itself counts the units of a `users` column; the name is declared, never a user's."""
    if column not in mapping.counted:
        return "1"
    return (
        f'CASE WHEN length("{column}") <= {MOST_CHARACTERS} AND json_valid("{column}")'
        f" AND json_type(\"{column}\") = '{mapping.counted[column]}'"
        f' THEN max(1, (SELECT count(*) FROM json_each("{column}"))) ELSE 1 END'
    )


def decode_row(
    row: Mapping[str, Cell],
    *,
    rowid: int,
    units: Mapping[str, int] | None = None,
    known: Mapping[str, KnownTexts] = NOTHING_KNOWN,
    mapping: RowMapping = USERS,
) -> Decoded:
    """Return the row's columns (all, or those of `columns_for`) as Rows, with what could not be read.

    `units` is SQLite's own count by column (`source_units`); a document on which it disagrees is kept whole.
    known: elements that need not be read again, see `known_elements`.
    """
    player = row["id"]
    if not isinstance(player, str) or not player or not indexable(player):
        return keep_whole(row, rowid)
    return RowDecoder(row, player, units or {}, mapping, known).run(rowid)


def known_elements(
    rows: Rows, columns: Collection[str], mapping: RowMapping = USERS
) -> dict[str, dict[str, KnownElement]]:
    """Return what the elements of these columns' documents read as, by column and text, for `decode_row`.

    rows: one player as he was decoded or loaded. To write an element costs less than half of reading it.
    """
    if not rows.get("users"):
        return {}
    encoder = RowEncoder(rows, {}, mapping, {})
    known: dict[str, dict[str, KnownElement]] = {}
    for document in mapping.documents:
        if document.shape in ("array", "entries") and document.column in columns and document.table in rows:
            elements = known[document.column] = {}
            for _key, record, text in encoder.elements(document):
                read = {name: value for name, value in record.items() if name not in ("user_id", "position")}
                elements[text] = KnownElement(text, read)
    return known


def encode_row(
    rows: Rows,
    columns: Collection[str] | None = None,
    mapping: RowMapping = USERS,
    *,
    known: Mapping[tuple[str, Key], KnownElement] = NOTHING_KNOWN,
) -> dict[str, Cell]:
    """Return the legacy row again: every modelled column and every kept cell, or those of `columns` in their order.

    `rows` holds one player. A column of `columns` that neither names is NULL. known: those of `Decoded`, whose text is
    not written again.
    """
    kept = _kept(rows)
    if not rows.get("users"):
        return kept if columns is None else {column: kept.get(column) for column in columns}
    row = RowEncoder(rows, kept, mapping, known).run(None if columns is None else frozenset(columns))
    return row if columns is None else {column: row.get(column) for column in columns}


def changed(row: Mapping[str, Cell], before: Rows, after: Rows, mapping: RowMapping = USERS) -> dict[str, Cell]:
    """Return the columns to write for what `after` has and `before` has not.

    One that the file lacks may be among them; `declared` of the mapping says how it is declared.
    """
    touched = mapping.written_with({name for name in (*before, *after) if before.get(name) != after.get(name)})
    old, texts = _encoded(_only(before, touched), mapping, NOTHING_KNOWN)
    unchanged = {
        (table, key): text
        for (table, key), text in texts.items()
        if (record := after.get(table, {}).get(key)) is not None and is_same(before[table][key], record)
    }
    new, _texts = _encoded(_only(after, touched), mapping, unchanged)
    return {
        column: cell
        for column, cell in new.items()
        if not sqlite_values.same(cell, old.get(column))
        and not (column in row and sqlite_values.same(cell, row[column]))
    }


def decode_other(table: str, row: Mapping[str, Cell], *, rowid: int) -> tuple[str, Record]:
    """Return a row of any other table as (table of the game, record)."""
    other = OTHERS.get(table)
    if other is None or not _fits(row, other.key):
        return "legacy_rows", {"source": table, "position": rowid, "key": None, "cells": sqlite_values.encode(row)}
    if not other.columns:
        return other.name, {other.key: str(row[other.key]), "position": rowid, "cells": sqlite_values.encode(row)}
    return other.name, _with_cells(row, rowid, other.columns)


def encode_other(table: str, record: Mapping[str, Value]) -> dict[str, Cell]:
    """Return the row of a table of the game again, its columns in no particular order."""
    kept = sqlite_values.decode(str(record["cells"])) if record.get("cells") is not None else {}
    plain = next((other.columns for other in OTHERS.values() if other.name == table), {})
    return {**{column: record[name] for column, name in plain.items()}, **kept}


def _encoded(
    rows: Rows, mapping: RowMapping, known: Mapping[tuple[str, Key], KnownElement]
) -> tuple[dict[str, Cell], Mapping[tuple[str, Key], KnownElement]]:
    """Return the row again, and the elements that were written for it."""
    encoder = RowEncoder(rows, _kept(rows), mapping, known)
    return encoder.run(None), encoder.written


def _only(rows: Rows, names: set[str]) -> Rows:
    """Return the player's own record, what was kept of the row, and these tables."""
    return Rows({name: rows.get(name, {}) for name in (*names, "users", "legacy_rows")})


def _fits(row: Mapping[str, Cell], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, str) and indexable(value)


def _with_cells(row: Mapping[str, Cell], rowid: int, columns: Mapping[str, str]) -> Record:
    """Return the record of a row of another table: named columns, and in `cells` all that they do not hold exactly."""
    record: Record = {"position": rowid}
    for column, name in columns.items():
        cell = row.get(column)
        record[name] = cell if isinstance(cell, str) and storable(cell) else None
    kept = {
        column: cell
        for column, cell in row.items()
        if column not in columns or not sqlite_values.same(cell, record[columns[column]])
    }
    record["cells"] = sqlite_values.encode(kept) if kept else None
    return record


def _kept(rows: Rows) -> dict[str, Cell]:
    for record in rows.get("legacy_rows", {}).values():
        return sqlite_values.decode(str(record["cells"]))
    return {}
