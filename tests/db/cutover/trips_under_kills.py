"""Round trips under kills: a game with two service processes, whose tools, followers and servers are killed for real.

Everything is drawn from one seed: who is killed, at which of the tool's places, and how long after it came there.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import psutil

from db import environments, ops
from db.cutover import services
from db.cutover.context import FAILURES
from db.environments import Environment, Hooks, Policy, SnapshotPlan
from db.errors import ToolError
from db.follow.ending_signals import GentleSignals
from db.follow.loop import FollowConfig, follow
from db.ops import Phase
from db.samples import seed as samples
from db.servers import Server
from db.servers.reaper_client import ReaperClient
from db.snapshots import kept
from db.transfer.live import throttle
from game.rules.chance import Chance
from game.stores import open_store
from game.urls import LegacyUrl, PostgresUrl
from harness.cli.commands import environment_status
from harness.history.checking import Judged
from harness.history.recording import HistoryRecorder, heads
from harness.load import scripts
from harness.load.server_crash import answers, crash
from harness.load.service_processes import Service
from harness.load.virtual_users import VirtualUsers
from harness.rehearsal.setup import copy
from tests.db.cutover.cutover_world import quiet_smoke, run_cutover, run_rollback, wait_until
from tests.fixtures.spawning import SPAWN

PLAYERS, ASKING, CLIENTS = 80, 40, 4
COMMANDS = 1_100
"""Of each player who asks: more than ten trips take."""

PLACES = 30
"""A run tells its observer of about so many."""

MOST_DELAY_SECONDS = 0.5
MOST_RUNS = 10
"""Of one move: of them two are struck at most, and then nothing is in the way."""

STRUCK_RUNS = 2
ABORTED = 0.25
"""The share of the struck runs that are undone, where `status` says that they may be."""

HANGS_SECONDS = 300.0
PATIENT = Policy(freeze_budget_seconds=86_400, max_held=100, watch_seconds=0)
FOLLOWER = "the process that follows"
VICTIMS = ("the tool", "the tool with its watchdog", "the watchdog", FOLLOWER, "a service", "Postgres")
VERBS = {"cutover": run_cutover, "rollback": run_rollback}
LAST = {"cutover": "live", "rollback": "returned"}


@dataclass(frozen=True)
class Strike:
    """Whom to kill when the tool comes to its n-th place, and how many seconds after that."""

    victim: str
    place: int
    delay: float

    def __str__(self) -> str:
        return f"{self.victim} at place {self.place} and {self.delay * 1000:.0f} ms"


@dataclass
class Trips:
    """A game that goes there and back. struck: how often each victim was killed; dead_ends: in words."""

    server: Server
    env: Environment
    folder: Path
    service: Service
    users: VirtualUsers
    recorder: HistoryRecorder
    draw: Random
    struck: Counter[str] = field(default_factory=Counter)
    undone: int = 0
    runs: int = 0
    dead_ends: list[str] = field(default_factory=list)
    _follower: BaseProcess | None = None

    @property
    def acknowledged(self) -> int:
        """Return how many requests a client was told are granted."""
        return len(self.users.answers.requests.grants)

    def trip(self, acknowledged: int) -> None:
        """Go there and back while players play; until so many requests are acknowledged on the way."""
        self.move("cutover")
        self.recorder.switched(heads(self.env.legacy))
        self._follow()
        if self.draw.random() < 0.5:
            self._kill_the_follower()
            self._follow()
        before = self._kept()
        self.move("rollback")
        (schema,) = self._kept() - before
        self.recorder.switched(heads(replace(self.env.target_direct, schema=schema)))
        wait_until(lambda: self.acknowledged >= acknowledged, HANGS_SECONDS)

    def move(self, verb: str) -> None:
        """Run the move until it is made: struck, gone on with, or undone and begun again."""
        for number in range(MOST_RUNS):
            strike = self._strike() if number < STRUCK_RUNS else None
            ended = self._run(verb, strike)
            self._say(f"{verb}, struck: {strike or 'nobody'}: {ended}")
            if ended == LAST[verb]:
                return
            if self._next(verb) and strike and self.draw.random() < ABORTED:
                ended = self._run(verb, None, abort=True)
                self.undone += ended == "undone"
                self._say(f"{verb} --abort: {ended}")
                self._next(verb)
        self.dead_ends.append(f"{verb}: not made in {MOST_RUNS} runs; {self._status()}")

    def end(self) -> None:
        """End the process that follows."""
        if self._follower is not None:
            self._follower.kill()
            self._follower.join()

    def judged(self) -> Judged:
        """Wait until every request is answered, and judge the history of every player."""
        self.users.play(1)
        with closing(open_store(self.env.legacy.as_text())) as store:
            return self.recorder.judge(self.users.answers.requests, store)

    def _strike(self) -> Strike | None:
        if self.draw.random() < 0.15:
            return None
        victim = self.draw.choice(VICTIMS)
        return Strike(victim, self.draw.randrange(1, PLACES + 1), self.draw.random() * MOST_DELAY_SECONDS)

    def _run(self, verb: str, strike: Strike | None, *, abort: bool = False) -> str:
        """Run the tool in a process of its own; return its last word, or how it was killed."""
        self.runs += 1
        output = self.folder / f"tool-{self.runs}"
        follower = None if self._follower is None else self._follower.pid
        given = (
            self.env,
            self.folder,
            self.server.handle(),
            verb,
            strike,
            abort,
            follower,
            self.service.operator_token,
        )
        tool = SPAWN.Process(target=_move, args=(*given, output))
        tool.start()
        tool.join(HANGS_SECONDS)
        if tool.is_alive():
            tool.kill()
            tool.join()
            self.dead_ends.append(f"{verb}, struck: {strike}: hangs; {output.read_text()[-2000:]}")
        wait_until(lambda: answers(self.server), HANGS_SECONDS)
        lines = output.read_text().splitlines()
        if struck := [line for line in lines if line.startswith("struck: ")]:
            self.struck[struck[0].removeprefix("struck: ")] += 1
        self._note_epoch()
        return "killed" if tool.exitcode == -signal.SIGKILL else lines[-1]

    def _next(self, verb: str) -> bool:
        """Read what `status` says, until it names the move or its undoing, or says that none is under way.

        Return True if the move may be undone. A tool that is killed at its very end has made it.
        """
        said: list[str] = []

        def names_the_move() -> bool:
            said.append(self._status())
            return f"invoke {verb} " in said[-1] or "no move is under way" in said[-1]

        try:
            wait_until(names_the_move, 60)
        except Exception:  # noqa: BLE001 - of whatever kind, it is a dead end; and it is reported
            self.dead_ends.append(f"after {verb}: {said[-1]}")
        return self._phase() in (Phase.LOADING if verb == "cutover" else Phase.LIVE,)

    def _status(self) -> str:
        rows = dict(environment_status.status(self.env).rows)
        return str(rows.get("next"))

    def _phase(self) -> Phase:
        with ops.connect(self.env.target_direct) as conn:
            return ops.phase(conn)

    def _kept(self) -> set[str]:
        with ops.connect(self.env.target_direct) as conn:
            query = "select nspname from pg_namespace where starts_with(nspname, %s)"
            return {str(name) for (name,) in conn.execute(query, (kept.ROLLED_BACK,))}

    def _note_epoch(self) -> None:
        """Note the epoch of the store on which players play: an undone move gives the file another."""
        store: PostgresUrl | LegacyUrl = self.env.target if self._phase() is Phase.LIVE else self.env.legacy
        with closing(open_store(store.as_text())) as opened:
            self.recorder.played_on(opened)

    def _follow(self) -> None:
        self._follower = SPAWN.Process(target=_follow, args=(self.env, self.folder / f"follow-{self.runs}"))
        self._follower.start()

    def _kill_the_follower(self) -> None:
        assert self._follower is not None
        self._follower.join(self.draw.random() * 5)
        self._follower.kill()
        self._follower.join()
        self.struck[FOLLOWER] += 1

    def _say(self, line: str) -> None:
        print(f"  {time.strftime('%H:%M:%S')} {self.acknowledged:6,} acknowledged · {line}", flush=True)


@contextmanager
def made(server: Server, folder: Path, seed: int) -> Iterator[Trips]:
    """Make the game, and have its players play for as long as the block lasts."""
    reaper = ReaperClient()
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    service = Service(folder, reaper)
    try:
        legacy = folder / "game.db"
        samples.seed_legacy(legacy, PLAYERS, anomalies=False)
        copy(legacy, folder / "before.db")
        service.start(LegacyUrl(legacy).as_text())
        env = _environment(server, name, folder, service)
        planned = _scripts(folder / "before.db", seed)
        with closing(open_store(env.legacy.as_text())) as store:
            recorder = HistoryRecorder(store, planned, partial(Chance, service.chance_secret))
        with VirtualUsers(service.public_urls, planned, token_of=service.token_of, clients=CLIENTS, seed=seed) as users:
            users.allow(ASKING * COMMANDS)
            trips = Trips(server, env, folder, service, users, recorder, Random(seed))
            try:
                yield trips
            finally:
                trips.end()
    finally:
        service.stop()
        reaper.close()
        server.drop_database(name)


def _environment(server: Server, name: str, folder: Path, service: Service) -> Environment:
    ops.prepare(server.url(name), environments.THROWAWAY)
    return environments.throwaway(
        owner=server.url(name),
        service=server.url(name, "service"),
        legacy=folder / "game.db",
        folder=folder,
        pointer=service.pointer,
        services=service.urls,
        hooks=Hooks(restart=service.restart),
        policy=PATIENT,
        snapshots=SnapshotPlan(folder / "snapshots"),
    )


def _scripts(path: Path, seed: int) -> dict[str, scripts.Script]:
    """Return long scripts: commands of all kinds, with presets between them, which are granted always."""
    planned = scripts.read(path, players=ASKING, seed=seed)
    draw = Random(seed)
    for script in planned.values():
        for _ in range(COMMANDS - len(script)):
            preset: tuple[str, dict[str, object]] = ("save_preset", {"name": draw.choice(scripts.PRESETS)})
            script.insert(draw.randrange(len(script) + 1), preset)
    return planned


def _move(
    env: Environment,
    folder: Path,
    handle: str,
    verb: str,
    strike: Strike | None,
    abort: bool,
    follower: int | None,
    operator_token: str,
    output: Path,
) -> None:
    """Run the tool; the last line of the output says how it ended."""
    sys.stdout = sys.stderr = output.open("w", buffering=1)
    throttle.LEAST_SHARE = 1.0  # No pause for the players' sake: what is killed here need not be slow too.
    server = Server.attach(handle)
    places: list[str] = []

    def hit() -> None:
        assert strike is not None
        print(f"struck: {strike.victim}")
        KILLS[strike.victim](env, server, follower)

    def observer(when: str, step: str) -> None:
        places.append(f"{when} {step}")
        print(f"place {len(places)}: {places[-1]}")
        if strike is not None and len(places) == strike.place:
            timer = threading.Timer(strike.delay, hit)
            timer.daemon = True
            timer.start()

    wish = {"abort": True} if abort else {"offline": False}
    try:
        report = VERBS[verb](
            env,
            folder=folder / "runs",
            smoke=quiet_smoke,
            tools=server.tool,
            observer=observer,
            operator_token=operator_token,
            **wish,
        )
        print(report.verdict)
    except (ToolError, *FAILURES) as error:
        print(re.sub(r"\s+", " ", f"{type(error).__name__}: {error}"))


def _kill_watchdogs() -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "db.cutover.watchdog" in " ".join(child.cmdline()):
                child.kill()


def _kill_the_tool(_env: Environment, _server: Server, _follower: int | None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_both(env: Environment, server: Server, follower: int | None) -> None:
    _kill_watchdogs()
    _kill_the_tool(env, server, follower)


def _kill_the_follower(env: Environment, server: Server, follower: int | None) -> None:
    if follower is None:
        _kill_the_tool(env, server, follower)
        return
    with suppress(ProcessLookupError):
        os.kill(follower, signal.SIGKILL)


def _kill_a_service(env: Environment, _server: Server, _follower: int | None) -> None:
    for url in env.services:
        if (ready := services.ask(url)) is not None:
            os.kill(ready.pid, signal.SIGKILL)
            return


KILLS: dict[str, Callable[[Environment, Server, int | None], None]] = dict(
    zip(
        VICTIMS,
        (
            _kill_the_tool,
            _kill_both,
            lambda *_given: _kill_watchdogs(),
            _kill_the_follower,
            _kill_a_service,
            lambda _env, server, _follower: crash(server),
        ),
        strict=True,
    )
)


def _follow(env: Environment, output: Path) -> None:
    sys.stdout = sys.stderr = output.open("w", buffering=1)
    with GentleSignals() as signals:
        follow(env, FollowConfig(signals=signals))
