"""Measures a command: through dispatch and through HTTP, beside the bare driver and pgbench with the same SQL.

The four take turns in short rounds on one server and one database, so that what else the machine does hits all of them
alike; the ratios are of the medians of the rounds.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

from db.console.output import Output
from db.console.progress import Progress
from db.counts import count
from db.errors import Refusal
from db.servers.reaper_client import ReaperClient
from harness.bench import pgbench
from harness.bench.samples import Spread, TargetsJudgement, Threshold, Verdict, ratio
from harness.bench.setup import COMMANDS, FIRST, Setup, proxied
from harness.bench.targets import Bare, BenchTarget, Dispatched, Web
from harness.bench.workers import WorkerPool, processes
from harness.load.service_processes import Service

CLIENTS = (1, 8, 32)
JUDGED_CLIENTS = 8
LEAST_OF_PGBENCH = 0.2
LEAST_OF_CEILING = 0.4
PLAYERS_PER_REQUEST = 4
"""So that two clients of pgbench, which draw their players, seldom wait for each other."""


@dataclass(frozen=True)
class Measurement:
    """One action at one number of clients. Rates are medians of the rounds, in commands a second; times are of all."""

    action: str
    clients: int
    dispatch_tps: float
    ceiling_tps: float
    pgbench_tps: float | None
    ratio_ceiling: float | None
    ratio_pgbench: float | None
    dispatch: Spread
    http_tps: float
    http: Spread


@dataclass(frozen=True)
class ActionsReport:
    """All cells, and what they were measured on."""

    verdict: Verdict
    server: str
    settings: dict[str, str]
    processes: int
    rounds: int
    requests: int
    cells: list[Measurement]
    missed: tuple[str, ...]
    unmeasured: tuple[str, ...]


@dataclass
class CellRounds:
    """The rounds of one cell by side: rates, and seconds of each request where they are known."""

    tps: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, target: str, tps: float, seconds: Sequence[float] = ()) -> None:
        """Add the timings of one more round."""
        self.tps.setdefault(target, []).append(tps)
        self.seconds.setdefault(target, []).extend(seconds)

    def cell(self, action: str, clients: int) -> Measurement:
        """Return the results of all rounds so far."""
        dispatch, bench = self.tps["dispatch"], self.tps.get("pgbench", [])
        return Measurement(
            action=action,
            clients=clients,
            dispatch_tps=median(dispatch),
            ceiling_tps=median(self.tps["ceiling"]),
            pgbench_tps=median(bench) if bench else None,
            ratio_ceiling=ratio(dispatch, self.tps["ceiling"]),
            ratio_pgbench=ratio(dispatch, bench),
            dispatch=Spread.of(self.seconds["dispatch"]),
            http_tps=median(self.tps["http"]),
            http=Spread.of(self.seconds["http"]),
        )


def run(
    rounds: int, requests: int, kind: str | None, progress: Progress, *, clients: Sequence[int] = CLIENTS
) -> ActionsReport:
    """Measure every action at each number of clients, in so many rounds of so many requests a side.

    Raises Refusal for no round, or fewer requests than clients.
    """
    if rounds < 1 or requests < max(clients):
        raise Refusal(
            f"one round and {max(clients)} requests at least",
            f"{rounds} and {requests}",
            do=f"Say at least --rounds 1 --requests {max(clients)}",
        )
    cells = [(action, number) for action in COMMANDS for number in clients]
    measured = {cell: CellRounds() for cell in cells}
    progress.say("starting a throwaway Postgres")
    with (
        proxied(kind, requests * PLAYERS_PER_REQUEST) as made,
        WorkerPool(processes()) as workers,
        _service(made) as web,
    ):
        progress.say(
            f"measuring on {made.server}, {count(processes(), 'process', 'processes')},"
            f" {count(rounds, 'round')} of {count(requests, 'request')}"
        )
        turns = _turns(made, workers, web, requests, progress)
        with progress.bar("playing", len(cells) * len(turns) * rounds, "turns") as advance:
            for _round in range(rounds):
                for action, number in cells:
                    for turn in turns:
                        made.refill()
                        turn(measured[action, number], action, number)
                        advance(1)
        return _report([measured[cell].cell(*cell) for cell in cells], made, rounds, requests)


Turn = Callable[[CellRounds, str, int], None]


def _turns(made: Setup, workers: WorkerPool, web: Web, requests: int, progress: Progress) -> list[Turn]:
    targets: dict[str, BenchTarget] = {
        "dispatch": Dispatched(made.service),
        "ceiling": Bare(made.service, made.recorded),
        "http": web,
    }
    turns = [_played(name, target, made, workers, requests) for name, target in targets.items()]
    try:
        turns.insert(2, _benched(made, requests))
    except Refusal as error:
        progress.say(f"without pgbench: {error}")
    return turns


def _played(name: str, target: BenchTarget, made: Setup, workers: WorkerPool, requests: int) -> Turn:
    draw = Random(name)  # noqa: S311 - variety, not secrecy

    def turn(measured: CellRounds, action: str, clients: int) -> None:
        players = draw.sample(range(FIRST, FIRST + made.players), requests)
        run = f"{secrets.randbelow(10**9)}"
        played = workers.play(target, action, [str(player) for player in players], clients, run)
        measured.add(name, played.tps, played.seconds)

    return turn


def _benched(made: Setup, requests: int) -> Turn:
    tool = made.server.tool("pgbench")
    scripts = {action: pgbench.script(statements, made.players) for action, statements in made.recorded.items()}

    def turn(measured: CellRounds, action: str, clients: int) -> None:
        measured.add("pgbench", pgbench.run(tool, made, scripts[action], clients=clients, requests=requests))

    return turn


@contextmanager
def _service(made: Setup) -> Iterator[Web]:
    """Start the real service on the same database, with as many processes as cores."""
    folder = Path(tempfile.gettempdir()) / f"sudamr-bench-{secrets.token_hex(6)}"
    reaper = ReaperClient()
    try:
        reaper.folder(folder)
        folder.mkdir(mode=0o700)
        service = Service(folder, reaper, processes())
        service.start(made.service.as_text())
        try:
            yield Web(service.urls, service.operator_token)
        finally:
            service.stop()
    finally:
        reaper.close()


def judge(cells: Sequence[Measurement]) -> TargetsJudgement:
    """Judge the rates at eight clients: dispatch is to reach a part of what each rival does."""
    thresholds = []
    for cell in cells:
        if cell.clients == JUDGED_CLIENTS:
            where = f"{cell.action} at {count(cell.clients, 'client')}"
            thresholds += [
                Threshold(f"{where}, of pgbench", cell.ratio_pgbench, least=LEAST_OF_PGBENCH),
                Threshold(f"{where}, of the ceiling", cell.ratio_ceiling, least=LEAST_OF_CEILING),
            ]
    return TargetsJudgement.of(thresholds)


def _report(cells: list[Measurement], made: Setup, rounds: int, requests: int) -> ActionsReport:
    judged = judge(cells)
    return ActionsReport(
        judged.verdict,
        str(made.server),
        made.settings(),
        processes(),
        rounds,
        requests,
        cells,
        judged.missed,
        judged.unmeasured,
    )


def show(report: ActionsReport, out: Output) -> None:
    """Print the report as two tables, and its verdict."""
    settings = ", ".join(f"{name}={value}" for name, value in report.settings.items())
    out.table(
        f"commands a second on {report.server} ({settings}), {count(report.processes, 'process', 'processes')}",
        ("action", "clients", "dispatch", "ceiling", "pgbench", "of ceiling", "of pgbench"),
        [
            (
                c.action,
                c.clients,
                c.dispatch_tps,
                c.ceiling_tps,
                _or_none(c.pgbench_tps),
                _or_none(c.ratio_ceiling),
                _or_none(c.ratio_pgbench),
            )
            for c in report.cells
        ],
    )
    out.table(
        "milliseconds of a command, by dispatch and over HTTP",
        ("action", "clients", "p50", "p95", "p99", "HTTP a second", "HTTP p50", "HTTP p95", "HTTP p99"),
        [
            (
                c.action,
                c.clients,
                c.dispatch.p50_ms,
                c.dispatch.p95_ms,
                c.dispatch.p99_ms,
                c.http_tps,
                c.http.p50_ms,
                c.http.p95_ms,
                c.http.p99_ms,
            )
            for c in report.cells
        ],
    )
    for line in (*report.missed, *report.unmeasured):
        out.say(line)
    out.say(f"verdict: {report.verdict}")


def _or_none(figure: float | None) -> float | str:
    return "-" if figure is None else figure
