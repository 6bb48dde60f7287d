"""The report of a rehearsal: for each direction the values and the requests, counted, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from db.counts import count
from db.cutover.report import StepReport
from harness.history.checking import HistoryFigures

if TYPE_CHECKING:
    from db.console.output import Output

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True)
class Leg:
    """One direction. source, loaded, quarantined, mismatches: values, as counted on the way.

    On the way back they count the values that nobody touched: those compared, and those found as they were.
    acknowledged, retried: requests up to the end of this leg; missing, duplicated: what the history checker found wrong
    of them in the store that the leg ended on: too little, and too much. history: what it judged by.
    predicted_seconds: of read-only, by the checks before the move; None for the way back, which has no prediction.
    window_seconds, rounds, held_requests, proofs: of a live move; None, 0, 0 and nothing of an offline one.
    refused_during_move: answers that told a client to come back later.
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
    predicted_seconds: float | None = None
    read_only_seconds: float = 0.0
    freeze_seconds: float = 0.0
    window_seconds: float | None = None
    rounds: int = 0
    held_requests: int = 0
    refused_during_move: int = 0
    proofs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    history: HistoryFigures = field(default_factory=HistoryFigures)
    steps: tuple[StepReport, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RehearsalReport(Leg):
    """The way there, with the verdict on all; `rollback` is the way back.

    offline, offline_rollback: both once more, with the game stopped; None where that was not asked for.
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
    offline: Leg | None = None
    offline_rollback: Leg | None = None

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Return the moves in their order."""
        return (self, self.rollback, *(leg for leg in (self.offline, self.offline_rollback) if leg is not None))

    @property
    def every_problem(self) -> tuple[str, ...]:
        """Return what went wrong, of every move."""
        return tuple(problem for leg in self.legs for problem in leg.problems)


def show(report: RehearsalReport, out: Output) -> None:
    """Print the report of a rehearsal for people."""
    legs = report.legs
    out.table(
        f"rehearsal on {report.engine['kind']} {report.engine['version']}, {count(report.players, 'player')}",
        ("what", "there", "and back", "offline", "and back")[: 1 + len(legs)],
        [
            ("verdict", *(leg.verdict for leg in legs)),
            *((words, *(_value(getattr(leg, name)) for leg in legs)) for name, words in _SHOWN.items()),
            *(
                (words, *(_value(getattr(leg.history, name)) for leg in legs))
                for name, words in _SHOWN_OF_HISTORY.items()
            ),
        ],
    )
    for problem in report.every_problem:
        out.say(problem)


def _value(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and 0 < value < 1:
        return f"{value * 1000:,.0f} ms"
    return f"{value:,.1f} s" if isinstance(value, float) else f"{value:,}"


_SHOWN = {
    "source": "values at the source (back: of players who did not act)",
    "loaded": "values loaded",
    "quarantined": "values quarantined",
    "mismatches": "values that differ",
    "acknowledged": "requests granted by then",
    "missing": "of these missing",
    "duplicated": "of these granted twice",
    "retried": "times a request was sent again by then",
    "predicted_seconds": "read-only, predicted",
    "read_only_seconds": "read-only, measured",
    "freeze_seconds": "read-only, as players saw it",
    "window_seconds": "window of a live move",
    "held_requests": "requests that waited in it",
    "refused_during_move": "answers that told a client to come back",
}

_SHOWN_OF_HISTORY = {
    "receipts": "history: receipts carried out again by the rules",
    "real_time_pairs": "history: pairs of requests, order judged",
    "across_switch": "of these pairs, one on each side of the switch",
    "unknown": "history: requests whose answer nobody got",
}
