"""Of a live move `bench.window` tells the window as clients saw it, and when the longest gap and wait came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from db.cutover.report import LiveFigures
from harness.bench.window import THERE, WindowRun, _figures, _Moments
from harness.load.steady import READS, Answered

LIVE = LiveFigures(window_ms=20.0, parts_ms={}, attempts=1, rounds=1, last_round={})
OPENED = 100.0
MOMENTS = {
    "before copy": 50.0,
    "before stand by": 90.0,
    "at window": OPENED - 0.03,
    "at fence": OPENED - 0.02,
    "at lock": OPENED - 0.02,
    "at live": OPENED,
    "after switch": 110.0,
}


def figures(*more: Answered) -> WindowRun:
    """Return the figures of a load that had a write each 10 ms, each of 5 ms, but for 60 ms around the window."""
    times = [40 + n / 100 for n in range(7500)]
    answers = [Answered("equip", at - 0.005, at, 200) for at in times if not OPENED - 0.03 < at < OPENED + 0.03]
    move = _Moments(quiet_since=40.0, moments=dict(MOMENTS), burst_at=45.0, held=3, seconds=60.0)
    move.report = cast(Any, SimpleNamespace(live=LIVE))
    return _figures(10, "cutover", THERE, move, [*answers, *more], [(OPENED, 0.004), (OPENED - 9, 0.3)], 100)


def test_the_longest_gap_of_writes_is_the_window_and_its_place_is_told() -> None:
    found = figures()
    assert found.median_gap_ms == pytest.approx(10)
    assert found.clients_ms == pytest.approx(50, abs=0.2)
    assert found.gap_at_ms == pytest.approx(-30, abs=0.2)
    assert (found.since_last_write_ms, found.until_first_write_ms) == pytest.approx((10, 30), abs=0.2)
    assert found.longest_fsync_ms == 4.0, "that of the window, not any other"
    assert (found.refused, found.dropped, found.held) == (0, 0, 3)


def test_the_longest_wait_is_that_of_a_read_too_and_may_come_long_after_the_window() -> None:
    late = Answered(READS, OPENED + 5, OPENED + 5.4, 200)
    long_before = Answered("equip", OPENED - 60, OPENED - 58, 200)
    found = figures(late, long_before)
    assert (found.longest_wait_ms, found.wait_at_ms) == pytest.approx((400, 5000))


def test_refused_and_dropped_requests_are_counted_whenever_they_came() -> None:
    refused, dropped = Answered("equip", 41.0, 41.1, 503), Answered("equip", 109.0, 109.1, 0)
    found = figures(refused, dropped)
    assert (found.refused, found.dropped) == (1, 1)
