"""Samples of a benchmark and their judgement: percentiles, ratios of medians, targets met or missed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of times in milliseconds, of so many samples; zeros where there is none."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    samples: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Spread:
        """Return the spread of times in seconds, in any order."""
        ordered = sorted(seconds)
        p50, p95, p99 = (percentile(ordered, percent) * 1000 for percent in (50, 95, 99))
        return cls(p50, p95, p99, len(ordered))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest rank of sorted numbers: the smallest that so many percent are not above; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratio(measured: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return the ratio of the medians; None where one was never measured.

    Of medians over rounds that took turns: what slowed the machine down in one round slowed all of it down.
    """
    if not measured or not baseline or not median(baseline):
        return None
    return median(measured) / median(baseline)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure that is to be at least, or at most, so much; None where it could not be measured."""

    name: str
    figure: float | None
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Return True if the target was met; None if it was not measured."""
        if self.figure is None:
            return None
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)

    def __str__(self) -> str:
        asked = f"at least {self.least}" if self.least is not None else f"at most {self.most}"
        return f"{self.name}: {asked}, " + ("not measured" if self.figure is None else f"found {self.figure:.3f}")


@dataclass(frozen=True)
class TargetsJudgement:
    """The judgement of all targets: a missed one fails, and one that was not measured leaves it open."""

    verdict: Verdict
    missed: tuple[str, ...] = field(default=())
    unmeasured: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, targets: Sequence[Threshold]) -> TargetsJudgement:
        """Judge all targets together. No target at all is no pass."""
        missed = tuple(str(target) for target in targets if target.met is False)
        unmeasured = tuple(str(target) for target in targets if target.met is None)
        if missed:
            return cls("fail", missed, unmeasured)
        return cls("pass" if targets and not unmeasured else "inconclusive", missed, unmeasured)
