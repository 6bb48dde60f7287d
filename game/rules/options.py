"""An item's options, a JSON document: main, combat, special and mythic subs.

What is not of the shape that the rules know stays as it is, and never breaks a rule; a number that nothing is added to
keeps its spelling, 1.50 or 1e2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from game.json_text import rewritten
from game.rules import catalog
from game.rules.catalog import Grade, Template
from game.rules.json_columns import from_json, to_json

Draw: TypeAlias = Callable[[str, int, int], int]
"""(name, low, high) to a whole number, both ends included."""

COMBAT_SUBS = 4
MYTHIC_SUBS = 2

_LARGEST = 2**53
"""Beyond it numbers of a legacy document are no longer exact, and not ours to add to."""


def fresh_options(template: Template) -> str | None:
    """Return a new item's options as JSON text: its main option, and no subs. None for what is no equipment."""
    if template.slot is None or template.grade is None:
        return None
    return to_json(_fresh(template.slot, template.grade))


def divine_options(slot: str, grade: str, draw: Draw) -> str:
    """Return the options of a divine mythic just made: two mythic subs of different stats.

    Draws: mythic.type and mythic.value, each twice.
    """
    options = _fresh(slot, grade)
    free = list(catalog.CORE_STATS)
    low, high = catalog.MYTHIC_SUB_RANGE
    for _ in range(MYTHIC_SUBS):
        stat = free.pop(draw("mythic.type", 1, len(free)) - 1)
        options["mythicSubs"].append(_sub(stat, draw("mythic.value", low, high), (low, high)))
    return to_json(options)


def improved(options: str, grade: Grade, star: int, draw: Draw) -> str:
    """Return the options after the item reaches the star.

    Draws: sub.type and sub.value where there are under 4 combat subs, else sub.index and sub.value.
    """
    parsed = from_json(options or "{}")
    document: dict[str, Any] | None = {} if parsed is None else parsed if isinstance(parsed, dict) else None
    if document is None:
        return options
    main = document.get("main")
    if isinstance(main, dict) and _is_number(main.get("value")) and _is_number(main.get("baseValue")):
        main["value"] += catalog.main_gain(main["baseValue"], star)
    subs = document.setdefault("combatSubs", [])
    if isinstance(subs, list):
        _improve_subs(subs, grade, draw)
    return rewritten(options or "{}", document)


def _fresh(slot: str, grade: str) -> dict[str, Any]:
    base, percentage = catalog.main_base(slot, catalog.GRADES[grade])
    main = {"type": catalog.main_stat(slot), "value": base, "baseValue": base, "isPercentage": percentage}
    return {"main": main, "combatSubs": [], "specialSubs": [], "mythicSubs": []}


def _improve_subs(subs: list[Any], grade: Grade, draw: Draw) -> None:
    if len(subs) < COMBAT_SUBS:
        free = [stat for stat in catalog.CORE_STATS if not any(_raises(sub, stat) for sub in subs)]
        stat = free[draw("sub.type", 1, len(free)) - 1]
        subs.append(_sub(stat, draw("sub.value", *grade.sub_range), grade.sub_range))
        return
    sub = subs[draw("sub.index", 1, len(subs)) - 1]
    more = draw("sub.value", *_range(sub, grade))
    if isinstance(sub, dict) and _is_number(sub.get("value")):
        sub["value"] += more
        sub["enhancements"] = 1 + (sub["enhancements"] if _is_number(sub.get("enhancements")) else 0)


def _raises(sub: object, stat: str) -> bool:
    return isinstance(sub, dict) and sub.get("type") == stat


def _sub(stat: str, value: int, drawn_from: tuple[int, int]) -> dict[str, object]:
    return {"type": stat, "value": value, "isPercentage": False, "range": list(drawn_from), "enhancements": 0}


def _range(sub: object, grade: Grade) -> tuple[int, int]:
    """Return the sub's own range; its grade's where it has none that can be drawn from."""
    match sub:
        case {"range": [int(low), int(high)]} if low <= high and _is_number(low) and _is_number(high):
            return low, high
        case _:
            return grade.sub_range


def _is_number(value: object) -> bool:
    """Return True for a number to which a gain can be added; not NaN, nor one too large to be exact."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST
