"""Measures how far the legacy file is behind while it follows, under a steady load through HTTP, and the window after.

The lag is sampled beside the process that follows: the age of the oldest change that the file lacks. On the way there
are disturbances (`harness.bench.disturbances`), each with its own recovery: the time until the lag is small again. A
writer stays open in another database throughout. At the end the game goes back to the file, as it did once before all
this, right after a first cutover: the two windows are compared.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg

from db import ops
from db.console.output import Output
from db.console.progress import Progress
from db.counts import count
from db.cutover import moves
from db.cutover.context import RunConfig
from db.environments import Environment
from db.errors import Failure, Refusal
from db.ops import following
from db.servers import Server
from harness.bench.clients import Clients
from harness.bench.disturbances import DISTURBANCES, Disturbed, following_file, lag
from harness.bench.samples import TargetsJudgement, Threshold, Verdict
from harness.bench.setup import DURABLE
from harness.bench.versions import Version
from harness.bench.window import MOST_PLAYERS
from harness.load import scripts, small_disk
from harness.load.small_disk import SmallDisk
from harness.load.steady import Answered
from harness.rehearsal.setup import RehearsalSetup, set_up
from harness.smoke import smoke

MOST_LAG_SECONDS = 2.0
SMALL_LAG_SECONDS = 1.5
CALM_SECONDS = 2.0
"""Seconds of a small lag after which the file has caught up: a long first round is followed by another one."""

MOST_WINDOWS = 3.0
"""The most that the last window may take, as a multiple of the first. A window of tens of ms varies by a factor of two
or three with the machine.
"""

SAMPLE_SECONDS = 0.1
BEGIN_SECONDS = 60.0
FIRST_SECONDS = 10.0
"""How long the file follows before the first rollback."""

DISK_MEGABYTES = 1024


@dataclass(frozen=True, slots=True)
class Recovery:
    """A disturbance and what came after. seconds: from its end until the lag was small again. refused, dropped: answers
    of 500 and more, and requests without an answer, of those sent since its begin.
    """

    name: str
    seconds: float
    refused: int
    dropped: int

    def __str__(self) -> str:
        return f"{self.name}: the lag was below {SMALL_LAG_SECONDS:g} s after {self.seconds:g} s" + (
            f"; {count(self.refused, 'request')} refused, {self.dropped} dropped"
            if self.refused or self.dropped
            else ""
        )


@dataclass(frozen=True)
class FollowFigures:
    """The figures of a run. Times in seconds, but for the windows, which are those of the two rollbacks.

    most_lag, median_lag: of all samples but those after a disturbance; most_lines: that waited. most_lag_at: seconds
    after the first sample. refused: answers of 500 and more; dropped: without an answer; both outside of recoveries.
    left: lines that the change log still has after the rollback. untried: disturbances, each with the reason.
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
    recoveries: list[Recovery]
    untried: dict[str, str]
    granted: int
    refused: int
    dropped: int
    left: int
    first_window_ms: float
    window_ms: float
    missed: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Sample:
    """lag: in seconds; lines: that wait; at: by the monotonic clock."""

    lag: float
    lines: int
    at: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """A disturbance that took place: monotonic seconds of its begin, its end, and when the lag was small again."""

    name: str
    began: float
    ended: float
    small: float

    def covers(self, answer: Answered) -> bool:
        """Return True if the request was on its way at some moment between its begin and the calm after it."""
        return answer.sent <= self.small + CALM_SECONDS and answer.ended >= self.began


def run(players: int, minutes: int, rate: int, kind: str | None, progress: Progress) -> FollowFigures:
    """Cut over, follow for so long under load, and go back. Raises Refusal for less than one of each."""
    if players < 1 or minutes < 1 or rate < 1:
        raise Refusal(
            "one player, one minute and one command a second at least",
            f"{players}, {minutes} and {rate}",
            do="Say for instance --players 1000 --minutes 30 --rate 100",
        )
    with ExitStack() as stack:
        disk: SmallDisk | None = None
        with suppress(Refusal):  # Without the right to mount, the report says that the disk was not filled.
            disk = stack.enter_context(small_disk.durable(megabytes=DISK_MEGABYTES))
        folder = disk.folder if disk is not None else None
        setup = stack.enter_context(set_up(players, None, kind, progress, settings=DURABLE, disk=folder))
        trees = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sudamr-newer-")))
        return _Bench(setup, disk, trees, rate, progress).run(minutes * 60.0)


