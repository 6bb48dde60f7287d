"""The one reader and writer of legacy rows: decode_row(row) → Rows, encode_row(rows) → row, byte for byte.

A document is taken apart into rows; each row's `form` is its element's own text with the modelled values cut out, so
what the game does not know comes back as it was and what it changes is changed alone. What does not fit a column (NULL
for a number, a text in a number, broken JSON, an item without an id) stays in its place: as a cell of the player's
`legacy_rows` record, or as raw text in the document's frame, and comes back. No command overwrites it: either
the player is held, or a record with the key "" makes commands on its table refused, or commands write beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from game.json_text import MOST_CHARACTERS
from game.legacy import sqlite_values
from game.legacy.codec import mapping
from game.legacy.codec.decode import Explosion
from game.legacy.codec.decoded import MODELLED, NOTHING, Decoded, Finding, keep_whole
from game.legacy.codec.encode import UNREAD, Implosion
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows, Value

__all__ = [
    "MODELLED",
    "NOTHING",
    "TAKEN_APART",
    "UNREAD",
    "Decoded",
    "Finding",
    "changed",
    "columns_for",
    "decode_row",
    "encode_row",
    "explode_other",
    "implode_other",
    "source_units",
]

_ALWAYS = ("id", *mapping.SCALARS, "actionPoints", "inventorySlots")
_HOLDING = ("inventory", "equipment", "mail", "quests", "singlePlayerMissions", *mapping.STAGES.values())
_SHAPES = {
    "inventory": "array",
    "equipment": "object",
    "mail": "array",
    "equipmentPresets": "array",
    "singlePlayerMissions": "object",
    **dict.fromkeys(mapping.STAGES.values(), "array"),
}
TAKEN_APART = tuple(_SHAPES)
"""The columns whose units are the elements of their document."""

_BY_TABLE = {
    "user_tournaments": tuple(
        column
        for kind, name in mapping.KINDS.items()
        for column in (f"last{name}Tournament", f"last{name}PlayedDate", f"{kind}RewardClaimed")
    ),
    "user_equipment_presets": ("equipmentPresets",),
}
_WRITTEN_TOGETHER = (("user_inventory", "user_equipment"), ("user_quests", "user_milestones"))
"""Tables of which a change in one may be written to a document of the other."""


def columns_for(tables: Iterable[str], have: Collection[str]) -> tuple[str, ...]:
    """The columns of `users` to read for a command on these tables, of those that the file has.

    Besides the plain ones it names every column that may hold a player, so that both stores refuse the same players.
    """
    wanted = [*_ALWAYS, *_HOLDING, *(column for table in tables for column in _BY_TABLE.get(table, ()))]
    return tuple(column for column in wanted if column in have)


def source_units(column: str) -> str:
    """SQL by which SQLite counts the units of a `users` column itself; the column's name is ours, never a user's."""
    if column not in _SHAPES:
        return "1"
    return (
        f'CASE WHEN length("{column}") <= {MOST_CHARACTERS} AND json_valid("{column}")'
        f" AND json_type(\"{column}\") = '{_SHAPES[column]}'"
        f' THEN max(1, (SELECT count(*) FROM json_each("{column}"))) ELSE 1 END'
    )


def decode_row(row: Mapping[str, Cell], *, rowid: int, units: Mapping[str, int] | None = None) -> Decoded:
    """The row's columns (all, or those of `columns_for`) as Rows, with what could not be read.

    `units` is SQLite's own count by column (`source_units`); a document on which it disagrees is kept whole.
    """
    player = row["id"]
    if not isinstance(player, str) or not player or not mapping.indexable(player):
        return keep_whole(row, rowid)
    return Explosion(row, player, units or {}).run(rowid)


def encode_row(rows: Rows, columns: Collection[str] | None = None) -> dict[str, Cell]:
    """The legacy row again: every modelled column and every kept cell, or those of `columns` in their order.

    `rows` holds one player. A column of `columns` that neither names is NULL.
    """
    kept = _kept(rows)
    if not rows.get("users"):
        return kept if columns is None else {column: kept.get(column) for column in columns}
    row = Implosion(rows, kept).run(None if columns is None else frozenset(columns))
    return row if columns is None else {column: row.get(column) for column in columns}


def changed(row: Mapping[str, Cell], before: Rows, after: Rows) -> dict[str, Cell]:
    """The columns to write for what `after` has and `before` has not.

    One that the file lacks may be among them; `DECLARED` in game.legacy.codec.mapping says how it is declared.
    """
    touched = _touched(before, after)
    old, new = encode_row(_only(before, touched)), encode_row(_only(after, touched))
    return {
        column: cell
        for column, cell in new.items()
        if not sqlite_values.same(cell, old.get(column))
        and not (column in row and sqlite_values.same(cell, row[column]))
    }


def explode_other(table: str, row: Mapping[str, Cell], *, rowid: int) -> tuple[str, Record]:
    """A row of any other table as (table of the game, record)."""
    match table:
        case "user_credentials" if _fits(row, "username"):
            return table, _with_cells(
                row, rowid, {"username": "username", "password_hash": "passwordHash", "user_id": "userId"}
            )
        case "kv" if _fits(row, "key"):
            return "key_values", _with_cells(row, rowid, {"key": "key", "value": "value"})
        case "live_games" if _fits(row, "id"):
            return table, {"id": str(row["id"]), "position": rowid, "cells": sqlite_values.encode(row)}
        case _:
            return "legacy_rows", {"source": table, "position": rowid, "key": None, "cells": sqlite_values.encode(row)}


def implode_other(table: str, record: Mapping[str, Value]) -> dict[str, Cell]:
    """The row again, its columns in no particular order."""
    kept = sqlite_values.decode(str(record["cells"])) if record.get("cells") is not None else {}
    match table:
        case "user_credentials":
            plain = {"username": "username", "passwordHash": "password_hash", "userId": "user_id"}
        case "key_values":
            plain = {"key": "key", "value": "value"}
        case _:
            plain = {}
    return {**{column: record[name] for column, name in plain.items()}, **kept}


def _touched(before: Rows, after: Rows) -> set[str]:
    """The tables that differ, with those that are written together with them."""
    names = {name for name in (*before, *after) if before.get(name) != after.get(name)}
    return names.union(*(group for group in _WRITTEN_TOGETHER if not names.isdisjoint(group)))


def _only(rows: Rows, names: set[str]) -> Rows:
    """The player's own record, what was kept of the row, and these tables."""
    return Rows({name: rows.get(name, {}) for name in (*names, "users", "legacy_rows")})


def _fits(row: Mapping[str, Cell], key: str) -> bool:
    value = row.get(key)
    return isinstance(value, str) and mapping.indexable(value)


def _with_cells(row: Mapping[str, Cell], rowid: int, plain: Mapping[str, str]) -> Record:
    record: Record = {"position": rowid}
    for name, column in plain.items():
        cell = row.get(column)
        record[name] = cell if isinstance(cell, str) and mapping.storable(cell) else None
    held = {column: name for name, column in plain.items()}
    kept = {
        column: cell
        for column, cell in row.items()
        if column not in held or not sqlite_values.same(cell, record[held[column]])
    }
    record["cells"] = sqlite_values.encode(kept) if kept else None
    return record


def _kept(rows: Rows) -> dict[str, Cell]:
    for record in rows.get("legacy_rows", {}).values():
        return sqlite_values.decode(str(record["cells"]))
    return {}
