"""A small game to move: a legacy file of ten players, a database that is only prepared, and the service under way."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from db import environments, ops, transfer, web
from db.cutover import moves, pointer, services
from db.cutover.context import RunConfig
from db.cutover.ports import SmokeResult
from db.cutover.report import RunReport
from db.environments import Environment, Hooks, Pointer, Policy, SnapshotPlan
from db.errors import Failure
from db.legacy.comparison import compare_files
from db.samples import seed
from db.servers import Server
from game.errors import FENCE_SQLSTATE
from game.legacy import capture_schema, codec, sqlite_values
from game.legacy import fence as legacy_fence
from game.service import tokens
from game.urls import LegacyUrl, PostgresUrl
from harness.load.service_processes import free_ports
from tests.db.cutover.follower import following, restart
from tests.fixtures.spawning import SPAWN

PLAYERS = 10
OPERATOR_TOKEN = "operator-token-of-the-tests"
TOKEN_SECRET = "token-secret-of-the-tests"
CHANCE_SECRET = "dice-of-the-tests-only"
KILL_THE_RUN = "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat)"
"""A hook that kills the run that started it: its parent is the shell that holds the hooks' lock, then comes the run."""


@dataclass(frozen=True)
class World:
    """A world for one move, and the questions that tests ask of it."""

    env: Environment
    folder: Path
    server: Server
    before: Path
    unfinished: tuple[tuple[str, str], ...]

    @property
    def owner(self) -> PostgresUrl:
        return self.env.target_direct

    def cutover(self, **wish: Any) -> RunReport:
        """A run of the cutover in this process."""
        given: dict[str, Any] = {"evidence": proven, "smoke": quiet_smoke, "tools": self.server.tool, **wish}
        return run_cutover(self.env, folder=self.runs, **given)

    def rollback(self, **wish: Any) -> RunReport:
        """A run of the rollback in this process."""
        given: dict[str, Any] = {"smoke": quiet_smoke, "tools": self.server.tool, **wish}
        return run_rollback(self.env, folder=self.runs, **given)

    def dies(self, when: str, step: str, verb: Callable[..., Any], **wish: Any) -> int:
        """The exit code of a run in a process of its own that kills itself at the step: -9 where it came to it."""
        process = SPAWN.Process(target=_die, args=(self.env, self.folder, self.server.handle(), when, step, verb, wish))
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    def phase(self) -> str:
        with ops.connect(self.owner) as conn:
            return str(ops.phase(conn))

    def run_of_the_phase(self) -> str:
        with ops.connect(self.owner) as conn:
            return str(ops.phase_run(conn))

    def legacy_fence(self) -> str:
        with closing(sqlite_values.connect(self.env.legacy.path, readonly=True)) as connection:
            return legacy_fence.state(connection)

    def captured(self) -> bool:
        """Return True if the legacy file bears anything of change capture."""
        with closing(sqlite_values.connect(self.env.legacy.path, readonly=True)) as connection:
            return bool(capture_schema.own(connection))

    def engine(self) -> str:
        """Return the store that the service says it serves."""
        ready = services.ask(self.env.services[0])
        return ready.engine if ready else "nobody answers"

    def act(self, n: int, request: str) -> httpx.Response:
        """A player finishes the n-th of the tournaments that are under way, over HTTP."""
        player, kind = self.unfinished[n]
        return self._ask(player, "finish_tournament", {"kind": kind}, request)

    def save(self, n: int, request: str) -> httpx.Response:
        """The n-th of these players saves a preset, over HTTP, which is granted always."""
        return self._ask(self.unfinished[n][0], "save_preset", {"name": "live"}, request)

    def _ask(self, player: str, action: str, body: dict[str, str], request: str) -> httpx.Response:
        return httpx.post(
            f"{self.env.services[0]}/players/{player}/actions/{action}",
            json=body,
            timeout=20,
            verify=web.authorities(),
            headers={"Idempotency-Key": request, "Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, player)}"},
        )

    def legacy_refuses(self) -> bool:
        """Return True if the legacy file itself refuses a write."""
        with closing(sqlite_values.connect(self.env.legacy.path)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE users SET gold = gold + 1")
            except sqlite3.IntegrityError as error:
                return legacy_fence.refused_by(error) is not None
            return False

    def postgres_refuses(self) -> bool:
        """Return True if Postgres itself refuses a write of the service's role."""
        with psycopg.connect(self.env.target.conninfo) as conn:
            try:
                conn.execute("UPDATE users SET gold = gold + 1")
            except psycopg.Error as error:
                return error.sqlstate == FENCE_SQLSTATE
            finally:
                conn.rollback()
            return False

    def assert_whole_on_legacy(self) -> None:
        """Players play on the legacy file, which is as it was to the byte of every cell; Postgres takes no write."""
        assert (self.legacy_fence(), self.engine()) == ("open", "legacy")
        self.assert_same_as_before()
        assert self.env.pointer.path.read_text() == self.pointer_before
        assert self.phase() in ("empty", "aborted")

    def assert_same_as_before(self) -> None:
        """The legacy file's contents are those from before everything."""
        assert compare_files(self.before, self.env.legacy.path) == []

    def assert_whole_on_postgres(self) -> None:
        """Players play on Postgres, from which the legacy file can be rebuilt to the byte; the file moved."""
        self.assert_open_on_postgres()
        assert transfer.prove(self.before, self.owner).mismatches == 0

    def assert_open_on_postgres(self) -> None:
        """Players play on Postgres and nowhere else."""
        assert (self.phase(), self.legacy_fence(), self.engine()) == ("live", "moved", "postgres")
        assert isinstance(pointer.url(self.env.pointer), PostgresUrl)
        assert not self.postgres_refuses()

    @contextmanager
    def on_another_server(self) -> Iterator[World]:
        """The same game with another database to move to, as when the operator gives the first one up."""
        name = f"{self.server.mark}{secrets.token_hex(4)}"
        self.server.create_database(name)
        try:
            ops.prepare(self.server.url(name), "test")
            yield self.with_(target_direct=self.server.url(name), target=self.server.url(name, "service"))
        finally:
            self.server.drop_database(name)

    def write_to_legacy(self, statement: str) -> None:
        """Write to the file as somebody does who knows of no move."""
        with closing(sqlite3.connect(self.env.legacy.path, timeout=20)) as connection:
            connection.executescript(statement)

    def lift_legacy(self) -> None:
        """Open the file by hand, as nobody should."""
        with closing(sqlite_values.connect(self.env.legacy.path)) as connection:
            legacy_fence.lift(connection)

    def cut(self) -> None:
        """End every session of this database, as a failover does."""
        with ops.connect(self.superuser) as conn:
            query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            conn.execute(query, [self.owner.dbname])

    @property
    def superuser(self) -> PostgresUrl:
        """In another database, so that this one's connections can be ended."""
        return self.server.maintenance

    @property
    def pointer_before(self) -> str:
        return (self.folder / "service.env.before").read_text()

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def journals(self) -> str:
        """All that any run logged."""
        return "\n".join(path.read_text() for path in sorted(self.runs.glob("*/journal.jsonl")))

    def with_(self, **changes: Any) -> World:
        return dataclasses.replace(self, env=dataclasses.replace(self.env, **changes))


def proven(env: Environment) -> None:
    """Evidence that is always there."""


def quiet_smoke(services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
    """A smoke that always passes."""
    return SmokeResult(1)


def failing_smoke(services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
    """A smoke that does not."""
    return SmokeResult(1, ("reward/claim: expected granted; found refused bag_full",))


def failing_before(step: str) -> Callable[[str, str], None]:
    """An observer that fails the run before this step."""

    def observer(when: str, name: str) -> None:
        if (when, name) == ("before", step):
            raise Failure("a step that is carried out", "one that a test stops")

    return observer


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition holds; fail after `seconds`."""
    Retrying(retry=retry_if_result(lambda held: not held), stop=stop_after_delay(seconds), wait=wait_fixed(0.02))(holds)


def run_cutover(env: Environment, *, evidence: Any = None, **options: Any) -> RunReport:
    """Run the cutover; options: of RunConfig."""
    return moves.cut_over(env, RunConfig(**options), evidence=evidence or proven)


def run_rollback(
    env: Environment, *, discard_writes: bool = False, accept_loss: int | None = None, **options: Any
) -> RunReport:
    """Run the rollback; options: of RunConfig."""
    return moves.roll_back(env, RunConfig(**options), discard_writes=discard_writes, accept_loss=accept_loss)


def _die(
    env: Environment, folder: Path, handle: str, when: str, step: str, verb: Callable[..., Any], wish: dict[str, Any]
) -> None:
    def observer(moment: str, name: str) -> None:
        if (moment, name) == (when, step):
            os.kill(os.getpid(), signal.SIGKILL)

    given = {"smoke": quiet_smoke, "tools": Server.attach(handle).tool, **wish}
    verb(env, folder=folder / "runs", observer=observer, **given)


@contextmanager
def running(environ: dict[str, str], url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The service, until it answers and for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-m", "game.service"], env={**os.environ, **environ})
    try:
        services.wait_for([url], lambda _: True, what="the service to answer", timeout_seconds=120)
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """The game before a cutover: the service serves the legacy file."""
    with made(server, tmp_path) as world:
        yield world


@pytest.fixture(scope="module")
def live(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The game after a cutover, for tests that leave it so."""
    with made(server, tmp_path_factory.mktemp("live")) as world:
        world.cutover()
        yield world


@contextmanager
def made(server: Server, tmp_path: Path, disk: Path | None = None, players: int = PLAYERS) -> Iterator[World]:
    """A world with a database of its own, which goes with it. disk: the folder of the legacy file; None: `tmp_path`."""
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    try:
        with played(server, server.url(name), tmp_path, disk, players) as world:
            yield world
    finally:
        server.drop_database(name)


@contextmanager
def quiet_world(server: Server, tmp_path: Path) -> Iterator[World]:
    """A world whose service is a stand-in that follows the pointer: hundreds of moves in the time of ten."""
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    try:
        with following(tmp_path / "service.env") as url:
            made = furnished(server, server.url(name), tmp_path, url, restart(tmp_path / "service.env"))
            yield made
    finally:
        server.drop_database(name)


@contextmanager
def played(
    server: Server, blank: PostgresUrl, tmp_path: Path, disk: Path | None = None, players: int = PLAYERS
) -> Iterator[World]:
    """The file, the pointer, the hooks and the service."""
    port, pidfile = free_ports(1), tmp_path / "pid"
    url = f"http://127.0.0.1:{port}"
    restart = f"kill -HUP $(cat {pidfile})"
    settings = f"PRIVATE_PORT={port}\nPORT={free_ports(1)}\nPIDFILE={pidfile}\n"
    world = furnished(server, blank, tmp_path, url, restart, settings, disk, players)
    with running({"SUDAMR_ENV_FILE": str(world.env.pointer.path)}, url):
        yield world


def furnished(
    server: Server,
    blank: PostgresUrl,
    tmp_path: Path,
    url: str,
    restart: str,
    settings: str = "",
    disk: Path | None = None,
    players: int = PLAYERS,
) -> World:
    """The file, the pointer and the hooks, before any service runs."""
    legacy = (disk or tmp_path) / "game.db"
    seed.seed_legacy(legacy, players, anomalies=False)
    before = Path(shutil.copy(legacy, tmp_path / "before.db"))
    ops.prepare(blank, "test")
    env_file = tmp_path / "service.env"
    env_file.write_text(
        f"# Where the players are\nDATABASE_URL=file:{legacy}\n{settings}"
        f"CHANCE_SECRET={CHANCE_SECRET}\nTOKEN_SECRET={TOKEN_SECRET}\nOPERATOR_TOKEN={OPERATOR_TOKEN}\n"
    )
    shutil.copy(env_file, tmp_path / "service.env.before")
    env = environments.throwaway(
        owner=blank,
        service=server.url(blank.dbname, "service"),
        legacy=legacy,
        folder=tmp_path,
        pointer=Pointer(env_file),
        services=(url,),
        hooks=Hooks(restart=restart),
        policy=Policy(freeze_budget_seconds=60, max_held=100, watch_seconds=0),
        snapshots=SnapshotPlan(tmp_path / "snapshots"),
    )
    return World(env, tmp_path, server, before, tuple(_unfinished(legacy)))


def _unfinished(legacy: Path) -> Iterator[tuple[str, str]]:
    """Players and kinds of tournaments that they can finish."""
    with closing(sqlite_values.connect(legacy, readonly=True)) as connection:
        cursor = connection.execute("SELECT * FROM users")
        names = [column[0] for column in cursor.description]
        for values in cursor:
            rows = codec.decode_row(dict(zip(names, values, strict=True)), rowid=1).rows
            for (player, kind), record in rows.get("user_tournaments", {}).items():
                if record["status"] in ("bracket_ready", "round_in_progress"):
                    yield str(player), str(kind)
