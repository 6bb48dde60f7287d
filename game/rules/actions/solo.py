"""Single play: stages grant with the clear itself, training missions produce by the clock and are collected."""

from __future__ import annotations

from game.errors import Refused
from game.rows import Record, text, whole_number
from game.rules.actions.outcome import Outcome, total
from game.rules.bag import in_order, next_position
from game.rules.commands import ClearStage, CollectAllMissions, CollectMission, LevelUpMission, StartMission
from game.rules.missions import MISSIONS, OPENED_AGAIN_AT, TOP_LEVEL, MissionDefinition, Produced, produced, restarted
from game.rules.player import Player, add
from game.rules.stages import STAGES, StageDefinition


def clear_stage(player: Player, command: ClearStage) -> Outcome:
    """Clear a stage. The first clear grants the first-clear reward; after a clear or a reward, the repeat reward.

    XP is the strategy level's; the rules name no curve for it, so it lifts no level.
    Refused: no_such_stage, stage_locked, not_enough_action_points, bag_full, balance_too_high.
    """
    stage = STAGES.get(command.stage)
    if stage is None:
        raise Refused("no_such_stage", command.stage)
    if stage.before is not None and not _is_cleared(player, stage.before):
        raise Refused("stage_locked", stage.before)
    _spend_action_points(player, stage.action_points)
    first = _note_clear(player, stage)
    (gold, xp), items = (stage.first, stage.first_items) if first else (stage.repeat, ())
    player.pay("gold", gold, "stage")
    add(player.user, "strategy_xp", xp)
    player.bag.gain(items)
    player.user["stage_progress"] = max(whole_number(player.user, "stage_progress"), stage.ordinal)
    return {"first": first, "gold": gold, "xp": xp, "items": total(items)}


def start_mission(player: Player, command: StartMission) -> Outcome:
    """Start the mission at the level that it had; what it had produced before is still there.

    Refused: no_such_mission, mission_locked, already_started.
    """
    mission = _mission(command.mission)
    _need_open(player, mission)
    records = player.rows.table("user_missions")
    record = records.get((player.id, mission.id))
    if record is None:
        position = next_position(records.values())
        record = {"user_id": player.id, "id": mission.id, "position": position, "started": False, "level": 1}
        record |= {"amount": 0, "collected": 0}
        records[(player.id, mission.id)] = record
    if record["started"]:
        raise Refused("already_started", mission.id)
    record |= {"started": True, "since": player.now_ms}
    return {"level": record["level"]}


def collect_mission(player: Player, command: CollectMission) -> Outcome:
    """Pay what the mission has produced; the remainder of a cycle is kept, a full mission's clock starts again.

    Refused: no_such_mission, mission_not_started, nothing_to_collect, balance_too_high.
    """
    mission = _mission(command.mission)
    collected = _collect(player, mission, _started(player, mission))
    if not collected:
        raise Refused("nothing_to_collect", mission.id)
    return _collected({mission.id: collected})


def collect_all_missions(player: Player, _command: CollectAllMissions) -> Outcome:
    """Pay what all started missions have produced; a record of an unknown mission is left alone.

    Refused: nothing_to_collect, balance_too_high.
    """
    collected: dict[str, int] = {}
    for record in in_order(player.rows.table("user_missions").values()):
        mission = MISSIONS.get(text(record, "id"))
        if mission is not None and record["started"] and (amount := _collect(player, mission, record)):
            collected[mission.id] = amount
    if not collected:
        raise Refused("nothing_to_collect")
    return _collected(collected)


def level_up_mission(player: Player, command: LevelUpMission) -> Outcome:
    """Add one level. What was produced is kept, up to the new cap; at nothing, one cycle of the new is given.

    Refused: no_such_mission, mission_not_started, mission_at_top, mission_locked (the last level asks for the opening
    stage again), not_enough_collected, not_enough_gold.
    """
    mission = _mission(command.mission)
    record = _started(player, mission)
    level = whole_number(record, "level")
    if level >= TOP_LEVEL:
        raise Refused("mission_at_top", mission.id)
    if level + 1 == OPENED_AGAIN_AT:
        _need_open(player, mission)
    if (collected := whole_number(record, "collected")) < mission.asks_for(level):
        raise Refused("not_enough_collected", f"{collected} of {mission.asks_for(level)}")
    player.pay("gold", -mission.costs(level), "level_up_mission")
    kept, new = _produced(player, mission, record), mission.at(level + 1)
    amount = min(kept.amount, new.cap) or new.per_cycle
    record |= {"level": level + 1, "amount": amount, "collected": 0, "since": restarted(kept, player.now_ms)}
    return {"level": level + 1, "amount": amount}


def _is_cleared(player: Player, stage: str) -> bool:
    record = player.rows.table("user_stages").get((player.id, stage))
    return record is not None and bool(record["cleared"])


def _spend_action_points(player: Player, number: int) -> None:
    left = whole_number(player.user, "action_points") - number
    if left < 0:
        raise Refused("not_enough_action_points", f"{number} are asked for, there are {left + number}")
    player.user["action_points"] = left


def _note_clear(player: Player, stage: StageDefinition) -> bool:
    """Remember the clear; return True for the first, which no flag of a clear or a reward contradicts."""
    records = player.rows.table("user_stages")
    record = records.get((player.id, stage.name))
    if record is None:
        position = next_position(records.values())
        record = {"user_id": player.id, "stage": stage.name, "position": position, "cleared": False, "rewarded": False}
        records[(player.id, stage.name)] = record
    first = not record["cleared"] and not record["rewarded"]
    record |= {"cleared": True, "rewarded": True}
    return first


def _mission(mission_id: str) -> MissionDefinition:
    mission = MISSIONS.get(mission_id)
    if mission is None:
        raise Refused("no_such_mission", mission_id)
    return mission


def _need_open(player: Player, mission: MissionDefinition) -> None:
    if not _is_cleared(player, mission.opens_with):
        raise Refused("mission_locked", mission.opens_with)


def _started(player: Player, mission: MissionDefinition) -> Record:
    """Return the player's row of a mission that he has started. Refused mission_not_started."""
    record = player.rows.table("user_missions").get((player.id, mission.id))
    if record is None or not record["started"]:
        raise Refused("mission_not_started", mission.id)
    return record


def _produced(player: Player, mission: MissionDefinition, record: Record) -> Produced:
    level = mission.at(whole_number(record, "level"))
    return produced(level, whole_number(record, "amount"), whole_number(record, "since"), player.now_ms)


def _collect(player: Player, mission: MissionDefinition, record: Record) -> int:
    """Pay what there is, if anything; how much."""
    waiting = _produced(player, mission, record)
    if waiting.amount:
        player.pay(mission.pays, waiting.amount, "mission")
        add(record, "collected", waiting.amount)
        record |= {"amount": 0, "since": restarted(waiting, player.now_ms)}
    return waiting.amount


def _collected(amounts: dict[str, int]) -> Outcome:
    paid = {"gold": 0, "diamonds": 0}
    for mission, amount in amounts.items():
        paid[MISSIONS[mission].pays] += amount
    return {"missions": amounts, **paid}
