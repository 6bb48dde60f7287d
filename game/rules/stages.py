"""Single-play stages: what each costs and grants, and which one opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from game.rules import catalog


@dataclass(frozen=True, slots=True)
class StageDefinition:
    """One stage. ordinal: its place from 1 among all; before: the stage that opens it, None for the first of all.

    first, repeat: (gold, XP) of a clear; first_items: what the first clear gives besides.
    """

    name: str
    ordinal: int
    before: str | None
    action_points: int
    first: tuple[int, int]
    repeat: tuple[int, int]
    first_items: tuple[tuple[str, int], ...]


def _stages(figures: dict[str, Any]) -> list[StageDefinition]:
    stages: list[StageDefinition] = []
    number = figures["stages"]
    for level in figures["levels"]:
        for n in range(1, number + 1):
            half = (n - 1) * 2 // number
            (gold, xp), (gold_again, xp_again) = level["first"][half], level["repeat"][half]
            stages.append(
                StageDefinition(
                    name=f"{level['name']}-{n}",
                    ordinal=len(stages) + 1,
                    before=stages[-1].name if stages else None,
                    action_points=level["action_points"],
                    first=(gold, xp),
                    repeat=(gold_again, xp_again),
                    first_items=((level["last"], 1),) if n == number else (),
                )
            )
    return stages


STAGES: dict[str, StageDefinition] = {stage.name: stage for stage in _stages(catalog.read("stages.toml"))}
"""By name, in the order in which they open."""
