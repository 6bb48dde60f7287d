"""Entries of single play: stages, and training missions by the clock."""

from __future__ import annotations

from game.rows import Record, whole_number
from game.rules.missions import MISSIONS, MissionDefinition
from game.rules.stages import STAGES
from harness.laws.account import Account, Answer
from harness.laws.breach import need

TOP_LEVEL = 10


def clear_stage(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter a clear: the first-clear reward for the first, which no flag contradicts; the repeat reward after it."""
    stage = STAGES[fields["stage"]]
    if stage.before is not None:
        need(account.record("user_stages", stage.before)["cleared"], f"{stage.before} cleared before", "not cleared")
    nothing: Record = {"cleared": False, "rewarded": False}
    record = account.rows.table("user_stages").setdefault((account.player, stage.name), nothing)
    first = not (record["cleared"] or record["rewarded"])
    gold, xp = stage.first if first else stage.repeat
    account.add({"action_points": -stage.action_points, "gold": gold, "strategy_xp": xp})
    record |= {"cleared": True, "rewarded": True}
    account.user["stage_progress"] = max(whole_number(account.user, "stage_progress"), stage.ordinal)
    return {"first": first, "gold": gold, "xp": xp, "items": account.gain(stage.first_items if first else ())}


def start_mission(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter the start: at the level and with the amount that there were."""
    mission = MISSIONS[fields["mission"]]
    _need_opened(account, mission)
    nothing: Record = {"started": False, "level": 1, "amount": 0, "collected": 0}
    record = account.rows.table("user_missions").setdefault((account.player, mission.id), nothing)
    account.once(record, "started", "a mission started")
    record["since"] = account.at_ms
    return {"level": record["level"]}


def collect_mission(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter what the mission has produced by the clock."""
    return _collect(account, [fields["mission"]])


def collect_all_missions(account: Account, _fields: Answer, _outcome: Answer) -> Answer:
    """Enter what every started mission has produced by the clock."""
    records = account.rows.table("user_missions")
    return _collect(account, [str(key[1]) for key, each in records.items() if each["started"] and key[1] in MISSIONS])


def level_up_mission(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter the next level: its price in gold, and what was produced before, up to the new cap."""
    mission, record = MISSIONS[fields["mission"]], account.record("user_missions", fields["mission"])
    level = whole_number(record, "level")
    need(record["started"] and level < TOP_LEVEL, "a mission that is started, below the top", f"level {level}")
    cap, new = mission.levels[level - 1].cap, mission.levels[level]
    need(whole_number(record, "collected") >= 10 * level * cap, f"{10 * level * cap} collected", record["collected"])
    if level + 1 == TOP_LEVEL:
        _need_opened(account, mission)
    account.add({"gold": -cap * (1000 if mission.pays == "diamonds" else 5)})
    produced = _produce(account, mission, record)
    record |= {"level": level + 1, "collected": 0, "amount": min(produced, new.cap) if produced else new.per_cycle}
    return {"level": record["level"], "amount": record["amount"]}


def _collect(account: Account, ids: list[str]) -> Answer:
    paid, amounts = {"gold": 0, "diamonds": 0}, {}
    for mission_id in ids:
        mission, record = MISSIONS[mission_id], account.record("user_missions", mission_id)
        need(record["started"], "a mission that is started", "one that is not")
        before = dict(record)
        if amount := _produce(account, mission, record):
            amounts[mission_id] = amount
            paid[mission.pays] += amount
            record |= {"amount": 0, "collected": whole_number(record, "collected") + amount}
        else:
            record |= before
    need(amounts, "something to collect", "nothing")
    account.add(paid)
    return {"missions": amounts, **paid}


def _produce(account: Account, mission: MissionDefinition, record: Record) -> int:
    """Let the clock run up to now. Returns how much there is; a full mission begins a new cycle now."""
    level = mission.levels[whole_number(record, "level") - 1]
    amount, since = whole_number(record, "amount"), whole_number(record, "since")
    cycles = max(0, (account.at_ms - since) // level.cycle_ms)
    amount = max(amount, min(level.cap, amount + level.per_cycle * cycles))
    since += level.cycle_ms * cycles
    record |= {"amount": amount, "since": max(since, account.at_ms) if amount >= level.cap else since}
    return amount


def _need_opened(account: Account, mission: MissionDefinition) -> None:
    opening = account.record("user_stages", mission.opens_with)
    need(opening["cleared"], f"{mission.opens_with} cleared before", "not cleared")
