"""A small game that is struck hundreds of times: a legacy file, a database behind a wire proxy, a service, players.

Every start is prepared once and put back in some 60 ms: the folder is copied, and the database is made again from a
template under the same name and object id, so that fences and pointers that name it name it still.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from db import environments, ops
from db.cutover import switch
from db.environment_plans import Hooks
from db.environments import Environment, Pointer, Policy
from db.samples import seed
from db.servers import Server
from db.snapshots.postgres import SCRATCH, clear_abandoned
from game.legacy import sqlite_values
from game.stores import open_store
from harness import wire
from harness.history.checking import Judged
from harness.history.client_log import ClientLog, ClientRequest
from harness.history.recording import HistoryRecorder
from harness.load import scripts
from harness.rehearsal import comparison
from harness.strikes.follower import Follower, answering, restart
from harness.strikes.players import CHANCE, Players
from harness.strikes.watcher import WATCHER, Watcher
from harness.wire import Proxy

PLAYERS = 6
SEED = 3


@dataclass(frozen=True)
class Start:
    """The start of strikes: a template, a copy of the folder, and what players asked and were told by then."""

    template: str
    folder: Path
    asked: tuple[ClientRequest, ...]

    @property
    def log(self) -> ClientLog:
        """Return a copy of the log, for a case to go on with."""
        return ClientLog(earlier=self.asked)


class World:
    """Everything that one move needs. env: by way of the proxy. folder: of the game, below the caller's.

    second: what the second process of the service answers at /readyz; it follows the pointer unless it is replaced.
    """

    def __init__(self, server: Server, folder: Path, resources: ExitStack) -> None:
        self.server = server
        self.folder = folder / "game"
        self.folder.mkdir()
        self._kept = folder
        self._resources = resources
        self._name = f"{server.mark}{secrets.token_hex(4)}"
        self._oid = self._make(resources)
        self.proxy = resources.enter_context(Proxy(wire.address(server.maintenance)))
        self.follower = Follower(self.folder / "service.env", self._past_the_proxy)
        resources.callback(self.follower.leave)
        self.second: Callable[[], dict[str, object]] = self.follower.ready
        services = (self.follower.ready, self._of_the_second)
        self.env = self._environment([resources.enter_context(answering(ready)) for ready in services])
        self._furnish()
        self.source = folder / "before.db"
        shutil.copy(self.env.legacy.path, self.source)
        self.scripts = scripts.read(self.source, players=PLAYERS, seed=SEED)

    def _make(self, resources: ExitStack) -> int:
        self._admin = resources.enter_context(self.server.admin())
        resources.callback(self._remove)
        self.server.create_database(self._name)
        ops.prepare(self.server.url(self._name), environments.THROWAWAY)
        row = self._admin.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [self._name]).fetchone()
        assert row is not None
        return int(row[0])

    def _environment(self, services: Sequence[str]) -> Environment:
        return environments.throwaway(
            owner=self.proxy.url(self.server.url(self._name)),
            service=self.proxy.url(self.server.url(self._name, "service")),
            legacy=self.folder / "game.db",
            folder=self.folder,
            pointer=Pointer(self.folder / "service.env"),
            services=tuple(services),
            hooks=Hooks(restart=restart(self.folder / "service.env")),
            policy=Policy(freeze_budget_seconds=120, max_held=100, watch_seconds=0),
        )

    def _furnish(self) -> None:
        seed.seed_legacy(self.env.legacy.path, PLAYERS, anomalies=False)
        self.env.pointer.path.write_text(f"DATABASE_URL={self.env.legacy.as_text()}\n")
        shutil.copy(self.env.pointer.path, self.env.pointer.path.with_name("service.env.served"))

    def _past_the_proxy(self, url: str) -> str:
        """Return a URL of the pointer as the service opens it: its round trips are none of the tool's."""
        for role in ("owner", "service"):
            direct = self.server.url(self._name, role)
            if url == self.proxy.url(direct).as_text():
                return direct.as_text()
        return url

    def _of_the_second(self) -> dict[str, object]:
        return self.second()

    def url_of(self, engine: str) -> str:
        """Return the URL by which the service opens a store."""
        return (self.server.url(self._name, "service") if engine == "postgres" else self.env.legacy).as_text()

    def players(self, log: ClientLog) -> Players:
        """Return players who have asked and were told this much."""
        return Players(self.follower.store, self.scripts, log)

    @contextmanager
    def watcher(self) -> Iterator[Watcher]:
        """Open connections that look from outside."""
        owner, service = self.server.url(self._name), self.server.url(self._name, "service")
        with closing(Watcher(owner, service, self.env.legacy.path, lambda: switch.pointed(self.env))) as watcher:
            yield watcher

    def judge(self, asked: Iterable[ClientRequest], engine: str) -> Judged:
        """Judge what players asked and were told since the beginning, by the store on which they play now."""
        with closing(open_store(f"file:{self.source}", pool_size=1)) as source:
            recorder = HistoryRecorder(source, self.scripts, CHANCE)
        with closing(open_store(self.url_of(engine), pool_size=1)) as store:
            return recorder.judge(asked, store)

    def altered(self, asked: Iterable[ClientRequest], engine: str) -> list[str]:
        """Return a sentence for each byte that differs from the first file, except in players who acted."""
        acted = {request.player for request in asked}
        if engine == "legacy":
            return comparison.compare(self.source, self.env.legacy.path, acted).differences
        with (
            closing(open_store(self.url_of(engine), pool_size=1)) as now,
            closing(open_store(f"file:{self.source}", pool_size=1)) as before,
        ):
            left = [player for player in self._everyone() if player not in acted]
            return [f"{player}: not as before" for player in left if now.read(player) != before.read(player)]

    def _everyone(self) -> list[str]:
        with closing(sqlite_values.connect(self.source, readonly=True)) as connection:
            return [str(player) for (player,) in connection.execute("SELECT id FROM users")]

    def cut_sessions(self) -> None:
        """End every session of the game's database, as a failover or a time limit does."""
        query = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND application_name <> %s"
        )
        self._admin.execute(query, [self._name, WATCHER])

    def save(self, asked: Iterable[ClientRequest]) -> Start:
        """Keep this state to begin from."""
        template = f"{self._name}_{secrets.token_hex(3)}"
        folder = self._kept / template
        self.follower.leave()
        self.cut_sessions()
        self._resources.callback(self._drop, template)
        self._copy(self._name, template)
        shutil.copytree(self.folder, folder)
        return Start(template, folder, tuple(ClientLog(earlier=asked)))

    def restore(self, start: Start) -> None:
        """Put the state back, and drop what killed runs left on the server."""
        self.follower.leave()
        self._remove()
        self._copy(start.template, self._name, self._oid)
        shutil.rmtree(self.folder)
        shutil.copytree(start.folder, self.folder)

    def _remove(self) -> None:
        """Drop the game's database, and its scratch databases that killed runs left; another worker's stay."""
        self.cut_sessions()
        left = "SELECT EXISTS (SELECT FROM pg_database WHERE starts_with(datname, %s))"
        if self._admin.execute(left, [SCRATCH]).fetchone() == (True,):
            clear_abandoned(self.server.url(self._name))
        self._drop(self._name)

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _copy(self, template: str, name: str, oid: int | None = None) -> None:
        owner = self.server.url(name).user
        query = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(template), sql.Identifier(owner)
        )
        self._admin.execute(query if oid is None else query + sql.SQL(" OID {}").format(sql.Literal(oid)))


@contextmanager
def prepared(server: Server, folder: Path) -> Iterator[World]:
    """Make a world on the server, and remove it afterwards."""
    with ExitStack() as resources:
        yield World(server, folder, resources)
