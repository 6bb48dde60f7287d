"""Measures how far the legacy file is behind while it follows, under a steady load through HTTP, and the window after.

The lag is sampled beside the process that follows: the age of the oldest change that the file lacks. On the way that
process is killed and started again, and every session of the server is ended once; the time until the lag is small
again is measured apart. At the end the game goes back to the file.
"""

from __future__ import annotations

import math
import multiprocessing
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess

import psycopg

from db import ops
from db.console.output import Output
from db.console.progress import Progress
from db.counts import count
from db.cutover import moves
from db.cutover.context import RunConfig
from db.environments import Environment
from db.errors import Failure, Refusal
from db.follow.ending_signals import GentleSignals
from db.follow.loop import FollowConfig
from db.follow.loop import follow as have_it_follow
from db.follow.view import Lines
from db.ops import change_log, following
from harness.bench.clients import Clients
from harness.bench.samples import TargetsJudgement, Threshold, Verdict
from harness.bench.setup import DURABLE
from harness.bench.window import MOST_PLAYERS, smoke_of
from harness.load import scripts
from harness.rehearsal.setup import RehearsalSetup, set_up

MOST_LAG_SECONDS = 2.0
SMALL_LAG_SECONDS = 1.5
CALM_SECONDS = 2.0
"""Where the lag is below the first for so long, the file has caught up: a long first round is followed by another."""

SAMPLE_SECONDS = 0.1
BEGIN_SECONDS = 60.0


@dataclass(frozen=True)
class FollowFigures:
    """The figures of a run. Times in seconds, but for window_ms, which is the rollback's at the end.

    most_lag, median_lag: of all samples but those after a disturbance; most_lines: that waited. most_lag_at: seconds
    after the first sample. recoveries: by disturbance, the time until the lag was small again. refused: answers of 500
    and more; dropped: without an answer.
    """

    verdict: Verdict
    server: str
    players: int
    rate: int
    seconds: float
    samples: int
    most_lag: float
    most_lag_at: float
    median_lag: float
    most_lines: int
    recoveries: dict[str, float]
    granted: int
    refused: int
    dropped: int
    window_ms: float
    missed: tuple[str, ...] = field(default=())


def run(players: int, minutes: int, rate: int, kind: str | None, progress: Progress) -> FollowFigures:
    """Cut over, follow for so long under load, and go back. Raises Refusal for less than one of each."""
    if players < 1 or minutes < 1 or rate < 1:
        raise Refusal(
            "one player, one minute and one command a second at least",
            f"{players}, {minutes} and {rate}",
            do="Say for instance --players 1000 --minutes 30 --rate 100",
        )
    with set_up(players, None, kind, progress, settings=DURABLE) as setup:
        return _Bench(setup, rate, progress).run(minutes * 60.0)


