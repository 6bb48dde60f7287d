"""A replica, a server without fsync and one with too few connections are refused, and mended by the printed remedy."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from db import ops
from db.errors import Refusal
from db.target import requirements
from tests.fixtures.own_server import OwnServer, started
from tests.fixtures.waiting import until


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
