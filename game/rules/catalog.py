"""The catalog: items, the forge's figures, tournaments and milestones, read once from the data files beside it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from typing import Any

EQUIPMENT = "equipment"
MATERIAL = "material"
CONSUMABLE = "consumable"


@dataclass(frozen=True, slots=True)
class Template:
    """The values that items of one name share. Only equipment has a slot and a grade, only material a tier (1..5)."""

    name: str
    type: str
    slot: str | None = None
    grade: str | None = None
    tier: int | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """The figures of one grade; materials are (tier, amount) of +1 .. +10, failure_bonus is in percent.

    combine_percent: of a great success at forge levels (1 .. 4, 5); combine_top: at the top level, where that is named.
    """

    name: str
    wear_level: int
    price: int
    main_percentage: int
    main_plain: int
    sub_range: tuple[int, int]
    enhance_gold: int
    enhance_xp: tuple[int, int]
    failure_bonus: float
    materials: tuple[tuple[int, int], ...]
    combine_xp: tuple[int, int]
    combine_level: int
    combine_percent: tuple[float, float]
    combine_step: float
    combine_top: float | None
    disassemble_xp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TournamentDefinition:
    """One kind: the score of each rank, the items of each rank, and which of gold, materials, boxes it gathers.

    gold_per_match: by league, for a match (won, lost); empty where none is gathered by the match.
    """

    kind: str
    scores: tuple[int, ...]
    rewards: tuple[Mapping[str, int], ...]
    gathers: str
    gold_per_match: Mapping[str, tuple[int, int]]

    @property
    def league(self) -> int:
        """Return the number of players in a league of the tournament."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The contents of a bundle: of gold or diamonds, an amount drawn from (low, high)."""

    currency: str
    amount: tuple[int, int]


def rounded(value: Fraction) -> int:
    """Round as the game does: halves go up, which Python's round() does only for every other one."""
    return math.floor(value + Fraction(1, 2))


def read(name: str) -> dict[str, Any]:
    """Read a data file, by its name."""
    return tomllib.loads(files("game.rules").joinpath("data", name).read_text(encoding="utf-8"))


_ITEMS = read("items.toml")
_FORGE = read("forge.toml")

SLOTS: tuple[str, ...] = tuple(_ITEMS["slots"])
CORE_STATS: tuple[str, ...] = tuple(_ITEMS["core_stats"])
STACK: int = _ITEMS["stack"]
MAX_STARS: int = _FORGE["max_stars"]
MAX_FORGE_LEVEL: int = _FORGE["max_level"]


def _pair(figures: list[int]) -> tuple[int, int]:
    low, high = figures
    return low, high


MYTHIC_SUB_RANGE = _pair(_ITEMS["mythic_sub_range"])
JACKPOT_PERCENT: int = _FORGE["jackpot_percent"]
"""For each forge level."""

DISASSEMBLE_PERCENT = _pair(_FORGE["disassemble_percent"])
CONVERT_UP: int = _FORGE["convert_up"]
CONVERT_DOWN = _pair(_FORGE["convert_down"])


def _grade(name: str) -> Grade:
    item, forge = _ITEMS["grades"][name], _FORGE["grades"][name]
    top = forge.get("combine_top")
    return Grade(
        name=name,
        wear_level=item["wear_level"],
        price=item["price"],
        main_percentage=item["main_percentage"],
        main_plain=item["main_plain"],
        sub_range=_pair(item["sub_range"]),
        enhance_gold=forge["gold"],
        enhance_xp=_pair(forge["xp"]),
        failure_bonus=forge["failure_bonus"],
        materials=tuple(map(_pair, forge["materials"])),
        combine_xp=_pair(forge["combine_xp"]),
        combine_level=forge["combine_level"],
        combine_percent=(float(forge["combine_percent"][0]), float(forge["combine_percent"][1])),
        combine_step=float(forge["combine_step"]),
        combine_top=None if top is None else float(top),
        disassemble_xp=_pair(forge["disassemble_xp"]),
    )


GRADES: dict[str, Grade] = {name: _grade(name) for name in _ITEMS["grades"]}
MATERIALS: tuple[str, ...] = tuple(_ITEMS["materials"])
"""Names by tier, the first of tier 1."""

BUNDLES: dict[str, Bundle] = {
    name: Bundle(currency, _pair(amount))
    for currency, bundles in _ITEMS["bundles"].items()
    for name, amount in bundles.items()
}


def _templates() -> list[Template]:
    equipment = [
        Template(name, EQUIPMENT, slot=slot, grade=grade)
        for slot, names in _ITEMS["equipment"].items()
        for grade, name in zip(GRADES, names, strict=True)
    ]
    materials = [Template(name, MATERIAL, tier=tier) for tier, name in enumerate(MATERIALS, start=1)]
    return [*equipment, *materials, *(Template(name, CONSUMABLE) for name in _ITEMS["consumables"])]


