"""Legacy rows with quests, presets, missions and stages, and what the codec makes of them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import orjson

from game.legacy import codec, sqlite_values
from game.legacy.sqlite_values import Cell
from game.rows import Record, Rows, compare
from game.rules.json_columns import UNREADABLE_KEY

QUEST = {
    "id": "q1",
    "title": "출석하기",
    "description": "",
    "progress": 3,
    "target": 3,
    "reward": {"gold": 50, "xp": {"type": "strategy", "amount": 5}},
    "activityPoints": 20,
    "isClaimed": False,
}
DAILY = {
    "quests": [QUEST, QUEST | {"id": "q2", "progress": 0}],
    "activityProgress": 40,
    "claimedMilestones": [True, False, False, False, False],
    "lastReset": 1767538800000,
}
MISSION = {
    "isStarted": True,
    "lastCollectionTime": 17,
    "accumulatedAmount": 5,
    "level": 2,
    "accumulatedCollection": 40,
}
PRESET = {"name": "대국", "equipment": {"fan": "item-1", "top": None}}


def as_browsers_write(value: object) -> str:
    """Return compact JSON with floats as JavaScript spells them (0.00009); Python's own text where that can't be."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # An integer of over 64 bits, or half a surrogate pair.
        return js(value)


def js(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def a_row(**differences: Cell) -> dict[str, Cell]:
    return {
        "id": "u",
        "gold": 5,
        "quests": js({"daily": DAILY, "weekly": DAILY | {"quests": []}, "monthly": None}),
        "equipmentPresets": js([PRESET]),
        "singlePlayerMissions": js({"mission_attendance": MISSION}),
        "clearedSinglePlayerStages": '["입문-1","입문-2"]',
        "claimedFirstClearRewards": '["입문-2","입문-9"]',
        "singlePlayerProgress": 2,
    } | differences


def assert_comes_back(row: dict[str, Cell]) -> codec.Decoded:
    decoded = codec.decode_row(row, rowid=7, units={column: units(row[column], column) for column in counted(row)})
    again = codec.encode_row(decoded.rows, tuple(row))
    assert {
        column: (row[column], again[column]) for column in row if not sqlite_values.same(row[column], again[column])
    } == {}
    for column, count in decoded.quarantined().items():
        assert count <= decoded.counts[column]
    assert_known_alike(row, decoded)
    return decoded


def assert_known_alike(row: dict[str, Cell], decoded: codec.Decoded) -> None:
    """Assert that elements that are known are decoded and encoded as those that are read."""
    known = codec.known_elements(decoded.rows, row.keys())
    counts = {column: decoded.counts[column] for column in codec.TAKEN_APART if column in row}
    again = codec.decode_row(row, rowid=7, units=counts, known=known)
    assert compare(decoded.rows, again.rows) == {}
    assert (again.findings, again.counts) == (decoded.findings, decoded.counts)
    for name in ("user_inventory", "user_mail", "user_missions"):
        read = {(name, key) for key in again.rows.get(name, {}) if key[1] != UNREADABLE_KEY}
        assert read <= again.known.keys()
    written = codec.encode_row(again.rows, tuple(row), known=again.known)
    assert all(sqlite_values.same(row[column], written[column]) for column in row)


def counted(row: dict[str, Cell]) -> list[str]:
    return [column for column in codec.TAKEN_APART if column in row]


def units(cell: Cell, column: str) -> int:
    """Count the units of the cell as SQLite itself counts them."""
    with sqlite3.connect(":memory:") as connection:
        query = f"SELECT CASE WHEN typeof({column}) = 'text' THEN {codec.source_units(column)} ELSE 1 END"
        (count,) = connection.execute(f"{query} FROM (SELECT ? AS {column})", (sqlite_values.bind(cell),)).fetchone()
    return int(count)


def records(rows: Rows, table: str) -> dict[str, Record]:
    return {"/".join(map(str, key[1:])): record for key, record in rows[table].items()}


def write(row: dict[str, Cell], table: str, **changes: Record | None) -> dict[str, Cell]:
    """Return the cells that are written when a command changes these records; None takes one away."""
    before = codec.decode_row(row, rowid=1).rows
    after = before.copy()
    for name, change in changes.items():
        key = ("u", *name.split("/"))
        if change is None:
            del after[table][key]
        else:
            after.table(table)[key] = after.table(table).get(key, {"user_id": "u"}) | change
    written = codec.changed(row, before, after)
    again = codec.decode_row(row | written, rowid=1)
    game = {name for name in after if name != "legacy_rows"}
    assert {name: _values(again.rows.get(name, {})) for name in game} == {name: _values(after[name]) for name in game}
    return written


def _values(by_key: dict[Any, Record]) -> dict[Any, Record]:
    """Records without what only rebuilds the row, and without places, which appending may move."""
    return {key: {c: v for c, v in record.items() if c not in ("form", "position")} for key, record in by_key.items()}
