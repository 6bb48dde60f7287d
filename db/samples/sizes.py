"""Sizes of what a made player owns: none, one, or the most possible, in place of the drawn number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeAlias

from db.samples.progression import item
from game.legacy.codec.mapping import PERIODS
from game.rules import catalog
from game.rules.actions.equip import MOST_PRESETS
from game.rules.missions import MISSIONS
from game.rules.stages import STAGES

Given: TypeAlias = dict[str, Any]

_FIRST = 12
_EVERY = 4


def _few(name: str, most: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        given[name] = dict(islice(given[name].items(), most))

    return change


def _few_in_the_bag(most: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        given["bag"] = dict(islice(given["bag"].items(), most))
        given["worn"] = [item_id for item_id in given["worn"] if item_id in given["bag"]]

    return change


def _full_bag(given: Given) -> None:
    """Leave as many places of each type as are taken."""
    taken = Counter(item(entry["name"], "bag").type for entry in given["bag"].values())
    given["places"] = {kind: taken[kind] for kind in (catalog.EQUIPMENT, catalog.MATERIAL, catalog.CONSUMABLE)}


def _worn(most: int) -> Callable[[Given], None]:
    """Return a change that has a player wear so many items.

    Items that he lacks are added to his bag, and his level is raised to the highest that any item asks for.
    """

    def change(given: Given) -> None:
        by_slot = {item(entry["name"], "bag").slot: item_id for item_id, entry in given["bag"].items()}
        for slot in catalog.SLOTS[:most]:
            if slot not in by_slot:
                template = next(each for each in catalog.TEMPLATES.values() if each.slot == slot and each.grade)
                by_slot[slot] = f"item-worn-{slot}-{next(iter(given['bag']))}"
                given["bag"][by_slot[slot]] = {"name": template.name}
        given["level"] = max(given["level"], *(grade.wear_level for grade in catalog.GRADES.values()))
        given["worn"] = [by_slot[slot] for slot in catalog.SLOTS[:most]]

    return change


def _many_presets(given: Given) -> None:
    given["presets"] = {f"세트 {n}": {} for n in range(MOST_PRESETS)}


def _few_quests(most: int) -> Callable[[Given], None]:
    """Leave so many quests, of the first period."""

    def change(given: Given) -> None:
        of_first = dict(islice(given["quests"][PERIODS[0]].items(), most))
        given["quests"] = {PERIODS[0]: of_first} | {period: {} for period in PERIODS[1:]}

    return change


def _few_milestones(most: int) -> Callable[[Given], None]:
    """Leave the milestones of so many periods, which are then the only ones with quests."""

    def change(given: Given) -> None:
        for name in ("quests", "milestones"):
            given[name] = {period: given[name][period] for period in PERIODS[:most]}

    return change


def _claimed_milestones(number: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        claimed = [*catalog.MILESTONES][:number]
        given["milestones"] = {period: {"activity": 100, "claimed": claimed} for period in PERIODS}

    return change


def _all_missions(given: Given) -> None:
    """Give every mission, and all stages cleared, without which no player has them."""
    given["missions"] = {mission: given["missions"].get(mission, {}) for mission in MISSIONS}
    _stages(len(STAGES))(given)


def _stages(cleared: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        names = [*STAGES]
        given["stages"] = {name: {} for name in names[:cleared]}
        given["progress"] = cleared

    return change


def _tournaments(most: int) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        kinds = [*catalog.TOURNAMENTS][:most]
        given["tournaments"] = {kind: given["tournaments"].get(kind, {"status": "bracket_ready"}) for kind in kinds}

    return change


def _mail_of(**letter: object) -> Callable[[Given], None]:
    def change(given: Given) -> None:
        given["mail"] = {mail_id: {**letter} for mail_id in given["mail"]}

    return change


def _poor(given: Given) -> None:
    given |= {"gold": 0, "diamonds": 0, "action_points": 0, "level": 2, "forge": 1}


SIZES: Mapping[str, Callable[[Given], None]] = {
    "no bag": _few_in_the_bag(0),
    "one item": _few_in_the_bag(1),
    "full bag": _full_bag,
    "nothing worn": _worn(0),
    "one worn": _worn(1),
    "all slots worn": _worn(len(catalog.SLOTS)),
    "no mail": _few("mail", 0),
    "one mail": _few("mail", 1),
    "mail with nothing": _mail_of(),
    "mail with everything": _mail_of(gold=1, diamonds=1, action_points=1, items={"미사일": 1, "히든": 2}),
    "no presets": _few("presets", 0),
    "all presets": _many_presets,
    "no quests": _few_quests(0),
    "one quest": _few_quests(1),
    "no milestones": _few_milestones(0),
    "one period": _few_milestones(1),
    "no milestone claimed": _claimed_milestones(0),
    "all milestones claimed": _claimed_milestones(len(catalog.MILESTONES)),
    "no missions": _few("missions", 0),
    "one mission": _few("missions", 1),
    "all missions": _all_missions,
    "no stages": _stages(0),
    "one stage": _stages(1),
    "all stages": _stages(len(STAGES)),
    "no tournaments": _tournaments(0),
    "one tournament": _tournaments(1),
    "all tournaments": _tournaments(len(catalog.TOURNAMENTS)),
    "nothing to spend": _poor,
}
"""The sizes by name, each a change of what is given; players get one of them in turn."""


def has_one(n: int) -> bool:
    """Return True if the n-th player, from 0, has a size: every fourth after the first twelve."""
    return n >= _FIRST and n % _EVERY == _EVERY - 1


def resized(given: Mapping[str, object], n: int) -> dict[str, object]:
    """Return what is given, with the n-th player's size. Consecutive players with a size get different ones."""
    changed = dict(given)
    [*SIZES.values()][n // _EVERY % len(SIZES)](changed)
    return changed
