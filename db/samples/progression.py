"""Progression of a player, made to order: presets, quests and milestones, missions, stages.

As records from what is given (see `builders.rows`), and as the legacy columns from the records.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from random import Random
from typing import get_args

from db.samples import legacy_documents, moments
from db.samples.given import BadGiven, Given, Milestones, Mission, Moment, Quest, QuestReward, Stage, Stages
from db.samples.legacy_documents import DAY_MS, EPOCH_MS
from game.json_text import dumps
from game.legacy.codec.arrays import STEP
from game.legacy.codec.mapping import PERIODS, STAGES
from game.legacy.sqlite_values import Cell
from game.rows import Key, Record, Rows
from game.rules import catalog
from game.rules.commands import Period

TODAY_MS = EPOCH_MS - DAY_MS // 2
"""When the day, a Monday, began in Seoul."""


def records(player_id: str, given: Given, clock_ms: int) -> Rows:
    """Return the records of the five tables. clock_ms: from which distances count, in epoch milliseconds."""
    return Rows(
        {
            "user_equipment_presets": numbered(
                player_id, "name", {name: {"equipment": dumps(dict(preset))} for name, preset in given.presets.items()}
            ),
            "user_quests": _quests(player_id, given),
            "user_milestones": _milestones(player_id, given, clock_ms),
            "user_missions": numbered(
                player_id, "id", {name: _mission(mission, clock_ms) for name, mission in given.missions.items()}
            ),
            "user_stages": _stages(player_id, given.stages),
        }
    )


def numbered(player_id: str, key: str, entries: Mapping[str, Record]) -> dict[Key, Record]:
    """Return the entries as records by (player, entry), their positions in the order given."""
    return {
        (player_id, name): {"user_id": player_id, key: name, "position": n * STEP, **entry}
        for n, (name, entry) in enumerate(entries.items())
    }


def instant(moment: Moment | None, clock_ms: int) -> int | None:
    """Return the epoch milliseconds of a moment. Raises ValueError if a distance leads out of the calendar."""
    return moments.moved(clock_ms, moment) if isinstance(moment, str) else moment


def item(name: str, where: str) -> catalog.Template:
    """Return the template of the item of that name. Raises BadGiven, with the nearest names, if there is none."""
    if name in catalog.TEMPLATES:
        return catalog.TEMPLATES[name]
    near = difflib.get_close_matches(name, catalog.TEMPLATES, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise BadGiven(f"{where}: expected an item's name; found {name!r}{hint}")


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


def _quests(player_id: str, given: Given) -> dict[Key, Record]:
    records: dict[Key, Record] = {}
    for period, quests in given.quests.items():
        listed = numbered(player_id, "id", {name: _quest(period, name, quest) for name, quest in quests.items()})
        records |= {(player_id, period, key[1]): record for key, record in listed.items()}
    return records


def _quest(period: str, name: str, quest: Quest) -> Record:
    return {
        "period": period,
        "target": quest.target,
        "progress": quest.progress,
        "reward": dumps(_reward(quest.reward, f"quests.{period}.{name}.reward")),
        "activity_points": quest.activity_points,
        "claimed": quest.claimed,
    }


def _reward(reward: QuestReward, where: str) -> legacy_documents.JsonDocument:
    """Return the reward as the legacy service writes it: without what it does not pay."""
    paid: legacy_documents.JsonDocument = {
        "gold": reward.gold,
        "diamonds": reward.diamonds,
        "actionPoints": reward.action_points,
        "items": [{"itemId": item(name, where).name, "quantity": quantity} for name, quantity in reward.items.items()],
        "xp": next(({"type": kind, "amount": amount} for kind, amount in reward.xp.items()), None),
    }
    return {key: value for key, value in paid.items() if value}


def _milestones(player_id: str, given: Given, clock_ms: int) -> dict[Key, Record]:
    return {
        (player_id, period): {
            "user_id": player_id,
            "period": period,
            **_milestone(given.milestones.get(period, Milestones()), clock_ms),
        }
        for period in get_args(Period)
        if period in given.milestones or period in given.quests
    }


def _milestone(milestones: Milestones, clock_ms: int) -> Record:
    return {
        "activity": milestones.activity,
        "claimed": dumps([points in milestones.claimed for points in catalog.MILESTONES]),
        "reset_at": instant(milestones.reset, clock_ms),
    }


def _mission(mission: Mission, clock_ms: int) -> Record:
    return {
        "started": mission.started,
        "level": mission.level,
        "amount": mission.amount,
        "collected": mission.collected,
        "since": instant(mission.since, clock_ms),
    }


def _stages(player_id: str, given: Stages) -> dict[Key, Record]:
    """Return the stages; those that were cleared come first, as the legacy arrays would have them read."""
    stages = given if isinstance(given, dict) else dict.fromkeys(given, Stage())
    in_order = sorted(stages, key=lambda name: not stages[name].cleared)
    return {
        (player_id, name): {
            "user_id": player_id,
            "stage": name,
            "position": n * STEP,
            "cleared": stages[name].cleared,
            "rewarded": stages[name].rewarded,
        }
        for n, name in enumerate(in_order)
    }
