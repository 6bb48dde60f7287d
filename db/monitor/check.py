"""A check of the watch as data: what is measured, its limit and the limit's source, and when it can't be judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CLEAR_AT = 0.9
"""An alarm is over when the value is beyond the limit by a tenth of it, on the good side: else it would flap."""


class CheckOutcome(StrEnum):
    """The outcome of a check: within its limit, beyond it, not to be known now, or not of this environment."""

    OK = "ok"
    BREACH = "breach"
    NOT_JUDGED = "not judged"
    NOT_APPLICABLE = "does not apply"


class NotJudged(Exception):
    """The value can't be known now; the text says why, in a clause. The watch is then inconclusive."""


class NotApplicable(Exception):
    """The environment has nothing of this kind; the text says why, in a clause."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound of a value, in `unit`: the most that is allowed, or the least. source: where the number comes from."""

    value: float
    unit: str
    source: str
    least: bool = False

    def breached(self, value: float) -> bool:
        """Return True if the value is beyond the limit; the limit itself is allowed."""
        return value < self.value if self.least else value > self.value

    def cleared(self, value: float) -> bool:
        """Return True if the value is so far on the good side that an alarm is over."""
        if not self.least:
            return value <= self.value * CLEAR_AT
        # A share of 99 % that must be exceeded by a tenth would never clear: its distance from 100 % is what shrinks.
        most = 100 - (100 - self.value) * CLEAR_AT if self.unit == "%" else self.value + 1
        return value >= min(self.value / CLEAR_AT, most)

    def __str__(self) -> str:
        return f"at {'least' if self.least else 'most'} {self.value:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Measured:
    """A value, what it was read from or who causes it, and the seconds that it is about; None: this moment."""

    value: float
    evidence: str = ""
    window_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    measure: reads the value from a `db.monitor.look.Look`, which imports this module; raises NotJudged or
    NotApplicable. defect: what a test plants to see it found. not_judged: when it can't be judged, in a clause for the
    docs. do: the one command or statement for a breach.
    statistics: needs the right to see other roles' sessions and statistics (pg_monitor has it).
    """

    name: str
    limit: Limit
    measure: Callable[[Any], Measured]
    defect: str
    not_judged: str = "never"
    do: str
    statistics: bool = False

    @property
    def anchor(self) -> str:
        """Return the heading of docs/watch.md that says what to do."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of one check; why: of one that was not judged or does not apply."""

    check: str
    outcome: CheckOutcome
    value: float | None
    unit: str
    limit: float
    least: bool
    source: str
    window_seconds: float | None
    evidence: str
    why: str
    do: str

    @property
    def cleared(self) -> bool:
        """Return True if an alarm of this check is over: the value is well within the limit, or the check fell away."""
        if self.value is None:
            return self.outcome is CheckOutcome.NOT_APPLICABLE
        return Limit(self.limit, self.unit, self.source, self.least).cleared(self.value)
