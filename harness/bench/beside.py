"""Measures how long writers wait with nothing, with change capture, and with a copy running, in turn.

The copy goes to a database of its own, again and again from the beginning, by the throttle of a real one. Figures are
ratios within a turn: what slows the machine down meanwhile slows all three.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from db import ops
from db.console.live_view import CopyProgress
from db.console.progress import Progress
from db.cutover.listening import listening
from db.ops import fence
from db.servers.server import Server
from db.transfer.live import session
from db.transfer.live.leeway import Leeway
from db.transfer.live.session import LiveTransfer, transferring
from harness.bench.samples import Spread, Threshold
from harness.bench.setup import PASS
from harness.databases import Databases
from harness.load.steady import Answered

PART_SECONDS = 4.0
MOST_TIMES_CAPTURE = 1.2
MOST_TIMES_COPYING = 2.0

PARTS = NOTHING, CAPTURE, COPYING = "neither", "capture alone", "copying"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: monotonic seconds at which each part began, and when it ended. share: of the throttle, at its end."""

    parts: dict[str, tuple[float, float]]
    share: float


@dataclass(frozen=True)
class BesideFigures:
    """What writers waited in each part, all turns together, and how many times as long, p95, the median of the turns.

    share: the part of the time that the copy worked, the median of the turns.
    """

    turns: int
    spreads: dict[str, Spread]
    capture_times: float
    copying_times: float
    share: float

    @property
    def times(self) -> tuple[float, float, float]:
        """Return how many times as long writers waited in each part."""
        return 1.0, self.capture_times, self.copying_times

    def thresholds(self) -> list[Threshold]:
        """Return the limits of both."""
        return [
            Threshold("writers' p95 with capture alone, times", self.capture_times, most=MOST_TIMES_CAPTURE),
            Threshold("writers' p95 while copying, times", self.copying_times, most=MOST_TIMES_COPYING),
        ]


class _Over(Exception):
    """The part of a turn is over; the copy is begun anew in the next."""


def measure(server: Server, path: Path, urls: Sequence[str], turns: int, progress: Progress) -> list[Turn]:
    """Take so many turns while somebody else's load plays on the file and on the service at these URLs."""
    leeway, measured = Leeway(), []
    with Databases(server) as databases, listening(urls, leeway):
        target = databases.clone(fenced=True)
        with ops.connect(target.owner) as conn:
            fence.raise_fence(conn, pass_token=PASS)
        with (
            transferring(path, target.owner, run="bench", pass_token=PASS) as live,
            progress.bar("turns without, with capture, copying", turns, "turns") as advance,
        ):
            for _turn in range(turns):
                measured.append(_turn_of(live, leeway))
                session.end(path)
                advance(1)
    return measured


def _turn_of(live: LiveTransfer, leeway: Leeway) -> Turn:
    parts, log = {NOTHING: _timed(_play_on)}, ""

    def capture() -> None:
        nonlocal log
        log = live.begin()
        _play_on()

    def copy() -> None:
        until = time.monotonic() + PART_SECONDS

        def seen(_progress: CopyProgress) -> None:
            if time.monotonic() >= until:
                raise _Over

        with suppress(_Over):
            live.copy(log, seen, leeway)

    parts |= {CAPTURE: _timed(capture), COPYING: _timed(copy)}
    return Turn(parts, leeway.share)


def _play_on() -> None:
    time.sleep(PART_SECONDS)  # Clients play meanwhile: these seconds are what is measured.


def _timed(part: Callable[[], object]) -> tuple[float, float]:
    began = time.monotonic()
    part()
    return began, time.monotonic()


def figures(turns: Sequence[Turn], answers: Sequence[Answered]) -> BesideFigures | None:
    """Return the figures of the turns; None without any."""
    if not turns:
        return None
    writes = [one for one in answers if one.granted_write]

    def during(turn: Turn, part: str) -> list[float]:
        began, ended = turn.parts[part]
        return [one.seconds for one in writes if began <= one.sent < ended]

    spreads = {part: Spread.of(wait for turn in turns for wait in during(turn, part)) for part in PARTS}
    p95 = [{part: Spread.of(during(turn, part)).p95_ms for part in PARTS} for turn in turns]
    return BesideFigures(
        turns=len(turns),
        spreads=spreads,
        capture_times=round(statistics.median(one[CAPTURE] / one[NOTHING] for one in p95), 2),
        copying_times=round(statistics.median(one[COPYING] / one[NOTHING] for one in p95), 2),
        share=round(statistics.median(turn.share for turn in turns), 2),
    )
