"""The catalog: item templates, the forge's figures and the tournaments', read once from the data files beside it."""

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
    """What every item of one name shares. Only equipment has a slot and a grade, only a material a tier (1..5)."""

    name: str
    type: str
    slot: str | None = None
    grade: str | None = None
    tier: int | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """The figures of one grade; materials are (tier, amount) of +1 .. +10, failure_bonus is in percent."""

    name: str
    wear_level: int
    main_percentage: int
    main_plain: int
    sub_range: tuple[int, int]
    enhance_gold: int
    enhance_xp: tuple[int, int]
    failure_bonus: float
    materials: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tournament:
    """One kind: the score of each rank, the items of each rank, and which of gold, materials, boxes it gathers."""

    kind: str
    scores: tuple[int, ...]
    rewards: tuple[Mapping[str, int], ...]
    gathers: str

    @property
    def league(self) -> int:
        """How many play in it."""
        return len(self.scores)


def rounded(value: Fraction) -> int:
    """The game's rounding: halves go up, which Python's round() does only for every other one."""
    return math.floor(value + Fraction(1, 2))


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("game").joinpath("data", name).read_text(encoding="utf-8"))


_ITEMS = _read("items.toml")
_FORGE = _read("forge.toml")

SLOTS: tuple[str, ...] = tuple(_ITEMS["slots"])
CORE_STATS: tuple[str, ...] = tuple(_ITEMS["core_stats"])
STACK: int = _ITEMS["stack"]
MAX_STARS: int = _FORGE["max_stars"]
MAX_FORGE_LEVEL: int = _FORGE["max_level"]


def _grade(name: str) -> Grade:
    item, forge = _ITEMS["grades"][name], _FORGE["grades"][name]
    low, high = item["sub_range"]
    least, most = forge["xp"]
    return Grade(
        name=name,
        wear_level=item["wear_level"],
        main_percentage=item["main_percentage"],
        main_plain=item["main_plain"],
        sub_range=(low, high),
        enhance_gold=forge["gold"],
        enhance_xp=(least, most),
        failure_bonus=forge["failure_bonus"],
        materials=tuple((tier, amount) for tier, amount in forge["materials"]),
    )


GRADES: dict[str, Grade] = {name: _grade(name) for name in _ITEMS["grades"]}
MATERIALS: tuple[str, ...] = tuple(_ITEMS["materials"])
"""Names by tier, the first of tier 1."""


def _templates() -> list[Template]:
    equipment = [
        Template(name, EQUIPMENT, slot=slot, grade=grade)
        for slot, names in _ITEMS["equipment"].items()
        for grade, name in zip(GRADES, names, strict=True)
    ]
    materials = [Template(name, MATERIAL, tier=tier) for tier, name in enumerate(MATERIALS, start=1)]
    return [*equipment, *materials, *(Template(name, CONSUMABLE) for name in _ITEMS["consumables"])]


TEMPLATES: dict[str, Template] = {template.name: template for template in _templates()}


def _tournament(kind: str, figures: dict[str, Any]) -> Tournament:
    rewards: list[Mapping[str, int]] = []
    for last_rank, items in figures["rewards"]:
        rewards += [items] * (last_rank - len(rewards))
    assert len(rewards) == len(figures["scores"]), f"{kind}: a reward and a score for every rank"
    return Tournament(kind, tuple(figures["scores"]), tuple(rewards), figures["gathers"])


TOURNAMENTS: dict[str, Tournament] = {k: _tournament(k, figures) for k, figures in _read("tournaments.toml").items()}


def main_base(slot: str, grade: Grade) -> tuple[int, bool]:
    """The base value of the main option, and whether it is a percentage."""
    percentage = slot in _ITEMS["percentage_slots"]
    return (grade.main_percentage if percentage else grade.main_plain), percentage


def main_stat(slot: str) -> str:
    """The core stat that the main option of the slot's items raises: the rules name none, so one each, in order."""
    return CORE_STATS[SLOTS.index(slot)]


def enhance_gold(grade: Grade, stars: int) -> int:
    """What the next star costs an item that has `stars`."""
    return rounded(grade.enhance_gold * Fraction(3, 2) ** stars)


def enhance_material(grade: Grade, stars: int) -> tuple[str, int]:
    """The material's name, and how many of it, for the next star of an item that has `stars`."""
    tier, amount = grade.materials[stars]
    return MATERIALS[tier - 1], amount


def enhance_chance(grade: Grade, stars: int, fails: int) -> float:
    """Percent, in halves: what the next star of an item with `stars` and so many earlier failures succeeds with."""
    return min(100.0, float(_FORGE["success_percent"][stars]) + grade.failure_bonus * fails)


def level_sum_for(star: int) -> int:
    """The level sum that reaching the star asks for; 0 for most."""
    return int(_FORGE["level_sum"].get(str(star), 0))


def main_gain(base: int | float, star: int) -> int:
    """What reaching the star adds to the main option's value."""
    return rounded(Fraction(str(base)) * Fraction(_FORGE["main_tenths"].get(str(star), 10), 10))


def xp_to_leave(level: int) -> int:
    """The forge XP that takes a player from the level to the next; levels 1 .. 19."""
    for last, base, step in _FORGE["level_xp"]:
        if level <= last:
            return int(base + step * level)
    raise ValueError(f"level {level} is the top; expected 1 .. {MAX_FORGE_LEVEL - 1}")
