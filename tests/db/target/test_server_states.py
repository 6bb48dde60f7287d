"""A replica, a server without fsync and one with too few connections are refused, and mended by the printed remedy."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from db import ops
from db.errors import Refusal
from db.servers.binaries import ENVIRONMENT, Local
from db.servers.embedded import Embedded
from db.servers.readiness import wait
from db.servers.reaper_client import ReaperClient
from db.servers.server_info import ServerInfo, new_run
from db.servers.unix_user import lesser, scratch
from db.target import requirements
from game.urls import PostgresUrl
from tests.fixtures.waiting import until


@dataclass
class OwnServer:
    """A server that can be stopped and started again on its folder."""

    folder: Path
    guard: ReaperClient
    facts: ServerInfo
    pid: int

    @property
    def home(self) -> Path:
        return scratch() / f"sudamr-{self.facts.run}"

    @property
    def superuser(self) -> PostgresUrl:
        login = self.facts.logins["superuser"]
        return PostgresUrl(
            self.facts.host, self.facts.port, login.user, login.password, "postgres", parameters=self.facts.parameters
        )

    def run(self, statements: str) -> None:
        with psycopg.connect(self.superuser.conninfo, autocommit=True) as conn:
            for statement in re.findall(r"(?:ALTER|SELECT) [^;]*;", statements):
                conn.execute(statement.encode())

    def again(self, *, standby: bool = False) -> None:
        """Stop it and start it, from then on as a replica that follows nobody."""
        os.kill(self.pid, signal.SIGINT)
        until(lambda: [] if self.guard.ended(self.pid) else ["it runs still"])
        if standby:
            (self.home / "data" / "standby.signal").touch()
        argv = [str(self.folder / "postgres"), "-D", str(self.home / "data"), "-p", str(self.facts.port)]
        argv += ["-c", f"listen_addresses={self.facts.host}", "-c", "unix_socket_directories="]
        self.pid = self.guard.spawn(argv, account=lesser(), env=ENVIRONMENT, log=self.home / "log")
        wait(self.facts.host, self.facts.port, self.facts.logins["superuser"], ended=lambda: self.guard.ended(self.pid))


@contextmanager
def started(settings: Mapping[str, str]) -> Iterator[OwnServer]:
    source, guard = Local() if Local().binaries else Embedded(), ReaperClient()
    try:
        facts = source.launch(new_run(), guard, settings)
        assert facts.programs is not None
        yield OwnServer(Path(facts.programs), guard, facts, int(facts.remains.split()[2].rstrip(";")))
    finally:
        guard.close()


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    with started({}) as server:
        yield server


def test_a_replica_is_refused_until_it_is_promoted(own: OwnServer) -> None:
    ops.prepare(own.superuser, "test")
    own.again(standby=True)
    with pytest.raises(Refusal, match="a server that takes writes; found a replica") as refused:
        ops.prepare(own.superuser, "test")
    with pytest.raises(Refusal, match="replica"), ops.lock(own.superuser, run="r", why="a test"):
        pytest.fail("the lock was given")
    own.run(refused.value.do)
    ops.prepare(own.superuser, "test")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_what_would_lose_data_at_a_crash_is_refused_until_it_is_mended(own: OwnServer, setting: str) -> None:
    own.run(f"ALTER SYSTEM SET {setting} = off; SELECT pg_reload_conf();")
    until(lambda: [] if current(own, setting) == "off" else ["it is on still"])
    ops.prepare(own.superuser, "test")
    with pytest.raises(Refusal, match=f"{setting} on; found off") as refused:
        ops.prepare(own.superuser, "test", durable=True)
    own.run(refused.value.do)
    until(lambda: [] if current(own, setting) == "on" else ["it is off still"])
    ops.prepare(own.superuser, "test", durable=True)


def test_too_few_connections_are_refused_until_there_are_as_many_as_it_says(own: OwnServer) -> None:
    with (
        ops.connect(own.superuser) as conn,
        pytest.raises(Refusal, match="210 connections: 200 of the serv") as refused,
    ):
        requirements.require_connections(conn, "postgres", service=200)
    own.run(refused.value.do)
    own.again()
    with ops.connect(own.superuser) as conn:
        requirements.require_connections(conn, "postgres", service=200)


def current(own: OwnServer, setting: str) -> str:
    with psycopg.connect(own.superuser.conninfo) as conn:
        row = conn.execute("select current_setting(%s)", (setting,)).fetchone()
    assert row is not None
    return str(row[0])
