"""Makes a player's progression to order: presets, quests and milestones, missions, stages.

As records from what is given (see `builders.player`), and as the legacy columns from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from db.samples import legacy_documents
from db.samples.given import BadGiven, checked, instant, mapping, numbered, one_of, template, whole
from db.samples.legacy_documents import DAY_MS, EPOCH_MS
from game.json_text import dumps
from game.legacy.codec.arrays import STEP
from game.legacy.codec.mapping import PERIODS, STAGES
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows
from game.rules import catalog

TODAY_MS = EPOCH_MS - DAY_MS // 2
"""When the day, a Monday, began in Seoul."""

MILESTONES = (20, 40, 60, 80, 100)
TOP_MISSION_LEVEL = 10
_BOTH = {"cleared": True, "rewarded": True}


def records(player_id: str, values: Mapping[str, object]) -> Rows:
    """Return the records of the five tables."""
    quests: dict[Key, Record] = {}
    for period, entries in mapping(values["quests"], "quests").items():
        one_of(period, PERIODS, "quests")
        listed = numbered(player_id, "id", mapping(entries, f"quests.{period}"), _quest_of(period))
        quests |= {(player_id, period, key[1]): record for key, record in listed.items()}
    return Rows(
        {
            "user_equipment_presets": numbered(player_id, "name", mapping(values["presets"], "presets"), _preset),
            "user_quests": quests,
            "user_milestones": _milestones(player_id, values),
            "user_missions": numbered(player_id, "id", mapping(values["missions"], "missions"), _mission),
            "user_stages": _stages(player_id, values["stages"]),
        }
    )


def columns(rows: Rows, draw: Random) -> dict[str, Cell]:
    """Return the five tables' columns of the legacy row."""
    quests = rows["user_quests"].values()
    periods = {
        str(record["period"]): legacy_documents.period(
            record, [quest for quest in quests if quest["period"] == record["period"]], draw=draw
        )
        for record in rows["user_milestones"].values()
    }
    stages = rows["user_stages"].values()
    return {
        "equipmentPresets": dumps(
            [legacy_documents.preset(record) for record in rows["user_equipment_presets"].values()]
        ),
        "quests": dumps({period: periods[period] for period in PERIODS if period in periods}),
        "singlePlayerMissions": dumps(
            {str(record["id"]): legacy_documents.mission(record) for record in rows["user_missions"].values()}
        ),
        **{column: dumps([stage["stage"] for stage in stages if stage[flag]]) for flag, column in STAGES.items()},
    }


def _preset(name: str, entry: object) -> Record:
    where = f"presets.{name}"
    equipment = mapping(entry, where)
    for slot, item in equipment.items():
        one_of(slot, catalog.SLOTS, where)
        if not isinstance(item, str):
            raise BadGiven(f"{where}.{slot}: expected an item's id; found {item!r}")
    return {"equipment": dumps(dict(equipment))}


def _quest_of(period: str) -> Callable[[str, object], Record]:
    def quest(quest_id: str, entry: object) -> Record:
        return {"period": period, **_quest(f"quests.{period}.{quest_id}", entry)}

    return quest


def _quest(where: str, entry: object) -> Record:
    default = {"target": 1, "progress": 0, "reward": {}, "activity_points": 0, "claimed": False}
    values = checked(mapping(entry, where), default, where)
    return {
        "target": whole(values["target"], f"{where}.target"),
        "progress": whole(values["progress"], f"{where}.progress"),
        "reward": dumps(_reward(values["reward"], f"{where}.reward")),
        "activity_points": whole(values["activity_points"], f"{where}.activity_points"),
        "claimed": bool(values["claimed"]),
    }


def _reward(given: object, where: str) -> legacy_documents.JsonDocument:
    """Return the reward as the legacy service writes it, of what is given as for a mail."""
    keys = {"gold": "gold", "diamonds": "diamonds", "action_points": "actionPoints"}
    values = checked(mapping(given, where), {**dict.fromkeys(keys, 0), "items": {}}, where)
    reward: legacy_documents.JsonDocument = {
        key: amount for name, key in keys.items() if (amount := whole(values[name], f"{where}.{name}"))
    }
    if items := mapping(values["items"], f"{where}.items"):
        reward["items"] = [
            {"itemId": template(name, where).name, "quantity": whole(quantity, where, least=1)}
            for name, quantity in items.items()
        ]
    return reward


def _milestones(player_id: str, values: Mapping[str, object]) -> dict[Key, Record]:
    milestones = mapping(values["milestones"], "milestones")
    for period in milestones:
        one_of(period, PERIODS, "milestones")
    periods = [period for period in PERIODS if period in milestones or period in mapping(values["quests"], "quests")]
    return {
        (player_id, period): {"user_id": player_id, "period": period, **_milestone(period, milestones.get(period, {}))}
        for period in periods
    }


def _milestone(period: str, entry: object) -> Record:
    where = f"milestones.{period}"
    values = checked(mapping(entry, where), {"activity": 0, "claimed": [], "reset": TODAY_MS}, where)
    claimed = values["claimed"]
    if not isinstance(claimed, list | tuple) or not set(claimed) <= set(MILESTONES):
        raise BadGiven(f"{where}.claimed: expected a list of {', '.join(map(str, MILESTONES))}; found {claimed!r}")
    return {
        "activity": whole(values["activity"], f"{where}.activity"),
        "claimed": dumps([milestone in claimed for milestone in MILESTONES]),
        "reset_at": instant(values["reset"], f"{where}.reset"),
    }


def _mission(mission: str, entry: object) -> Record:
    where = f"missions.{mission}"
    default = {"started": True, "level": 1, "amount": 0, "collected": 0, "since": EPOCH_MS}
    values = checked(mapping(entry, where), default, where)
    return {
        "started": bool(values["started"]),
        "level": whole(values["level"], f"{where}.level", least=1, most=TOP_MISSION_LEVEL),
        "amount": whole(values["amount"], f"{where}.amount"),
        "collected": whole(values["collected"], f"{where}.collected"),
        "since": instant(values["since"], f"{where}.since"),
    }


def _stages(player_id: str, stages: object) -> dict[Key, Record]:
    """Return the records of the stages, those cleared first: so the legacy arrays are read."""
    entries = dict.fromkeys(stages, _BOTH) if isinstance(stages, list | tuple) else mapping(stages, "stages")
    flags = {str(name): _stage(str(name), entry) for name, entry in entries.items()}
    in_order = sorted(flags, key=lambda name: not flags[name]["cleared"])
    return {
        (player_id, name): {"user_id": player_id, "stage": name, "position": n * STEP, **flags[name]}
        for n, name in enumerate(in_order)
    }


def _stage(name: str, entry: object) -> Record:
    where = f"stages.{name}"
    flags = checked(mapping(entry, where), _BOTH, where)
    if not flags["cleared"] and not flags["rewarded"]:
        raise BadGiven(f"{where}: expected it to be cleared or rewarded; found neither")
    return {flag: bool(flags[flag]) for flag in _BOTH}
