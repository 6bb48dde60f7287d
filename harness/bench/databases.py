"""Measures a fresh migrated database: a clone and a reset of ours, beside the ways that others take.

They take turns on one server, some in a row a turn, as a worker that goes from case to case makes them. A reset is
timed after a claim_mail was played on the database: that is what a scenario leaves. It is restricted, as those are on
which scenarios are played, and for comparison one where the owner may have been. A container each is a server of its
own, and migrated; of those there are few.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import psycopg
from psycopg import sql

from db import ops, servers
from db.console.output import Output
from db.console.progress import Progress
from db.errors import Refusal
from db.samples import builders
from db.schema import migrate
from db.servers import Server
from game.postgres.store import PostgresStore
from game.rules.commands import ClaimMail
from harness.bench.samples import Spread, TargetsJudgement, Threshold, Verdict, ratio
from harness.bench.setup import ask
from harness.databases import ENVIRONMENT, Databases
from harness.play import arena

MOST_OF_BARE = 1.1
MOST_RESET_MS = 1.0
WARM = 3
"""Before the clock starts: the template is made, connections opened, the reset's plans kept."""

IN_A_ROW = 10
"""So many of one way before the next one has its turn."""

Turn = Callable[[], float]
"""Makes a fresh database, and gives the seconds that it took; what comes before and after is not counted."""


@dataclass(frozen=True)
class DatabasesReport:
    """Milliseconds by way. clone_of_bare: the medians' ratio to the bare CREATE DATABASE that is faster."""

    verdict: Verdict
    server: str
    rounds: int
    ways: dict[str, Spread]
    clone_of_bare: float | None
    missed: tuple[str, ...]
    unmeasured: tuple[str, ...]
    absent: dict[str, str]


def run(rounds: int, containers: int, kind: str | None, progress: Progress) -> DatabasesReport:
    """Let every way make so many databases, in turns, and so many containers start. Raises Refusal without a round."""
    if rounds < 1 or containers < 0:
        raise Refusal(
            "one round at least",
            f"{rounds} rounds, {containers} containers",
            do="Say at least --rounds 1 --containers 0",
        )
    absent: dict[str, str] = {}
    seconds: dict[str, list[float]] = {}
    progress.say("starting a throwaway Postgres")
    with servers.start(kind) as server, Databases(server) as databases, ExitStack() as stack:
        ways = _ways(server, databases, stack, absent)
        with progress.bar("making databases", (rounds + WARM) * len(ways), "databases") as advance:
            for count, warm in _turns(rounds):
                for name, turn in ways.items():
                    spent = [turn() for _ in range(count)]
                    seconds.setdefault(name, []).extend([] if warm else spent)
                    advance(count)
        seconds["container"] = _containers(containers, progress, absent)
        engine = str(server)
    return _report(engine, rounds, seconds, absent)


def _turns(rounds: int) -> Iterator[tuple[int, bool]]:
    """Return how many are made in each turn, and whether it is one of those before the clock starts."""
    yield WARM, True
    for done in range(0, rounds, IN_A_ROW):
        yield min(IN_A_ROW, rounds - done), False


def _ways(server: Server, databases: Databases, stack: ExitStack, absent: dict[str, str]) -> dict[str, Turn]:
    template = databases.template(fenced=False)
    admin = stack.enter_context(server.as_owner())
    ways: dict[str, Turn] = {
        "clone": lambda: _clone(databases),
        "bare": lambda: _bare(server, admin, template, ""),
        "bare, FILE_COPY": lambda: _bare(server, admin, template, " STRATEGY FILE_COPY"),
        "reset": stack.enter_context(_played(databases, restricted=True)),
        "reset, not restricted": stack.enter_context(_played(databases, restricted=False)),
    }
    if find_spec("pytest_postgresql") is None:
        absent["pytest-postgresql"] = "not installed; pip install '.[bench]'"
    else:
        ways["pytest-postgresql"] = lambda: _janitor(server, template)
    return ways


def _clone(databases: Databases) -> float:
    began = time.perf_counter()
    clone = databases.clone()
    spent = time.perf_counter() - began
    databases.drop(clone)
    return spent


