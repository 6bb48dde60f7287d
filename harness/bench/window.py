"""Measures the windows of a live cutover and of the live rollback after it, under one steady load, through HTTP.

What clients see of them is measured, on two processes of the service; both are judged by the same limits.

The window is the longest gap between two granted writes as clients saw it, from the stand-by to the end of the switch,
less the median gap. Beside it stand our own clock's parts of the window, and the longest fsync that a probe saw.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from db.console.live_screen import shown_by
from db.console.output import Output
from db.console.progress import Progress
from db.counts import count
from db.cutover import moves
from db.cutover.context import RunConfig
from db.cutover.ports import When
from db.cutover.report import LiveFigures, RunReport
from db.errors import Refusal
from harness.bench import beside
from harness.bench.beside import BesideFigures
from harness.bench.clients import Clients
from harness.bench.samples import Spread, TargetsJudgement, Threshold, Verdict
from harness.bench.setup import DURABLE
from harness.load import scripts
from harness.load.steady import Answered
from harness.rehearsal.setup import RehearsalSetup, set_up
from harness.smoke import smoke

MOST_PLAYERS = 3_000
"""So many of the players act: to read the state of each takes a while."""

BURST = 50
BURST_SECONDS = 2.0
WARM_SECONDS = 10.0
"""Before anything is measured: a process that has just started answers more slowly."""

QUIET_SECONDS = 5.0
"""How long the load goes on before the move, for the time that writers take by themselves."""

MOST_WINDOW_MS = 50.0
MOST_LESS_FSYNC_MS = 150.0
MOST_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Parts:
    """The moments of a window, by its direction. copies: when the copy or the writing back begins; closing, closed:
    of the store that is left; open: of the other one.
    """

    copies: str
    closing: str
    closed: str
    open: str


THERE = Parts("before copy", "at fence", "at lock", "at live")
BACK = Parts("before write back", "at lock", "at fence", "at open")


@dataclass(frozen=True)
class WindowRun:
    """One live move under load, as clients saw it. Times in milliseconds; waits of all requests that were sent.

    verb: cutover or rollback. clients_ms: the window; of it since_last_write_ms until the store that is left was
    closed, and until_first_write_ms since the other was open. quiet: before the move; copying: during the copy, or the
    writing back. longest_fsync_ms: of a probe beside it. refused: answers of 500 and more; dropped: requests
    without an answer. held: requests that the service says it held; of a
    rollback those in flight at its COMMIT, which waited for the lock of Postgres.
    burst_gap_ms, burst_wait_ms: the same gap and longest wait of such a burst before the move, without a window.
    gap_at_ms, wait_at_ms: when that gap began, and when the request that waited longest was sent, before (negative) or
    after the other store was opened: a restart, too, makes gaps and waits.
    """

    verb: str
    players: int
    clients_ms: float
    since_last_write_ms: float
    until_first_write_ms: float
    own: LiveFigures
    longest_fsync_ms: float
    longest_wait_ms: float
    median_gap_ms: float
    refused: int
    dropped: int
    held: int
    granted: int
    rate: float
    quiet: Spread
    copying: Spread
    seconds: float
    burst_gap_ms: float
    burst_wait_ms: float
    gap_at_ms: float
    wait_at_ms: float


@dataclass(frozen=True)
class WindowFigures:
    """The figures of all runs of one direction that are judged."""

    p50_ms: float
    max_less_fsync_ms: float
    refused: int
    longest_wait_ms: float


@dataclass(frozen=True)
class WindowReport:
    """All runs, the figures that are judged, and what missed its target. runs: of the way there; back_runs: back."""

    verdict: Verdict
    server: str
    beside: BesideFigures | None
    runs: list[WindowRun]
    back_runs: list[WindowRun]
    there: WindowFigures
    back: WindowFigures
    missed: tuple[str, ...] = field(default=())


def run(players: int, runs: int, rate: int, turns: int, kind: str | None, progress: Progress) -> WindowReport:
    """Cut over and roll back so many times, each on a fresh server with so many made players.

    turns: so often what writers pay for capture and for a copy is measured before the first, see `beside`; 0: not.

    Raises Refusal for less than one.
    """
    if players < 1 or runs < 1 or rate < 1:
        raise Refusal(
            "one player, one run and one command a second at least",
            f"{players}, {runs} and {rate}",
            do="Say for instance --players 1000 --runs 3 --rate 200",
        )
    done: list[tuple[WindowRun, WindowRun]] = []
    beside_figures: BesideFigures | None = None
    server = ""
    for number in range(1, runs + 1):
        progress.say(f"run {number} of {runs}")
        with set_up(players, None, kind, progress, settings=DURABLE) as setup:
            server = str(setup.server)
            there_and_back, measured = _once(setup, rate, turns if number == 1 else 0, progress)
            done.append(there_and_back)
            beside_figures = measured or beside_figures
    there, back = [one for one, _ in done], [one for _, one in done]
    figures = _judged(there), _judged(back)
    thresholds = [*_thresholds("there", figures[0]), *_thresholds("back", figures[1])]
    judged = TargetsJudgement.of([*thresholds, *(beside_figures.thresholds() if beside_figures else ())])
    return WindowReport(judged.verdict, server, beside_figures, there, back, *figures, judged.missed)


def _judged(runs: Sequence[WindowRun]) -> WindowFigures:
    return WindowFigures(
        round(statistics.median(one.clients_ms for one in runs), 1),
        round(max(one.clients_ms - one.longest_fsync_ms for one in runs), 1),
        sum(one.refused for one in runs),
        round(max(one.longest_wait_ms for one in runs), 1),
    )


def _thresholds(way: str, figures: WindowFigures) -> list[Threshold]:
    return [
        Threshold(f"window {way}, median of the runs, ms", figures.p50_ms, most=MOST_WINDOW_MS),
        Threshold(f"window {way} less the longest fsync, ms", figures.max_less_fsync_ms, most=MOST_LESS_FSYNC_MS),
        Threshold(f"requests refused {way}", figures.refused, most=0),
        Threshold(f"longest wait of a client {way}, ms", figures.longest_wait_ms, most=MOST_WAIT_SECONDS * 1000),
    ]


@dataclass
class _Moments:
    """One move as it was observed. moments: when each step and part was last come to, monotonic seconds.

    quiet_since: since when the load had played by itself. burst_at: when a burst came without a window. held: by the
    service, once the window was over.
    """

    quiet_since: float = field(default_factory=time.monotonic)
    moments: dict[str, float] = field(default_factory=dict)
    held: int = 0
    seconds: float = 0.0
    burst_at: float = 0.0
    report: RunReport | None = None


def _once(
    setup: RehearsalSetup, rate: int, turns: int, progress: Progress
) -> tuple[tuple[WindowRun, WindowRun], BesideFigures | None]:
    planned = scripts.read(setup.source, players=min(setup.players, MOST_PLAYERS))
    tokens = {player: setup.service.token_of(player) for player in planned}
    load = Clients(setup.service.public_urls, planned, tokens, rate)
    with _fsyncs(setup.folder) as fsyncs, load:
        env = setup.environment
        time.sleep(WARM_SECONDS)  # The load plays meanwhile, so that no process is new to it when it is measured.
        measured = beside.measure(setup.server, env.legacy.path, env.services, turns, progress) if turns else []
        there = _move(setup, load, partial(moves.cut_over, evidence=lambda _env: None), progress)
        back = _move(setup, load, moves.roll_back, progress)
    split = back.quiet_since
    answers = [one for one in load.answers if one.sent < split], [one for one in load.answers if one.sent >= split]
    ways = (("cutover", THERE), ("rollback", BACK))
    seen = zip(ways, (there, back), answers, strict=True)
    first, second = (
        _figures(setup.players, verb, parts, move, own, list(fsyncs), rate) for (verb, parts), move, own in seen
    )
    return (first, second), beside.figures(measured, load.answers)


def _move(setup: RehearsalSetup, load: Clients, verb: Callable[..., RunReport], progress: Progress) -> _Moments:
    """Let the load play by itself, then move the game under it, with a burst as the window begins."""
    move = _Moments()

    def observer(when: When, step: str) -> None:
        if when == "at" or f"{when} {step}" not in move.moments:  # Of a window that was tried again the last counts.
            move.moments[f"{when} {step}"] = time.monotonic()
        if (when, step) == ("at", "window"):
            load.burst(BURST)
        if (when, step) == ("before", "switch"):
            move.held = setup.service.held()

    time.sleep(QUIET_SECONDS)  # The load plays meanwhile: these seconds are what is measured.
    move.burst_at = time.monotonic()
    load.burst(BURST)
    time.sleep(BURST_SECONDS)  # The burst is answered meanwhile: these seconds are measured too.
    since = time.monotonic()
    move.report = verb(
        setup.environment,
        RunConfig(
            partial(smoke.run, operator_token=setup.service.operator_token),
            offline=False,
            tools=setup.server.tool,
            progress=progress,
            view=shown_by(progress),
            observer=observer,
            folder=setup.folder / "runs",
            operator_token=setup.service.operator_token,
        ),
    )
    move.seconds = time.monotonic() - since
    return move


def _figures(
    players: int,
    verb: str,
    parts: Parts,
    move: _Moments,
    answers: Sequence[Answered],
    fsyncs: Sequence[tuple[float, float]],
    rate: int,
) -> WindowRun:
    assert move.report is not None
    assert move.report.live is not None, "the move was live"
    moments = move.moments
    begins, ends = moments["before stand by"], moments["after switch"]
    granted = sorted(one.ended for one in answers if one.granted_write and begins <= one.ended <= ends)
    gaps = [after - before for before, after in itertools.pairwise(granted)]
    median_gap = statistics.median(gaps)
    around = (moments["at window"] - 0.2, moments["at window"] + 1.0)
    writes = [one for one in answers if one.granted_write]
    calm = [one for one in answers if move.burst_at - 0.2 <= one.ended <= move.burst_at + BURST_SECONDS]
    calm_gaps = [b - a for a, b in itertools.pairwise(sorted(one.ended for one in calm if one.granted_write))]
    copying = [one.seconds for one in writes if moments[parts.copies] <= one.sent < moments["before stand by"]]
    quiet = [one.seconds for one in writes if move.quiet_since <= one.sent < move.burst_at]
    longest_gap, gap_at = max(zip(gaps, granted, strict=False))
    longest = max((one for one in answers if begins <= one.ended <= ends), key=lambda one: one.seconds)
    return WindowRun(
        verb=verb,
        players=players,
        clients_ms=round((longest_gap - median_gap) * 1000, 1),
        since_last_write_ms=_apart(max(at for at in granted if at <= moments[parts.closed]), moments[parts.closing]),
        until_first_write_ms=_apart(moments[parts.open], min(at for at in granted if at >= moments[parts.open])),
        own=move.report.live,
        longest_fsync_ms=round(max((s for at, s in fsyncs if around[0] <= at <= around[1]), default=0.0) * 1000, 1),
        longest_wait_ms=round(longest.seconds * 1000, 1),
        median_gap_ms=round(median_gap * 1000, 1),
        refused=sum(one.status >= 500 for one in answers),
        dropped=sum(one.status == 0 for one in answers),
        held=sum(one.sent <= moments["at sent"] <= one.ended for one in answers) if parts is BACK else move.held,
        granted=len(writes),
        rate=rate,
        quiet=Spread.of(quiet),
        copying=Spread.of(copying or quiet),
        seconds=round(move.seconds, 1),
        burst_gap_ms=round((max(calm_gaps) - median_gap) * 1000, 1),
        burst_wait_ms=round(max(one.seconds for one in calm) * 1000, 1),
        gap_at_ms=_apart(moments[parts.open], gap_at),
        wait_at_ms=_apart(moments[parts.open], longest.sent),
    )


def _apart(since: float, until: float) -> float:
    return round((until - since) * 1000, 1)


@contextmanager
def _fsyncs(folder: Path) -> Iterator[list[tuple[float, float]]]:
    """Note how long an fsync of a small file takes, one after the other: (when, seconds)."""
    seen: list[tuple[float, float]] = []
    ended = threading.Event()

    def probe() -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            while not ended.wait(0.02):
                file.write(b".")
                file.flush()
                began = time.monotonic()
                os.fsync(file.fileno())
                seen.append((began, time.monotonic() - began))

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def show(report: WindowReport, out: Output) -> None:
    """Print the report as a table, and its verdict."""
    players = count(report.runs[0].players, "player")
    columns = ("window ms, by clients", "by us", "fsync", "longest wait", "refused", "held", "burst alone")
    for name, runs in (("cutovers", report.runs), ("rollbacks", report.back_runs)):
        rows = [
            (
                one.clients_ms,
                one.own.window_ms,
                one.longest_fsync_ms,
                one.longest_wait_ms,
                one.refused,
                one.held,
                f"{one.burst_gap_ms:.1f}; {one.burst_wait_ms:.0f}",
            )
            for one in runs
        ]
        out.table(f"live {name} of {players} on {report.server}", columns, rows)
    if report.beside is not None:
        out.table(
            f"writers' waits, ms, of {report.beside.turns} turns; the copy throttled to {report.beside.share:.0%}",
            ("beside", "p50", "p95", "p95, times"),
            [
                (part, spread.p50_ms, spread.p95_ms, times)
                for (part, spread), times in zip(report.beside.spreads.items(), report.beside.times, strict=True)
            ],
        )
    for line in report.missed:
        out.say(line)
    out.say(f"verdict: {report.verdict}")
