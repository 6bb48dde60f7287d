"""Line charts of a move over its time, as the points of SVG polylines. Labels stand outside, so that they keep their
size on a phone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.console.live_figures import MB
from harness.report.move import MoveReport

WIDTH, HEIGHT = 1000.0, 100.0
MOST_POINTS = 1500

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line of a chart. state: how it is drawn; points: of a polyline in WIDTH by HEIGHT."""

    name: str
    state: str
    points: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. most: the value at its top; window: where the window began, from 0 to WIDTH, None if it did not."""

    title: str
    most: str
    seconds: float
    lines: tuple[ChartLine, ...]
    window: float | None


def charts(report: MoveReport) -> list[Chart]:
    """Return throughput and lag over the time from the first batch to the window; none without two points."""
    ends = [point.at for point in report.copying] + [one.at for one in report.rounds]
    if report.window is not None:
        ends.append(report.window.began)
    if len(ends) < 2 or max(ends) <= min(ends):
        return []
    since, until = min(ends), max(ends)
    window = None if report.window is None else WIDTH * (report.window.began - since) / (until - since)
    copied = [("copied", "copy", _copied(report))]
    changed = [("changed by players", "round", _changed(report))]
    lag = [("lag", "round", _lag(report, until))]
    drawn = [
        _chart("Copied, MB a second", copied, since, until, window, "{:,.1f}"),
        _chart("Changed by players, rows a second", changed, since, until, window, "{:,.0f}"),
        _chart("Lag, seconds", lag, since, until, window, "{:,.2f} s"),
    ]
    return [chart for chart in drawn if chart.lines]


def _chart(
    title: str, series: Sequence[tuple[str, str, Points]], since: float, until: float, window: float | None, text: str
) -> Chart:
    most = max((value for _name, _state, points in series for _at, value in points), default=0.0)
    lines = tuple(
        ChartLine(name, state, _polyline(points, since, until, most))
        for name, state, points in series
        if len(points) > 1
    )
    return Chart(title, text.format(most), until - since, lines, window)


def _copied(report: MoveReport) -> Points:
    return [
        (after.at, (after.bytes - before.bytes) / MB / (after.at - before.at))
        for before, after in itertools.pairwise(report.copying)
        if after.at > before.at and after.bytes >= before.bytes  # An attempt that goes on counts from zero again.
    ]


def _changed(report: MoveReport) -> Points:
    return [
        (after.at, after.rows / (after.at - before.at))
        for before, after in itertools.pairwise(report.rounds)
        if after.at > before.at
    ]


def _lag(report: MoveReport, until: float) -> Points:
    """Return the age of the newest snapshot that was applied: it grows with the clock, and falls at each commit."""
    points: Points = []
    read_at = None
    for one in report.rounds:
        if one.lag_seconds is not None:
            points.append((one.at, one.lag_seconds))
        points.append((one.at, one.ms / 1000))
        read_at = one.at - one.ms / 1000
    if read_at is not None and until > points[-1][0]:
        points.append((until, until - read_at))
    return points


def _polyline(points: Points, since: float, until: float, most: float) -> str:
    return " ".join(
        f"{WIDTH * (at - since) / (until - since):.1f},{HEIGHT - HEIGHT * value / (most or 1.0):.1f}"
        for at, value in _thinned(points)
    )


def _thinned(points: Points) -> Iterator[tuple[float, float]]:
    """Yield the largest of each few points where there are more than can be seen."""
    few = math.ceil(len(points) / MOST_POINTS)
    for start in range(0, len(points), few):
        yield max(points[start : start + few], key=lambda point: point[1])
