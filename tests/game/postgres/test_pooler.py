"""Behind a real pgbouncer each promise of the service holds, and no setting reaches another client."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.pool import QueuePool

from db.samples import builders
from db.servers import Server
from game import session
from game.errors import FENCE_PASS_SETTING, Fenced, StoreUnavailable
from game.postgres.store import PostgresStore
from game.rules.commands import COMMANDS, ClaimMail, Equip
from game.urls import PostgresUrl
from harness import wire
from harness.play import differential, invariants
from harness.wire import Decision, Pass, Proxy, ProxySession, RoundTrip, beside_one_transaction
from tests.fixtures.pgbouncer import let_go, pgbouncer, through
from tests.game.examples import EXAMPLES, command
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import ask
from tests.game.postgres.test_timeouts import ACTS, ON_THE_SERVER

MODES: dict[str, tuple[str, dict[str, str]]] = {
    "transaction": ("transaction", {}),
    "transaction-options-dropped": ("transaction", {"ignore_startup_parameters": "options"}),
    "session": ("session", {"default_pool_size": "20"}),
}
CLAIM = ClaimMail("m1")
HANA = {"gold": 5000, "level": 30, "bag": {"fan": "푸른 바람 부채"}, "mail": {"m1": {"gold": 50}}}
HOSTILE = {"DateStyle": "SQL, DMY", "bytea_output": "escape", "search_path": "pg_catalog", "statement_timeout": "1min"}
SETTINGS = [*session.PINNED, "search_path", FENCE_PASS_SETTING]


@pytest.fixture(scope="module", params=MODES)
def port(request: pytest.FixtureRequest, server: Server) -> Iterator[int]:
    mode, settings = MODES[request.param]
    with pgbouncer(server, mode, **settings) as port:
        yield port


@pytest.fixture
def url(port: int, postgres: PostgresPlace) -> Iterator[PostgresUrl]:
    postgres.put(builders.player("hana", **HANA))
    yield through(postgres.database.service, port)
    let_go(through(postgres.database.owner, port), port)


@pytest.fixture
def pooled(url: PostgresUrl) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url, pool_size=4)) as store:
        yield store


@pytest.mark.parametrize("action", sorted(COMMANDS))
def test_each_action_is_granted_once_and_answered_again(
    pooled: PostgresStore, postgres: PostgresPlace, action: str
) -> None:
    postgres.put(EXAMPLES[action].player("duri"))
    direct, first, again = (
        ask(store, command(action), request, player="duri")
        for store, request in ((postgres.store, "r0"), (pooled, "r0"), (pooled, "r0"))
    )
    assert [direct.replayed, first.replayed, again.replayed] == [False, True, True]
    assert direct.outcome == first.outcome == again.outcome

    postgres.put(EXAMPLES[action].player("sena"))
    assert not ask(pooled, command(action), "r1", player="sena").replayed
    after, seen = postgres.store.read("sena"), pooled.read("sena")
    assert after is not None
    assert seen is not None
    assert invariants.breaches(after, ["r1"]) == []
    assert list(differential.differences(after, seen)) == []


class Counting:
    """A Watch that notes every round trip."""

    def __init__(self) -> None:
        self.trips: list[RoundTrip] = []

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        self.trips.append(trip)
        return Pass()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        pass


def round_trips(url: PostgresUrl, player: str) -> list[int]:
    """Of a command on a connection that is open and was never used, of another one, and of a request asked again."""
    seen = Counting()
    counts = []
    with Proxy(wire.address(url), seen) as proxy, closing(PostgresStore(proxy.url(url), pool_size=1)) as store:
        with store._engine.connect():
            pass
        for request, one in (("r0", CLAIM), ("r1", Equip("fan")), ("r1", Equip("fan"))):
            seen.trips.clear()
            ask(store, one, request, player=player)
            assert beside_one_transaction(seen.trips) is None
            counts.append(len(seen.trips))
    return counts


def test_a_command_costs_as_many_round_trips_as_on_a_direct_connection(
    url: PostgresUrl, postgres: PostgresPlace
) -> None:
    postgres.put(builders.player("duri", **HANA))
    direct = round_trips(postgres.database.service, "duri")
    assert round_trips(url, "hana") == direct == [5, 5, 4]


def settings_of_others(url: PostgresUrl) -> list[list[Any]]:
    """Our settings as two plain clients of the pooler find them, at once: on each of its two connections."""
    account: dict[str, Any] = {"host": url.host, "port": url.port, "user": url.user, "password": url.password}
    query = "select n, coalesce(current_setting(n, true), '') from unnest(%s::text[]) n"
    with ExitStack() as stack:
        plain = [stack.enter_context(psycopg.connect(**account, dbname=url.dbname)) for _ in range(2)]
        return [conn.execute(query, (SETTINGS,)).fetchall() for conn in plain]


def test_nothing_is_left_to_the_next_client_of_the_pooler(
    url: PostgresUrl, pooled: PostgresStore, postgres: PostgresPlace
) -> None:
    with psycopg.connect(postgres.database.owner.conninfo, autocommit=True) as owner:
        for name, value in HOSTILE.items():
            database, setting = sql.Identifier(url.dbname), sql.Identifier(name)
            owner.execute(sql.SQL("alter database {} set {} = {}").format(database, setting, sql.Literal(value)))
    before = settings_of_others(url)
    postgres.fence(pass_token="a pass")
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda _: ask(pooled, CLAIM, fence_pass="a pass").replayed, range(8))
        assert sorted(answers) == [False, *[True] * 7]
    assert settings_of_others(url) == before
    with pytest.raises(Fenced):
        ask(pooled, Equip("fan"), "r9")


def test_a_fence_holds_lets_its_pass_through_and_is_lifted_under_its_clients(
    pooled: PostgresStore, postgres: PostgresPlace
) -> None:
    assert not ask(pooled, CLAIM).replayed
    postgres.fence(pass_token="a pass")
    assert pooled.status().fence == "fenced"
    with pytest.raises(Fenced):
        ask(pooled, Equip("fan"), "r2")
    assert ask(pooled, CLAIM).replayed
    with pytest.raises(Fenced):
        ask(pooled, Equip("fan"), "r2", fence_pass="another")
    assert not ask(pooled, Equip("fan"), "r2", fence_pass="a pass").replayed
    postgres.lift()
    assert not ask(pooled, command("unequip"), "r3").replayed


@pytest.mark.parametrize("field", ON_THE_SERVER)
def test_a_timeout_of_the_server_ends_what_it_is_for(url: PostgresUrl, postgres: PostgresPlace, field: str) -> None:
    ACTS[field](url, postgres)


def test_eight_at_once_on_the_poolers_two_connections_are_granted_once(pooled: PostgresStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(pooled, CLAIM).replayed, range(8)))
    assert sorted(answers) == [False, *[True] * 7]


def test_a_pooler_that_drops_every_connection_costs_an_attempt(
    pooled: PostgresStore, postgres: PostgresPlace, port: int
) -> None:
    ask(pooled, Equip("fan"), "r0")
    let_go(through(postgres.database.owner, port), port)
    assert not ask(pooled, CLAIM).replayed


def test_a_pooler_of_statements_is_unavailable_by_name(server: Server, postgres: PostgresPlace) -> None:
    with (
        pgbouncer(server, "statement") as port,
        closing(PostgresStore(through(postgres.database.service, port))) as store,
        pytest.raises(StoreUnavailable, match="statement pooling"),
    ):
        ask(store, CLAIM)


def test_a_warm_pool_takes_one_connection_of_a_pooler(pooled: PostgresStore) -> None:
    pooled.warm()
    assert isinstance(pooled._engine.pool, QueuePool)
    assert pooled._engine.pool.checkedin() == 1