class _Bench:
    """One run. Samples are (lag in seconds, lines that wait, when by the monotonic clock)."""

    def __init__(self, setup: RehearsalSetup, rate: int, progress: Progress) -> None:
        self.setup = setup
        self.rate = rate
        self.progress = progress
        self.samples: list[tuple[float, int, float]] = []
        self.recoveries: dict[str, float] = {}

    def run(self, seconds: float) -> FollowFigures:
        setup = self.setup
        planned = scripts.read(setup.source, players=min(setup.players, MOST_PLAYERS))
        tokens = {player: setup.service.token_of(player) for player in planned}
        moves.cut_over(setup.environment, self._config(), evidence=lambda _env: None)
        load = Clients(setup.service.public_urls, planned, tokens, self.rate)
        began = time.monotonic()
        with load, _following(setup.environment) as first:
            self._recover("begin")
            self._sample(seconds / 3)
            first.kill()
            first.join()
            with _following(setup.environment):
                self._recover("kill -9")
                self._sample(seconds / 3)
                self._end_sessions()
                self._recover("sessions ended")
                self._sample(seconds / 3)
                report = moves.roll_back(setup.environment, self._config())
        assert report.live is not None, "the rollback was live"
        lags = sorted(lag for lag, _lines, _at in self.samples)
        refused = sum(one.status >= 500 for one in load.answers)
        judged = TargetsJudgement.of(
            [
                Threshold("lag, s", lags[-1], most=MOST_LAG_SECONDS),
                Threshold("requests refused", refused, most=0),
            ]
        )
        return FollowFigures(
            judged.verdict,
            str(setup.server),
            setup.players,
            self.rate,
            round(time.monotonic() - began, 1),
            len(lags),
            round(lags[-1], 3),
            round(max(self.samples)[2] - self.samples[0][2], 1),
            round(lags[len(lags) // 2], 3),
            max(lines for _lag, lines, _at in self.samples),
            self.recoveries,
            sum(one.granted_write for one in load.answers),
            refused,
            sum(one.status == 0 for one in load.answers),
            report.live.window_ms,
            judged.missed,
        )

    def _config(self) -> RunConfig:
        return RunConfig(
            partial(smoke_of, self.setup),
            offline=False,
            tools=self.setup.server.tool,
            progress=self.progress,
            folder=self.setup.folder / "runs",
            operator_token=self.setup.service.operator_token,
        )

    def _sample(self, seconds: float) -> None:
        self.progress.say(f"     following for {seconds:.0f} s")
        until = time.monotonic() + seconds
        with ops.connect(self.setup.environment.target_direct, application="sudamr bench") as conn:
            while time.monotonic() < until:
                self.samples.append((*_lag(conn), time.monotonic()))
                time.sleep(SAMPLE_SECONDS)  # The load plays meanwhile: these samples are what is measured.

    def _recover(self, what: str) -> None:
        """Wait for a round and for a small lag, and note how long that took. Raises Failure if the lag stays large."""
        began = time.monotonic()
        with ops.connect(self.setup.environment.target_direct, application="sudamr bench") as conn:
            rounds, small_since = _rounds(conn), math.inf
            while time.monotonic() - small_since < CALM_SECONDS or small_since == math.inf:
                is_small = _lag(conn)[0] <= SMALL_LAG_SECONDS and _rounds(conn) not in (rounds, 0)
                small_since = min(small_since, time.monotonic()) if is_small else math.inf
                if time.monotonic() - began > BEGIN_SECONDS:
                    raise Failure(
                        f"a lag of {SMALL_LAG_SECONDS} s within {BEGIN_SECONDS:.0f} s",
                        f"{_lag(conn)[0]:.1f} s",
                        where=what,
                    )
                time.sleep(SAMPLE_SECONDS)  # The lag is a row that the process that follows writes.
        self.recoveries[what] = round(small_since - began, 1)

    def _end_sessions(self) -> None:
        """End every session of the database, as a restart of the server does."""
        with psycopg.connect(self.setup.server.maintenance.conninfo, autocommit=True) as conn:
            query = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
            conn.execute(query, [self.setup.environment.target_direct.dbname])


def _lag(conn: ops.Connection) -> tuple[float, int]:
    capture = change_log.capture(conn)
    if capture is None or not capture.on:
        raise Failure("a change log that is on", "none", where=ops.place(conn))
    lines, lag = change_log.waiting(conn, capture.log)
    return lag or 0.0, lines


def _rounds(conn: ops.Connection) -> int:
    """Return how many rounds the process that follows has made; each process counts its own."""
    row = following.read(conn)
    return 0 if row is None else row.rounds


@contextmanager
def _following(env: Environment) -> Iterator[BaseProcess]:
    """Follow in a process of its own, until the block ends or the game returns."""
    process = multiprocessing.get_context("spawn").Process(target=_follow, args=(env,), name=secrets.token_hex(2))
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join(30)
        process.kill()
        process.join()


def _follow(env: Environment) -> None:
    with GentleSignals() as signals:
        have_it_follow(env, FollowConfig(signals=signals, view=Lines(_line)))


def _line(text: str) -> None:
    sys.stderr.write(f"     {text}\n")


def show(report: FollowFigures, out: Output) -> None:
    """Print the report as a table, and its verdict."""
    columns = ("most lag s", "at s", "median lag s", "most waiting", "granted", "refused", "dropped", "window ms")
    row = (
        report.most_lag,
        report.most_lag_at,
        report.median_lag,
        report.most_lines,
        report.granted,
        report.refused,
        report.dropped,
        report.window_ms,
    )
    players = count(report.players, "player")
    out.table(f"{report.seconds:.0f} s of {players}, {report.rate} commands a second, {report.server}", columns, [row])
    for what, seconds in report.recoveries.items():
        out.say(f"{what}: the lag was below {SMALL_LAG_SECONDS:g} s after {seconds:g} s")
    for line in report.missed:
        out.say(line)
    out.say(f"verdict: {report.verdict}")