TEMPLATES: dict[str, Template] = {template.name: template for template in _templates()}
EQUIPMENT_OF: dict[tuple[str | None, str | None], Template] = {
    (template.slot, template.grade): template for template in TEMPLATES.values() if template.type == EQUIPMENT
}
"""The equipment of a slot and a grade."""


def _tournament(kind: str, figures: dict[str, Any]) -> TournamentDefinition:
    rewards: list[Mapping[str, int]] = []
    for last_rank, items in figures["rewards"]:
        rewards += [items] * (last_rank - len(rewards))
    assert len(rewards) == len(figures["scores"]), f"{kind}: a reward and a score for every rank"
    gold = {league: _pair(amounts) for league, amounts in figures.get("gold_per_match", {}).items()}
    return TournamentDefinition(kind, tuple(figures["scores"]), tuple(rewards), figures["gathers"], gold)


TOURNAMENTS: dict[str, TournamentDefinition] = {
    k: _tournament(k, figures) for k, figures in read("tournaments.toml").items()
}


_MILESTONES = read("milestones.toml")
MILESTONES: tuple[int, ...] = tuple(_MILESTONES["points"])
MILESTONE_ITEMS: dict[str, tuple[str, ...]] = {period: tuple(names) for period, names in _MILESTONES["items"].items()}
"""By period, one item for each of MILESTONES."""


def main_base(slot: str, grade: Grade) -> tuple[int, bool]:
    """Return the base value of the main option, and whether it is a percentage."""
    percentage = slot in _ITEMS["percentage_slots"]
    return (grade.main_percentage if percentage else grade.main_plain), percentage


def main_stat(slot: str) -> str:
    """Return the core stat that the main option of the slot raises: the rules name none, so one each, in order."""
    return CORE_STATS[SLOTS.index(slot)]


def enhance_gold(grade: Grade, stars: int) -> int:
    """Return the gold that the next star costs for an item that has `stars`."""
    return rounded(grade.enhance_gold * Fraction(3, 2) ** stars)


def enhance_material(grade: Grade, stars: int) -> tuple[str, int]:
    """Return the material's name, and how many of it, for the next star of an item that has `stars`."""
    tier, amount = grade.materials[stars]
    return MATERIALS[tier - 1], amount


def enhance_chance(grade: Grade, stars: int, fails: int) -> float:
    """Return the percent, in halves, at which the next star succeeds, by `stars` and earlier failures."""
    return min(100.0, float(_FORGE["success_percent"][stars]) + grade.failure_bonus * fails)


def level_sum_for(star: int) -> int:
    """Return the level sum that reaching the star asks for; 0 for most."""
    return int(_FORGE["level_sum"].get(str(star), 0))


def main_gain(base: int | float, star: int) -> int:
    """Return the amount that reaching the star adds to the main option's value."""
    return rounded(Fraction(str(base)) * Fraction(_FORGE["main_tenths"].get(str(star), 10), 10))


def xp_to_leave(level: int) -> int:
    """Return the forge XP that takes a player from the level, 1 .. 19, to the next. Raises ValueError at the top."""
    for last, base, step in _FORGE["level_xp"]:
        if level <= last:
            return int(base + step * level)
    raise ValueError(f"level {level} is the top; expected 1 .. {MAX_FORGE_LEVEL - 1}")


def great_success(grade: Grade, level: int) -> float:
    """Return the percent, in halves, at which combining three of the grade makes a better one, by forge level."""
    if level >= MAX_FORGE_LEVEL and grade.combine_top is not None:
        return grade.combine_top
    early, fifth = grade.combine_percent
    return early if level < 5 else min(100.0, fifth + grade.combine_step * (min(level, MAX_FORGE_LEVEL) - 5))


def next_grade(grade: Grade) -> Grade | None:
    """Return the grade above; None for the highest."""
    names = list(GRADES)
    following = names[names.index(grade.name) + 1 :]
    return GRADES[following[0]] if following else None


def disassembled(grade: Grade, stars: int, percent: int) -> tuple[str, int]:
    """Return the material's name, and how many of it, that so many percent of the next star's come to: one at least.

    An item that has all its stars counts as its last star's.
    """
    name, amount = enhance_material(grade, min(stars, MAX_STARS - 1))
    return name, max(1, rounded(Fraction(amount * percent, 100)))


def equipment_price(grade: Grade, stars: int) -> int:
    """Return the gold that equipment of the grade with so many stars sells for."""
    return math.floor(grade.price * Fraction(6, 5) ** stars)


def material_price(tier: int) -> int:
    """Return the gold that one material of the tier sells for."""
    return int(_ITEMS["material_prices"][tier - 1])


MOST_PLACES: int = _ITEMS["places"]["most"]
MORE_PLACES: int = _ITEMS["places"]["more"]


def places_price(places: int) -> int:
    """Return the diamonds that more places cost one who has so many; never less than the first time."""
    figures = _ITEMS["places"]
    times = max(0, (places - figures["first"]) // figures["more"])
    return int(figures["diamonds"] + figures["diamonds_more"] * times)
