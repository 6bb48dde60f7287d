"""Measures the window of a live cutover: what clients see of it under a steady load, through HTTP, on two processes.

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
from collections.abc import Iterator, Sequence
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
from db.cutover.ports import SmokeResult, When
from db.cutover.report import LiveFigures, RunReport
from db.errors import Refusal
from game.urls import LegacyUrl, PostgresUrl
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
QUIET_SECONDS = 5.0
"""How long the load goes on before the move, for the time that writers take by themselves."""

MOST_WINDOW_MS = 50.0
MOST_LESS_FSYNC_MS = 150.0
MOST_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class WindowRun:
    """One live cutover under load, as clients saw it. Times in milliseconds; waits of all requests that were sent.

    clients_ms: the window; of it since_last_write_ms until the file was fenced, and until_first_write_ms since Postgres
    was open. longest_fsync_ms: of a probe beside it. refused: answers of 500 and more; dropped: requests
    without an answer. held: requests that the service says it held.
    """

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


@dataclass(frozen=True)
class WindowReport:
    """All runs, the figures that are judged, and what missed its target."""

    verdict: Verdict
    server: str
    runs: list[WindowRun]
    p50_ms: float
    max_less_fsync_ms: float
    refused: int
    longest_wait_ms: float
    missed: tuple[str, ...] = field(default=())


def run(players: int, runs: int, rate: int, kind: str | None, progress: Progress) -> WindowReport:
    """Cut over so many times, each on a fresh server with so many made players. Raises Refusal for less than one."""
    if players < 1 or runs < 1 or rate < 1:
        raise Refusal(
            "one player, one run and one command a second at least",
            f"{players}, {runs} and {rate}",
            do="Say for instance --players 1000 --runs 3 --rate 200",
        )
    done: list[WindowRun] = []
    server = ""
    for number in range(1, runs + 1):
        progress.say(f"run {number} of {runs}")
        with set_up(players, None, kind, progress, settings=DURABLE) as setup:
            server = str(setup.server)
            done.append(_once(setup, rate, progress))
    p50 = statistics.median(one.clients_ms for one in done)
    most = max(one.clients_ms - one.longest_fsync_ms for one in done)
    refused = sum(one.refused for one in done)
    waited = max(one.longest_wait_ms for one in done)
    judged = TargetsJudgement.of(
        [
            Threshold("window, median of the runs, ms", p50, most=MOST_WINDOW_MS),
            Threshold("window less the longest fsync, ms", most, most=MOST_LESS_FSYNC_MS),
            Threshold("requests refused", refused, most=0),
            Threshold("longest wait of a client, ms", waited, most=MOST_WAIT_SECONDS * 1000),
        ]
    )
    return WindowReport(
        judged.verdict, server, done, round(p50, 1), round(most, 1), refused, round(waited, 1), judged.missed
    )


def _once(setup: RehearsalSetup, rate: int, progress: Progress) -> WindowRun:
    planned = scripts.read(setup.source, players=min(setup.players, MOST_PLAYERS))
    moments: dict[str, float] = {}
    held: list[int] = []
    tokens = {player: setup.service.token_of(player) for player in planned}
    load = Clients(setup.service.urls, planned, tokens, rate)

    def observer(when: When, step: str) -> None:
        if when == "at" or f"{when} {step}" not in moments:  # Of a window that was tried again the last try counts.
            moments[f"{when} {step}"] = time.monotonic()
        if (when, step) == ("at", "window"):
            load.burst(BURST)
        if (when, step) == ("before", "switch"):
            held.append(setup.service.held())

    with _fsyncs(setup.folder) as fsyncs, load:
        time.sleep(QUIET_SECONDS)  # The load plays meanwhile: these seconds are what is measured.
        since = time.monotonic()
        report = moves.cut_over(
            setup.environment,
            RunConfig(
                partial(smoke_of, setup),
                offline=False,
                tools=setup.server.tool,
                progress=progress,
                view=shown_by(progress),
                observer=observer,
                folder=setup.folder / "runs",
                operator_token=setup.service.operator_token,
            ),
            evidence=lambda _env: None,
        )
        seconds = time.monotonic() - since
    return _figures(setup, report, load.answers, moments, list(fsyncs), sum(held), rate, seconds)


def _figures(
    setup: RehearsalSetup,
    report: RunReport,
    answers: Sequence[Answered],
    moments: dict[str, float],
    fsyncs: Sequence[tuple[float, float]],
    held: int,
    rate: int,
    seconds: float,
) -> WindowRun:
    assert report.live is not None, "the move was live"
    begins, ends = moments["before stand by"], moments["after switch"]
    granted = sorted(one.ended for one in answers if one.granted_write and begins <= one.ended <= ends)
    gaps = [after - before for before, after in itertools.pairwise(granted)]
    median_gap = statistics.median(gaps)
    around = (moments["at window"] - 0.2, moments["at window"] + 1.0)
    writes = [one for one in answers if one.granted_write]
    copying = [one.seconds for one in writes if moments["before copy"] <= one.sent < moments["before stand by"]]
    return WindowRun(
        players=setup.players,
        clients_ms=round((max(gaps) - median_gap) * 1000, 1),
        since_last_write_ms=_apart(max(at for at in granted if at <= moments["at lock"]), moments["at fence"]),
        until_first_write_ms=_apart(moments["at live"], min(at for at in granted if at >= moments["at live"])),
        own=report.live,
        longest_fsync_ms=round(max((s for at, s in fsyncs if around[0] <= at <= around[1]), default=0.0) * 1000, 1),
        longest_wait_ms=round(max(one.seconds for one in answers if begins <= one.ended <= ends) * 1000, 1),
        median_gap_ms=round(median_gap * 1000, 1),
        refused=sum(one.status >= 500 for one in answers),
        dropped=sum(one.status == 0 for one in answers),
        held=held,
        granted=len(writes),
        rate=rate,
        quiet=Spread.of(one.seconds for one in writes if one.sent < moments["before preflight"]),
        copying=Spread.of(copying),
        seconds=round(seconds, 1),
    )


def _apart(since: float, until: float) -> float:
    return round((until - since) * 1000, 1)


def smoke_of(
    setup: RehearsalSetup, services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str
) -> SmokeResult:
    return smoke.run(services, store, pass_token=pass_token, operator_token=setup.service.operator_token)


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
    rows = [
        (one.clients_ms, one.own.window_ms, one.longest_fsync_ms, one.longest_wait_ms, one.refused, one.held)
        for one in report.runs
    ]
    players = count(report.runs[0].players, "player")
    columns = ("window ms, by clients", "by us", "fsync", "longest wait", "refused", "held")
    out.table(f"live cutovers of {players} on {report.server}", columns, rows)
    for line in report.missed:
        out.say(line)
    out.say(f"verdict: {report.verdict}")
