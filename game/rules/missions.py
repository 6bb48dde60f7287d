"""Training missions: what each level produces by the clock, and what the next one asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from game.rules import catalog

TOP_LEVEL = 10
OPENED_AGAIN_AT = 10
"""The level that asks once more for the stage that opens the mission."""


@dataclass(frozen=True, slots=True)
class Level:
    """A mission's figures at one level; the cap is where production stops."""

    cycle_ms: int
    per_cycle: int
    cap: int


@dataclass(frozen=True, slots=True)
class MissionDefinition:
    """One mission: the stage that opens it, the currency that it pays, and its levels from the first."""

    id: str
    opens_with: str
    pays: str
    levels: tuple[Level, ...]

    def at(self, level: int) -> Level:
        """Return the figures of a level, from 1."""
        return self.levels[level - 1]

    def asks_for(self, level: int) -> int:
        """Return how much must have been collected at the level to leave it."""
        return level * 10 * self.at(level).cap

    def costs(self, level: int) -> int:
        """Return the gold that leaving the level costs."""
        return self.at(level).cap * (5 if self.pays == "gold" else 1000)


@dataclass(frozen=True, slots=True)
class Produced:
    """The amount to collect at an instant, and the instant up to which the clock is accounted for with it."""

    amount: int
    since: int
    full: bool


def produced(level: Level, amount: int, since: int, now_ms: int) -> Produced:
    """Return what `amount` has become since then: whole cycles only, up to the cap. Instants are epoch milliseconds.

    A clock that went back adds nothing and takes nothing; an amount beyond the cap stays as it is.
    """
    cycles = max(0, now_ms - since) // level.cycle_ms
    grown = max(amount, min(level.cap, amount + cycles * level.per_cycle))
    return Produced(grown, since + cycles * level.cycle_ms, full=grown >= level.cap)


def restarted(at: Produced, now_ms: int) -> int:
    """Return from when the clock runs on after a collection, in ms: a full mission's starts now, others go on.

    Never from before what is accounted for: else a clock that went back would be paid twice.
    """
    return max(at.since, now_ms) if at.full else at.since


def _mission(mission_id: str, figures: Mapping[str, Any]) -> MissionDefinition:
    columns = zip(figures["minutes"], figures["per_cycle"], figures["cap"], strict=True)
    levels = [Level(int(Fraction(str(minutes)) * 60_000), each, cap) for minutes, each, cap in columns]
    assert len(levels) == TOP_LEVEL, f"{mission_id}: figures for every level"
    return MissionDefinition(mission_id, figures["opens_with"], figures["pays"], tuple(levels))


MISSIONS: dict[str, MissionDefinition] = {
    name: _mission(name, figures) for name, figures in catalog.read("missions.toml").items()
}
