"""Presets, quests, missions and stages on both stores: read whole, loaded by table, saved in one unit of work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from db.samples import builders, seed
from game import tables
from game.legacy import sqlite_values
from game.legacy.store import LegacyStore
from game.rows import Record, Rows, compare
from game.unit_of_work import Store
from tests.game.places import Place

HANA: dict[str, Any] = {
    "presets": {"대국": {"fan": "gone"}},
    "quests": {
        "daily": {"q1": {"target": 3, "progress": 3, "reward": {"gold": 5}, "activity_points": 20}, "q2": {}},
        "weekly": {"q1": {"target": 3}},
    },
    "milestones": {"daily": {"activity": 40, "claimed": [20]}},
    "missions": {"mission_attendance": {"amount": 3, "since": 7}},
    "stages": ["입문-1", "입문-2"],
    "progress": 2,
}
UNDER_WAY = ("user_equipment_presets", "user_quests", "user_milestones", "user_missions", "user_stages")
NEW: dict[str, Record] = {
    "user_equipment_presets": {"name": "둘", "position": 2048, "equipment": '{"fan":"fan"}'},
    "user_missions": {
        "id": "mission_league",
        "position": 2048,
        "started": True,
        "level": 1,
        "amount": 0,
        "collected": 0,
        "since": 9,
    },
    "user_stages": {"stage": "입문-3", "position": 2048, "cleared": True, "rewarded": True},
}
CHANGED: dict[str, tuple[tuple[str, ...], Record]] = {
    "user_equipment_presets": (("대국",), {"equipment": "{}"}),
    "user_quests": (("daily", "q1"), {"claimed": True}),
    "user_milestones": (("daily",), {"activity": 60, "claimed": "[true,true,false,false,false]"}),
    "user_missions": (("mission_attendance",), {"amount": 0, "collected": 3, "since": 8}),
    "user_stages": (("입문-2",), {"rewarded": False}),
}


def save(store: Store, names: tuple[str, ...], change: Callable[[Rows], None]) -> Rows:
    """Save what `change` makes of the rows of these tables."""
    with store.begin() as unit:
        loaded = unit.load("hana", "r1", names)
        assert loaded is not None
        after = loaded.rows.copy()
        change(after)
        unit.save(loaded.rows, after)
        unit.commit()
    return after


def read(store: Store) -> Rows:
    rows = store.read("hana")
    assert rows is not None
    return Rows({table.name: rows[table.name] for table in tables.PLAYER_STATE})


def test_a_player_is_read_whole(place: Place) -> None:
    made = builders.player("hana", **HANA)
    place.put(made)
    assert compare(made, read(place.store)) == {}


@pytest.mark.parametrize("table", UNDER_WAY)
def test_what_is_changed_and_added_is_read_again(place: Place, table: str) -> None:
    made = builders.player("hana", **HANA)
    place.put(made)
    key, change = CHANGED[table]
    expected = made.copy()
    expected[table]["hana", *key] |= change
    if table in NEW:
        record = {"user_id": "hana", **NEW[table]}
        expected[table][tuple(str(record[name]) for name in tables.KEYS[table])] = record

    def act(rows: Rows) -> None:
        for name, records in compare(made, expected)[table].inserts.items():
            rows[table][name] = records
        rows[table]["hana", *key] |= change

    save(place.store, (table,), act)
    assert without_places(read(place.store)) == without_places(expected)


def without_places(rows: Rows) -> dict[str, dict[Any, Record]]:
    """An added element's place is its document's on the legacy store: the order is the same, the number need not be."""
    return {
        name: {key: {c: v for c, v in record.items() if c != "position"} for key, record in records.items()}
        for name, records in rows.items()
    }


def test_a_stage_is_written_to_a_file_without_the_column(tmp_path: Path) -> None:
    """As the oldest files are, which have 73 columns."""
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 1, anomalies=False, user_columns=73)
    with closing(sqlite_values.connect(path)) as connection:
        connection.execute("UPDATE users SET id = 'hana', claimedFirstClearRewards = NULL")
    new: Record = {"user_id": "hana", **NEW["user_stages"]}
    with closing(LegacyStore(path)) as store:
        save(store, ("user_stages",), lambda rows: rows.table("user_stages").update({("hana", "입문-3"): new}))
        assert set(read(store)["user_stages"]) == {("hana", "입문-3")}
    with closing(sqlite_values.connect(path)) as connection:
        stages = connection.execute("SELECT clearedSinglePlayerStages, claimedFirstClearRewards FROM users").fetchone()
        assert stages == ('["입문-3"]', '["입문-3"]')
        declared = {row[1]: row[2] for row in connection.execute("PRAGMA table_info(users)")}
    assert declared["clearedSinglePlayerStages"] == "TEXT"
