"""Finds the columns of game.tables that have no place in the legacy file: the codec reads them from no example row."""

from __future__ import annotations

from functools import cache

from game import tables
from game.legacy import codec
from game.legacy.codec import mapping
from game.legacy.sqlite_values import Cell

ONE_OF_EACH: dict[str, Cell] = {
    "id": "hana",
    "inventory": '[{"id":"sword","name":"sword","type":"equipment"}]',
    "equipment": '{"weapon":"sword"}',
    "mail": '[{"id":"welcome"}]',
    "equipmentPresets": '[{"name":"first"}]',
    "quests": '{"daily":{"quests":[{"id":"win"}]}}',
    "singlePlayerMissions": '{"first":{}}',
    **dict.fromkeys(mapping.STAGES.values(), '["first"]'),
    **{f"last{name}Tournament": '{"status":"active"}' for name in mapping.KINDS.values()},
}


@cache
def homeless() -> tuple[str, ...]:
    """Name the columns of a player's state without a place, as table.column. Journals have their own tables there."""
    rows = codec.decode_row(ONE_OF_EACH, rowid=1).rows
    given = {(name, column) for name, records in rows.items() for record in records.values() for column in record}
    return tuple(
        f"{table.name}.{column.name}"
        for table in tables.PLAYER_STATE
        for column in table.columns
        if (table.name, column.name) not in given
    )
