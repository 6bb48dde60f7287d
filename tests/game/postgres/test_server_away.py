"""A server that stops, crashes or is not up yet: each error is told as a server that is away, and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from db import ops
from db.ops import fence
from db.samples import builders
from db.schema import migrate
from game.dispatch import ATTEMPTS
from game.errors import StoreUnavailable, TryAgain
from game.postgres.store import PostgresStore
from game.rules.commands import ClaimMail
from harness.play import arena
from tests.fixtures.own_server import OwnServer, started
from tests.fixtures.waiting import until
from tests.game.playing_on_stores import ask

CLAIM = ClaimMail("m1")
STOPS = {
    "57P01": signal.SIGINT,  # Each session is told that an administrator ends it.
    "lost": signal.SIGQUIT,  # It crashes: its warning, 57P02, ends no statement, and the connection is gone.
}


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    with started({}) as server:
        ops.prepare(server.superuser, "test")
        migrate.migrate(server.superuser, environment="test", service_role=None)
        with ops.connect(server.superuser) as connection:
            fence.lift(connection)
        yield server


def put(own: OwnServer, player: str) -> None:
    with psycopg.connect(own.superuser.conninfo) as connection:
        arena.insert(connection, builders.player(player, gold=100, mail={"m1": {"gold": 50}}))


@pytest.mark.parametrize("state", STOPS)
def test_a_server_that_ends_within_a_command_is_away_until_it_is_up(own: OwnServer, state: str) -> None:
    player = f"player-{state}"
    put(own, player)
    with closing(PostgresStore(own.superuser, pool_size=1)) as store:
        with pytest.raises(TryAgain, match=f"db_unreachable: {state} "):
            end_within(own, store, player, STOPS[state])
        with pytest.raises(StoreUnavailable, match=f"{ATTEMPTS} attempts failed, the last with db_unreachable"):
            ask(store, CLAIM, player=player)
        own.start()
        assert not ask(store, CLAIM, player=player).replayed
        assert ask(store, CLAIM, player=player).replayed


def end_within(own: OwnServer, store: PostgresStore, player: str, end: signal.Signals) -> None:
    with store.begin() as unit:
        assert unit.load(player, "r1", CLAIM.tables) is not None
        os.kill(own.pid, end)
        until(lambda: [] if own.guard.ended(own.pid) else ["it runs still"])
        unit.commit()


def test_a_server_that_is_not_up_yet_is_away_until_it_is(own: OwnServer) -> None:
    """57P03, cannot_connect_now: here of a standby that answers no queries, for as long as the test likes."""
    own.stop()
    signalled = own.data / "standby.signal"
    signalled.touch()
    own.settings = {"hot_standby": "off"}
    own.start(answers=False)
    with closing(PostgresStore(own.superuser, pool_size=1)) as store:
        until(lambda: [] if "Hot standby mode is disabled" in said(own) else [said(own)])
        slept: list[float] = []
        with pytest.raises(StoreUnavailable, match=r"db_unreachable: lost .*not accepting connections"):
            ask(store, CLAIM, slept=slept)
        assert len(slept) == ATTEMPTS - 1
        own.stop()
        signalled.unlink()
        own.settings = {}
        own.start()
        put(own, "hana")
        assert not ask(store, CLAIM).replayed


def said(own: OwnServer) -> str:
    """Return the server's message to one who connects."""
    try:
        psycopg.connect(own.superuser.conninfo).close()
    except psycopg.OperationalError as error:
        return str(error)
    return "welcome"
