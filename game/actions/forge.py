"""The forge."""

from __future__ import annotations

import json
import math
from typing import Any

from game import catalog
from game.actions.reward import Outcome
from game.catalog import Grade
from game.commands import Enhance
from game.errors import Refused
from game.player import Player, text, to_json, whole
from game.rows import Record

COMBAT_SUBS = 4


def enhance(player: Player, command: Enhance) -> Outcome:
    """One star more, with luck; gold, materials and XP are the same either way.

    Draws: success (percent), xp; on success of the combat sub: sub.type and sub.value, or sub.index and sub.value.
    Refused: no_such_item, not_equipment, max_stars, level_too_low, not_enough_gold, not_enough_material.
    """
    item = player.equipment(command.item)
    grade = catalog.GRADES[text(item, "grade")]
    stars = whole(item, "stars")
    if stars >= catalog.MAX_STARS:
        raise Refused("max_stars", command.item)
    player.need_level(catalog.level_sum_for(stars + 1))
    player.pay("gold", -catalog.enhance_gold(grade, stars), "enhance")
    player.spend(*catalog.enhance_material(grade, stars))
    success = player.percent("success") <= catalog.enhance_chance(grade, stars, whole(item, "fails"))
    player.gain_forge_xp(player.draw("xp", *grade.enhance_xp))
    if success:
        item |= {"stars": stars + 1, "fails": 0, "options": _improved(player, item, grade, stars + 1)}
    else:
        item["fails"] = whole(item, "fails") + 1
    player.note("enhance", command.item, 0, whole(item, "quantity"))
    return {"success": success, "stars": item["stars"]}


def _improved(player: Player, item: Record, grade: Grade, star: int) -> str:
    """The options that reaching the star leaves. What is not of the shape that the rules know stays as it is."""
    options = json.loads(text(item, "options") or "null") or {}
    if not isinstance(options, dict):
        return text(item, "options")
    main = options.get("main")
    if isinstance(main, dict) and _is_number(main.get("value")) and _is_number(main.get("baseValue")):
        main["value"] += catalog.main_gain(main["baseValue"], star)
    subs = options.setdefault("combatSubs", [])
    if isinstance(subs, list):
        _improve_subs(player, subs, grade)
    return to_json(options)


def _improve_subs(player: Player, subs: list[Any], grade: Grade) -> None:
    if len(subs) < COMBAT_SUBS:
        subs.append(_new_sub(player, subs, grade))
        return
    sub = subs[player.draw("sub.index", 1, len(subs)) - 1]
    low, high = _range(sub, grade)
    more = player.draw("sub.value", low, high)
    if isinstance(sub, dict) and _is_number(sub.get("value")):
        sub["value"] += more
        sub["enhancements"] = 1 + (sub["enhancements"] if _is_number(sub.get("enhancements")) else 0)


def _new_sub(player: Player, subs: list[Any], grade: Grade) -> dict[str, object]:
    """A combat sub of a core stat that none of the others raises."""
    taken = {sub.get("type") for sub in subs if isinstance(sub, dict)}
    free = [stat for stat in catalog.CORE_STATS if stat not in taken]
    low, high = grade.sub_range
    return {
        "type": free[player.draw("sub.type", 1, len(free)) - 1],
        "value": player.draw("sub.value", low, high),
        "isPercentage": False,
        "range": [low, high],
        "enhancements": 0,
    }


def _range(sub: object, grade: Grade) -> tuple[int, int]:
    """The sub's own range; its grade's where it has none that can be drawn from."""
    match sub:
        case {"range": [int(low), int(high)]} if low <= high:
            return low, high
        case _:
            return grade.sub_range


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