class _Bench:
    """One run."""

    def __init__(
        self, setup: RehearsalSetup, disk: SmallDisk | None, trees: Path, rate: int, progress: Progress
    ) -> None:
        self.setup = setup
        self.disk = disk
        self.trees = trees
        self.rate = rate
        self.progress = progress
        self.samples: list[_Sample] = []
        self.disturbances: list[Disturbance] = []
        self.untried: dict[str, str] = {}

    def run(self, seconds: float) -> FollowFigures:
        with _writer_elsewhere(self.setup.server) as reopen:
            first = self._first_rollback()
            self.samples, self.disturbances = [], []
            self._cut_over()
            began = time.monotonic()
            with self._clients() as load, following_file(self.setup.environment) as follower:
                bench = Disturbed(self.setup, self.disk, follower, self.trees / "newer")
                share = seconds / (len(DISTURBANCES) + 1)
                self._recover("begin", began, began)
                self._sample(share)
                for name, disturb in DISTURBANCES.items():
                    if why := bench.unable(name):
                        self.untried[name] = why
                    else:
                        since = time.monotonic()
                        self.progress.say(f"     {name}")
                        disturb(bench)
                        ended = time.monotonic()
                        reopen()
                        self._recover(name, since, ended)
                    self._sample(share)
                last = self._roll_back(follower.version)
        return self._figures(load.answers, time.monotonic() - began, first, last)

    def _first_rollback(self) -> float:
        """Go there and back once before anything else; return the window of the rollback in ms."""
        self._cut_over()
        since = time.monotonic()
        with self._clients(), following_file(self.setup.environment) as follower:
            self._recover("first begin", since, since)
            self._sample(FIRST_SECONDS)
            return self._roll_back(follower.version)

    def _cut_over(self) -> None:
        config = RunConfig(
            partial(smoke.run, operator_token=self.setup.service.operator_token),
            offline=False,
            tools=self.setup.server.tool,
            progress=self.progress,
            folder=self.setup.folder / "runs",
            operator_token=self.setup.service.operator_token,
        )
        moves.cut_over(self.setup.environment, config, evidence=lambda _env: None)

    def _roll_back(self, version: Version) -> float:
        self.progress.say("     going back to the file")
        setup = self.setup
        given = (setup.environment, setup.server.handle(), setup.folder / "runs", setup.service.operator_token)
        return version.run(_roll_back, *given)

    def _clients(self) -> Clients:
        setup = self.setup
        planned = scripts.read(setup.legacy, players=min(setup.players, MOST_PLAYERS))
        tokens = {player: setup.service.token_of(player) for player in planned}
        return Clients(setup.service.public_urls, planned, tokens, self.rate)

    def _sample(self, seconds: float) -> None:
        self.progress.say(f"     following for {seconds:.0f} s")
        until = time.monotonic() + seconds
        with ops.connect(self.setup.environment.target_direct, application="sudamr bench") as conn:
            while time.monotonic() < until:
                self.samples.append(_Sample(*lag(conn), time.monotonic()))
                time.sleep(SAMPLE_SECONDS)  # The load plays meanwhile: these samples are what is measured.

    def _recover(self, what: str, began: float, ended: float) -> None:
        """Wait for a round and for a small lag, and note how long that took. Raises Failure if the lag stays large."""
        with ops.connect(self.setup.environment.target_direct, application="sudamr bench") as conn:
            rounds, small_since = _rounds(conn), math.inf
            while time.monotonic() - small_since < CALM_SECONDS or small_since == math.inf:
                is_small = lag(conn)[0] <= SMALL_LAG_SECONDS and _rounds(conn) not in (rounds, 0)
                small_since = min(small_since, time.monotonic()) if is_small else math.inf
                if time.monotonic() - ended > BEGIN_SECONDS:
                    raise Failure(
                        f"a lag of {SMALL_LAG_SECONDS} s within {BEGIN_SECONDS:.0f} s",
                        f"{lag(conn)[0]:.1f} s",
                        where=what,
                    )
                time.sleep(SAMPLE_SECONDS)  # The lag is a row that the process that follows writes.
        self.disturbances.append(Disturbance(what, began, ended, small_since))

    def _figures(self, answers: Sequence[Answered], seconds: float, first: float, last: float) -> FollowFigures:
        lags = sorted(one.lag for one in self.samples)
        most = max(self.samples, key=lambda one: one.lag)
        recoveries = [recovery_of(one, answers) for one in self.disturbances]
        undisturbed = [answer for answer in answers if not any(one.covers(answer) for one in self.disturbances)]
        refused = sum(_is_refused(one) for one in undisturbed)
        with ops.connect(self.setup.environment.target_direct) as conn:
            left = _lines_left(conn)
        judged = TargetsJudgement.of(
            [
                Threshold("lag, s", most.lag, most=MOST_LAG_SECONDS),
                Threshold("requests refused", refused, most=0),
                Threshold("lines left in the change log", left, most=0),
                Threshold("last window by the first", last / first, most=MOST_WINDOWS),
                *(Threshold(name, None) for name in self.untried),
            ]
        )
        return FollowFigures(
            judged.verdict,
            str(self.setup.server),
            self.setup.players,
            self.rate,
            round(seconds, 1),
            len(lags),
            round(most.lag, 3),
            round(most.at - self.samples[0].at, 1),
            round(lags[len(lags) // 2], 3),
            max(one.lines for one in self.samples),
            recoveries,
            self.untried,
            sum(one.granted_write for one in answers),
            refused,
            sum(_is_dropped(one) for one in undisturbed),
            left,
            first,
            last,
            (*judged.missed, *judged.unmeasured),
        )


def _roll_back(env: Environment, handle: str, folder: Path, operator_token: str) -> float:
    """Go back to the file; return the window in ms. It runs in a process of the version that goes back."""
    config = RunConfig(
        partial(smoke.run, operator_token=operator_token),
        offline=False,
        tools=Server.attach(handle).tool,
        folder=folder,
        operator_token=operator_token,
    )
    report = moves.roll_back(env, config)
    assert report.live is not None, "the rollback was live"
    return report.live.window_ms


@contextmanager
def _writer_elsewhere(server: Server) -> Iterator[Callable[[], None]]:
    """Keep a transaction that has written open in another database; yield a function that opens it again."""
    with ExitStack() as stack:
        held: list[psycopg.Connection] = []

        def reopen() -> None:
            if held and not held[-1].broken:
                with suppress(psycopg.OperationalError):
                    held[-1].execute("select 1")
                    return
            held.append(stack.enter_context(psycopg.connect(server.maintenance.conninfo)))
            held[-1].execute("select pg_current_xact_id()")

        reopen()
        yield reopen


def recovery_of(one: Disturbance, answers: Sequence[Answered]) -> Recovery:
    """Return how it ended, with what was refused and dropped meanwhile."""
    covered = [answer for answer in answers if one.covers(answer)]
    refused, dropped = sum(map(_is_refused, covered)), sum(map(_is_dropped, covered))
    return Recovery(one.name, round(one.small - one.ended, 1), refused, dropped)


def _is_refused(answer: Answered) -> bool:
    return answer.status >= 500


def _is_dropped(answer: Answered) -> bool:
    return answer.status == 0


def _lines_left(conn: ops.Connection) -> int:
    row = conn.execute("select count(*) from ops.change_log").fetchone()
    assert row is not None, "a count is one row"
    return int(row[0])


def _rounds(conn: ops.Connection) -> int:
    """Return how many rounds the process that follows has made; each process counts its own."""
    row = following.read(conn)
    return 0 if row is None else row.rounds


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
    for recovery in report.recoveries:
        out.say(str(recovery))
    for name, why in report.untried.items():
        out.say(f"{name}: not tried, {why}")
    out.say(f"the window of the first rollback: {report.first_window_ms:g} ms; lines left: {report.left}")
    for line in report.missed:
        out.say(line)
    out.say(f"verdict: {report.verdict}")
