"""Players with what builders don't make yet: records laid into the tables by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping

from db.samples import builders
from game.rows import Rows, Value

NOON_MS = 1_767_582_000_000
"""Monday 2026-01-05, 12:00 in Seoul."""

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def hana(**given: object) -> Rows:
    rows = builders.player("hana", **given)
    rows["users"][("hana",)].setdefault("stage_progress", 0)
    return rows


def put(rows: Rows, table: str, key: tuple[str, ...], names: tuple[str, ...], **columns: Value) -> Rows:
    records = rows.table(table)
    position: dict[str, Value] = {} if table == "user_milestones" else {"position": 1024 * len(records)}
    records[("hana", *key)] = {"user_id": "hana", **dict(zip(names, key, strict=True)), **position, **columns}
    return rows


def quest(rows: Rows, quest_id: str = "q1", *, period: str = "daily", reward: object = None, **columns: Value) -> Rows:
    """A quest that is done, of a period under way; `reward` is its document, or its text where it is one."""
    text = reward if isinstance(reward, str) else json.dumps(reward or {}, ensure_ascii=False)
    columns = {"target": 3, "progress": 3, "activity_points": 10, "claimed": False, **columns}
    return put(rows, "user_quests", (period, quest_id), ("period", "id"), reward=text, **columns)


def milestones(
    rows: Rows, *, period: str = "daily", activity: int = 0, reset: int | None = NOON_MS, claimed: str | None = None
) -> Rows:
    flags = json.dumps([False] * 5) if claimed is None else claimed
    return put(rows, "user_milestones", (period,), ("period",), activity=activity, claimed=flags, reset_at=reset)


def preset(rows: Rows, name: str, equipment: Mapping[str, object] | str) -> Rows:
    text = equipment if isinstance(equipment, str) else json.dumps(equipment)
    return put(rows, "user_equipment_presets", (name,), ("name",), equipment=text)


def mission(rows: Rows, mission_id: str, **columns: Value) -> Rows:
    """A mission started at noon, at its first level."""
    columns = {"started": True, "level": 1, "amount": 0, "collected": 0, "since": NOON_MS, **columns}
    return put(rows, "user_missions", (mission_id,), ("id",), **columns)


def stages(rows: Rows, *names: str, cleared: bool = True, rewarded: bool = True) -> Rows:
    for name in names:
        put(rows, "user_stages", (name,), ("stage",), cleared=cleared, rewarded=rewarded)
    return rows


def with_item(rows: Rows, item_id: str, **columns: Value) -> Rows:
    """One item of the bag, with columns as a legacy file may hold them."""
    rows["user_inventory"][("hana", item_id)].update(columns)
    return rows


def with_user(rows: Rows, **columns: Value) -> Rows:
    rows["users"][("hana",)].update(columns)
    return rows
