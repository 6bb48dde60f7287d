"""A server, a database and players that the watch looks at, as a role with pg_monitor and as the owner."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from db import environments, ops
from db.environments import Environment, SnapshotPlan, WatchPlan
from db.monitor import grants, samples, watching
from db.monitor.check import Check, Judgement
from db.monitor.checks import CHECKS
from db.samples import seed
from db.servers import Server
from db.servers.settings import decisive
from game.urls import PostgresUrl
from harness.databases import Database, Databases
from tests.fixtures.own_server import OwnServer, started
from tests.fixtures.waiting import until

BY_NAME: Mapping[str, Check] = {check.name: check for check in CHECKS}
MONITOR = "watcher"
STATEMENTS = "pg_stat_statements"
OF_STATEMENTS = ("slow statements", "statements forgotten")
OPENINGS = """
insert into player_openings (user_id, gold, diamonds, stock)
select id, gold, diamonds, coalesce(
    (select json_object_agg(i.id, i.quantity)::text from user_inventory i where i.user_id = u.id), '{}')
from users u
"""


@dataclass
class Watched:
    """An environment `development`, and the looks that are kept of each role's; `settings` are the certificate's."""

    database: Database
    env: Environment
    monitor: PostgresUrl
    kept: Mapping[str, sqlite3.Connection]
    settings: Mapping[str, str]
    superuser_url: PostgresUrl
    server: OwnServer | None = None
    has_statements: bool = True
    limits: dict[str, float] = field(default_factory=dict)
    extra: Any = None

    def look(self, *names: str, role: str = "monitor", env: Environment | None = None) -> watching.Looked:
        """Look once by some checks, or by all, against the newest look of the role's."""
        monitor = self.monitor if role == "monitor" else None
        return self.look_as(monitor, self.kept[role], *names, env=env, settings=self.settings)

    def look_as(
        self,
        monitor: PostgresUrl | None,
        kept: sqlite3.Connection,
        *names: str,
        env: Environment | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> watching.Looked:
        """The same as another role, or with other looks before it; settings: the certificate's, if there is one."""
        return watching.look(
            replace(env or self.env, watch=WatchPlan(monitor=monitor, limits=self.limits)),
            kept,
            expected_settings=settings,
            checks=[BY_NAME[name] for name in names] or CHECKS,
            least=timedelta(0),
        )

    def require_statements(self, *names: str) -> None:
        """Skip the test if the server has no pg_stat_statements, and these checks need it."""
        if not self.has_statements and {*names} & {*OF_STATEMENTS}:
            pytest.skip("this server's programs come without pg_stat_statements")

    def judge(self, name: str, role: str = "monitor", env: Environment | None = None) -> Judgement:
        (judged,) = self.look(name, role=role, env=env).judgements
        return judged

    def superuser(self, **options: Any) -> psycopg.Connection:
        return psycopg.connect(self.superuser_url.conninfo, autocommit=True, **options)

    def service(self, **options: Any) -> psycopg.Connection:
        """A session of the service's role, as a player's command has one."""
        return psycopg.connect(self.database.service.conninfo, autocommit=True, **options)

    def run(self, *statements: str) -> None:
        with self.superuser() as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def value(self, query: str) -> Any:
        with self.superuser() as conn:
            row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def reload(self, *statements: str, shown: str) -> None:
        """ALTER SYSTEM and a reload, until a new session sees it; `shown`: a query that is true then."""
        self.run(*statements, "select pg_reload_conf()")
        self.until(shown)

    def until(self, query: str) -> None:
        until(lambda: [] if self.value(query) else [query])

    def flush(self, conn: psycopg.Connection) -> None:
        """Have a session report what it counted now; by itself it waits for a second."""
        conn.execute("select pg_stat_force_next_flush()")


@contextmanager
def watched(folder: Path, server: Server, database: Database, own: OwnServer | None = None) -> Iterator[Watched]:
    """Fill the database with two players, who play there, and make the watch's role. Dropped with the server."""
    seed.seed_postgres(database.owner, "test", 2)
    with ops.connect(server.url(database.name, "superuser")) as conn, ExitStack() as stack:
        conn.execute(sql.SQL("set search_path = {}").format(sql.Identifier(database.owner.schema)))
        conn.execute("update ops.phase set phase = 'live'")
        conn.execute(OPENINGS)
        conn.execute(f"create role {MONITOR} login password '{MONITOR}'")
        for statement in grants.statements(conn, database.owner.schema, MONITOR):
            conn.execute(statement.encode())
        conn.execute(sql.SQL("grant pg_monitor to {}").format(sql.Identifier(database.owner.user)))
        if preloaded := STATEMENTS in conn.execute("show shared_preload_libraries").fetchall()[0][0]:
            conn.execute("create extension pg_stat_statements schema public")
        env = environments.throwaway(
            owner=database.owner,
            service=database.service,
            legacy=folder / "gone.db",
            folder=folder,
            snapshots=SnapshotPlan(folder / "snapshots"),
        )
        monitor = database.owner.with_(user=MONITOR, password=MONITOR)
        with ops.connect(monitor) as own_conn:
            settings = decisive(own_conn)
        yield Watched(
            database,
            replace(env, name="development"),
            monitor,
            {role: stack.enter_context(samples.opened(folder / f"{role}.sqlite")) for role in ("monitor", "owner")},
            settings,
            server.url(database.name, "superuser"),
            own,
            preloaded,
        )


@contextmanager
def own_watched(
    folder: Path, settings: Mapping[str, str], *, made: Callable[[OwnServer], None] = bool
) -> Iterator[Watched]:
    """The same on a server of its own with settings in its file. made: called while it is stopped."""
    with started({}) as own:
        with psycopg.connect(own.superuser.conninfo, autocommit=True) as conn:
            version = conn.info.parameter_status("server_version") or ""
            for role, rights in (("owner", "createdb"), ("service", "nocreatedb")):
                login = own.facts.logins[role]  # type: ignore[index]
                conn.execute(f"create role {login.user} login {rights} password '{login.password}'".encode())
            available = conn.execute("select from pg_available_extensions where name = %s", (STATEMENTS,)).fetchall()
        own.stop()
        if not available:  # As on the embedded server: its checks are skipped.
            settings = {name: value for name, value in settings.items() if STATEMENTS not in name + value}
        with (own.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        made(own)
        own.start()
        server = Server(replace(own.facts, version=version))
        with Databases(server) as databases:
            database = databases.clone()
            with watched(folder, server, database, own) as made_up:
                yield made_up