def _bare(server: Server, admin: psycopg.Connection, template: str, strategy: str) -> float:
    name = f"{server.mark}{secrets.token_hex(4)}"
    query = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    began = time.perf_counter()
    admin.execute(query.as_bytes() + strategy.encode())
    spent = time.perf_counter() - began
    server.drop_database(name)
    return spent


@contextmanager
def _played(databases: Databases, *, restricted: bool) -> Iterator[Turn]:
    """Make a database on which a player claims a mail in each turn, before the timed reset."""
    clone = databases.clone(restricted=restricted)
    rows = builders.player("mina", gold=100, mail={"mail": {"gold": 50, "items": {"하급 강화석": 1}}})
    store = PostgresStore(clone.service, pool_size=1)
    with psycopg.connect(clone.service.conninfo) as conn:

        def turn() -> float:
            with conn.transaction():
                arena.insert(conn, rows)
            ask(store, "mina", "request", ClaimMail("mail"))
            began = time.perf_counter()
            databases.reset(clone)
            return time.perf_counter() - began

        yield turn
    store.close()
    databases.drop(clone)


def _janitor(server: Server, template: str) -> float:
    """Do as pytest-postgresql's fixture for each test: its janitor's init, from a template that was loaded once."""
    from pytest_postgresql.janitor import DatabaseJanitor  # noqa: PLC0415  # an optional dependency

    url = server.maintenance
    owner = server.url(url.dbname, "owner")
    janitor = DatabaseJanitor(
        user=owner.user,
        password=owner.password,
        host=owner.host,
        port=owner.port,
        dbname=f"{server.mark}{secrets.token_hex(4)}",
        template_dbname=template,
        maintenance_dbname=url.dbname,
    )
    began = time.perf_counter()
    janitor.init()
    spent = time.perf_counter() - began
    janitor.drop()
    return spent


def _containers(count: int, progress: Progress, absent: dict[str, str]) -> list[float]:
    """Return the seconds of each: from nothing to a migrated database in a container of its own."""
    try:
        plan = servers.plan("docker")
    except Refusal as error:
        absent["container"] = error.found
        return []
    seconds = []
    with progress.bar("starting containers", count, "containers") as advance:
        for _ in range(count):
            began = time.perf_counter()
            with plan.start() as server:
                _migrated(server)
                seconds.append(time.perf_counter() - began)
            advance(1)
    return seconds


def _migrated(server: Server) -> None:
    name = f"{server.mark}bench"
    server.create_database(name)
    owner = server.url(name, "owner")
    ops.prepare(owner, ENVIRONMENT)
    migrate.migrate(owner, environment=ENVIRONMENT, service_role=server.url(name, "service").user)


def _report(server: str, rounds: int, seconds: dict[str, list[float]], absent: dict[str, str]) -> DatabasesReport:
    ways = {name: Spread.of(spent) for name, spent in seconds.items() if spent}
    faster = min(("bare", "bare, FILE_COPY"), key=lambda name: ways[name].p50_ms)
    of_bare = ratio(seconds["clone"], seconds[faster])
    judged = TargetsJudgement.of(
        [
            Threshold("clone, p50, to the bare one", of_bare, most=MOST_OF_BARE),
            Threshold("reset, p50 in ms", ways["reset"].p50_ms, most=MOST_RESET_MS),
            *(Threshold(f"{name}: {why}", None) for name, why in absent.items()),
        ]
    )
    return DatabasesReport(judged.verdict, server, rounds, ways, of_bare, judged.missed, judged.unmeasured, absent)


def show(report: DatabasesReport, out: Output) -> None:
    """Print the report as a table, and its verdict."""
    rows = [(name, way.p50_ms, way.p95_ms, way.samples) for name, way in report.ways.items()]
    out.table(f"milliseconds to a fresh migrated database on {report.server}", ("way", "p50", "p95", "of"), rows)
    for name, why in report.absent.items():
        out.say(f"without {name}: {why}")
    for line in report.missed:
        out.say(line)
    out.say(f"verdict: {report.verdict}")
