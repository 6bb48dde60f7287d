"""What a rehearsal found: of each direction the values and the requests, counted, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from db.cutover.report import StepReport
from db.wording import counted

if TYPE_CHECKING:
    from db.console import Outcome

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction. source, loaded, quarantined, mismatches: values, as counted on the way.

    On the way back they count the values that nobody touched: those compared, and those found as they were.
    acknowledged, retried: requests up to the end of this leg; missing, duplicated: of them in the store it ended on.
    read_only_seconds: by the run's journal; freeze_seconds: what clients saw, first refusal to first grant.
    """

    verdict: str
    source: int = 0
    loaded: int = 0
    quarantined: int = 0
    mismatches: int = 0
    acknowledged: int = 0
    missing: int = 0
    duplicated: int = 0
    retried: int = 0
    read_only_seconds: float = 0.0
    freeze_seconds: float = 0.0
    steps: tuple[StepReport, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RehearsalReport(Leg):
    """The way there, with the verdict on both; `rollback` is the way back.

    refused: what the rules said no to. dropped: connections closed before the answer. held: players who can't play
    until someone decides. seconds: of the whole rehearsal.
    """

    engine: dict[str, str] = field(default_factory=dict)
    players: int = 0
    held: int = 0
    refused: int = 0
    dropped: int = 0
    seconds: float = 0.0
    rollback: Leg = field(default_factory=lambda: Leg(INCONCLUSIVE))


def show(report: RehearsalReport, speaks: Outcome) -> None:
    """The report for people."""
    back = report.rollback
    speaks.table(
        f"rehearsal on {report.engine['kind']} {report.engine['version']}, {counted(report.players, 'players')}",
        ("what", "there", "and back"),
        [
            ("verdict", report.verdict, back.verdict),
            *((name.replace("_", " "), getattr(report, name), getattr(back, name)) for name in _SHOWN),
        ],
    )
    for problem in (*report.problems, *back.problems):
        speaks.say(problem)


_SHOWN = ("source", "loaded", "quarantined", "mismatches", "acknowledged", "missing", "duplicated", "retried",
          "read_only_seconds", "freeze_seconds")  # fmt: skip
