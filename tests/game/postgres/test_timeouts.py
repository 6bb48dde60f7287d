"""Each timeout, setting and connection parameter of the game's sessions reaches the server or libpq, and acts."""

from __future__ import annotations

import dataclasses
import inspect
import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from db import ops
from db.ops.control import KEEPALIVES
from db.samples import builders, seed
from db.servers import Server
from game import session
from game.errors import StoreUnavailable, TryAgain
from game.legacy.store import LegacyStore
from game.postgres.store import CONNECTION, PostgresStore, Timeouts
from game.rules.commands import ClaimMail
from game.service.serving import _timeouts
from game.settings import Settings
from game.urls import PostgresUrl
from tests.db.target.test_server_settings import HOSTILE
from tests.fixtures.pgbouncer import let_go, pgbouncer, through
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import ask

CLAIM = ClaimMail("m1")
FIELDS = [field.name for field in dataclasses.fields(Timeouts)]
ON_THE_SERVER = {
    "statement_ms": "statement_timeout",
    "lock_ms": "lock_timeout",
    "idle_in_transaction_ms": "idle_in_transaction_session_timeout",
}
SETTINGS = {
    "statement_ms": "statement_timeout_ms",
    "lock_ms": "lock_timeout_ms",
    "idle_in_transaction_ms": "idle_in_transaction_timeout_ms",
    "connect_seconds": "connect_timeout_seconds",
    "pool_seconds": "pool_timeout_seconds",
}
"""The service's setting for each field."""


@pytest.fixture(scope="module")
def port(server: Server) -> Iterator[int]:
    with pgbouncer(server, "transaction") as port:
        yield port


@pytest.fixture(params=["direct", "pooled"])
def url(request: pytest.FixtureRequest, postgres: PostgresPlace) -> Iterator[PostgresUrl]:
    postgres.put(builders.player("hana", gold=100, mail={"m1": {"gold": 50}}))
    if request.param == "direct":
        yield postgres.database.service
        return
    port = request.getfixturevalue("port")
    yield through(postgres.database.service, port)
    let_go(through(postgres.database.owner, port), port)


def driver_of(unit: Any) -> psycopg.Connection[Any]:
    driver = unit.connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@pytest.mark.parametrize("field", FIELDS)
def test_a_timeout_of_the_service_reaches_the_server_or_the_driver(field: str, url: PostgresUrl) -> None:
    value = 7 if field.endswith("seconds") else 4321
    with closing(PostgresStore(url, timeouts=Timeouts(**{field: value}))) as store:
        for _first_and_second in range(2):
            with store.begin() as unit:
                unit.connection.exec_driver_sql("select 1")
                assert in_force(field, store, driver_of(unit)) == value


def in_force(field: str, store: PostgresStore, driver: psycopg.Connection[Any]) -> float:
    if field in ON_THE_SERVER:
        query = "select setting::int from pg_settings where name = %s and unit = 'ms'"
        row = driver.execute(query, (ON_THE_SERVER[field],)).fetchone()
        assert row is not None
        return int(row[0])
    if field == "connect_seconds":
        return int(driver.info.get_parameters()["connect_timeout"])
    assert field == "pool_seconds", f"a field that no test looks for: {field}"
    pool: Any = store._engine.pool
    return float(pool._timeout)


@pytest.mark.parametrize("field", FIELDS)
def test_a_setting_of_the_service_is_that_timeout_and_no_other(field: str) -> None:
    secrets: dict[str, Any] = dict.fromkeys(("chance_secret", "token_secret"), "a secret of the tests, not short")
    value = 7 if field.endswith("seconds") else 4321
    given = Settings.model_validate({"database_url": "file:game.db", **secrets, SETTINGS[field]: value})
    plain = Settings.model_validate({"database_url": "file:game.db", **secrets})
    assert _timeouts(plain) == Timeouts()
    assert _timeouts(given) == dataclasses.replace(Timeouts(), **{field: value})


Acts = Callable[[PostgresUrl, PostgresPlace], None]


def _waits_for_the_player(timeouts: Timeouts, state: str) -> Acts:
    def acts(url: PostgresUrl, place: PostgresPlace) -> None:
        with closing(PostgresStore(url, timeouts=timeouts)) as store:
            with psycopg.connect(place.database.owner.conninfo) as blocker:
                blocker.execute("select from users where id = 'hana' for update")
                with pytest.raises(StoreUnavailable, match=state):
                    ask(store, CLAIM)
            assert not ask(store, CLAIM).replayed

    return acts


def _says_nothing(url: PostgresUrl, _place: PostgresPlace) -> None:
    with closing(PostgresStore(url, timeouts=Timeouts(idle_in_transaction_ms=50))) as store:
        with pytest.raises(TryAgain):
            _load_twice(store)
        assert not ask(store, CLAIM).replayed


def _load_twice(store: PostgresStore) -> None:
    """Once more when the server has said something meanwhile."""
    with store.begin() as unit:
        unit.load("hana", "r0", ())
        assert select.select([driver_of(unit)], [], [], 60)[0], "nothing was said"
        unit.load("hana", "r0", ())


def _finds_no_connection(url: PostgresUrl, _place: PostgresPlace) -> None:
    with closing(PostgresStore(url, pool_size=1, timeouts=Timeouts(pool_seconds=0.01))) as store:
        with store.begin(), pytest.raises(StoreUnavailable, match="in use"):
            ask(store, CLAIM)
        assert not ask(store, CLAIM).replayed


def _is_never_answered(url: PostgresUrl, _place: PostgresPlace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = url.with_(host="127.0.0.1", port=silent.getsockname()[1])
        with (
            closing(PostgresStore(away, timeouts=Timeouts(connect_seconds=2))) as store,
            pytest.raises(TryAgain, match="timeout expired"),
        ):
            store.status()


ACTS: Mapping[str, Acts] = {
    "statement_ms": _waits_for_the_player(Timeouts(statement_ms=20, lock_ms=5000), "57014"),
    "lock_ms": _waits_for_the_player(Timeouts(lock_ms=20), "55P03"),
    "idle_in_transaction_ms": _says_nothing,
    "pool_seconds": _finds_no_connection,
    "connect_seconds": _is_never_answered,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_timeout_ends_what_it_is_for(field: str, url: PostgresUrl, postgres: PostgresPlace) -> None:
    ACTS[field](url, postgres)


OF_A_SOCKET = {
    "keepalives_idle": socket.TCP_KEEPIDLE,
    "keepalives_interval": socket.TCP_KEEPINTVL,
    "keepalives_count": socket.TCP_KEEPCNT,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
}


def of_connection(driver: psycopg.Connection[Any], name: str) -> str:
    """The value that the connection has: of its socket, or as libpq says."""
    with socket.socket(fileno=os.dup(driver.fileno())) as own:
        if name in OF_A_SOCKET and own.family != socket.AF_UNIX:
            return str(own.getsockopt(socket.IPPROTO_TCP, OF_A_SOCKET[name]))
    return driver.info.get_parameters()[name]


def test_each_way_in_which_a_link_can_die_has_its_parameter() -> None:
    assert set(CONNECTION) == {*OF_A_SOCKET, "application_name"}
    assert set(KEEPALIVES) == set(OF_A_SOCKET) - {"tcp_user_timeout"}


@pytest.mark.parametrize("name", CONNECTION)
def test_a_parameter_of_the_services_connections_is_in_force(name: str, url: PostgresUrl) -> None:
    with closing(PostgresStore(url)) as store, store.begin() as unit:
        assert of_connection(driver_of(unit), name) == CONNECTION[name]


@pytest.mark.parametrize("name", CONNECTION)
def test_a_parameter_that_the_url_names_stays(name: str, postgres: PostgresPlace) -> None:
    named = postgres.database.service
    named = named.with_(parameters=(*named.parameters, (name, "77")))
    with closing(PostgresStore(named)) as store, store.begin() as unit:
        assert of_connection(driver_of(unit), name) == "77"


@pytest.mark.parametrize("name", KEEPALIVES)
def test_a_parameter_of_the_tools_connections_is_in_force(name: str, postgres: PostgresPlace) -> None:
    with ops.connect(postgres.database.owner) as conn:
        assert of_connection(conn, name) == str(KEEPALIVES[name])


OF_A_TRANSACTION = {"default_transaction_isolation": "isolation", "default_transaction_deferrable": "deferrable"}
HARMFUL = {
    **HOSTILE,
    "statement_timeout": "90s",  # SQLAlchemy asks for the version before our first transaction.
    "idle_session_timeout": "90s",  # It would end the pooler's own sessions.
}


def test_the_pinned_settings_hold_over_those_of_the_database(
    url: PostgresUrl, postgres: PostgresPlace, server: Server
) -> None:
    with psycopg.connect(server.url(postgres.database.name, "superuser").conninfo, autocommit=True) as admin:
        admin.execute("create access method other_heap type table handler heap_tableam_handler")
        for name in session.PINNED:
            harm = sql.SQL("alter database {} set {} = {}").format(
                sql.Identifier(postgres.database.name), sql.Identifier(name), sql.Literal(HARMFUL[name])
            )
            admin.execute(harm)
    expected = {**session.PINNED, **Timeouts().settings}
    asked = {name: f"transaction_{OF_A_TRANSACTION[name]}" if name in OF_A_TRANSACTION else name for name in expected}
    with closing(PostgresStore(url)) as store, store.begin() as unit:
        rows = driver_of(unit).execute("select name, setting from pg_settings").fetchall()
    shown = {name: str(value).replace('"', "") for name, value in rows}
    # Behind a pooler these are of a session that is the pooler's, and act between transactions alone.
    left = session.BETWEEN_TRANSACTIONS if url != postgres.database.service else frozenset[str]()
    assert {n: shown[asked[n]] for n in expected if n not in left} == {
        n: expected[n] for n in expected if n not in left
    }


SECONDS = [name for name in inspect.signature(LegacyStore).parameters if name.endswith("_seconds")]


@pytest.mark.parametrize("name", SECONDS)
def test_a_timeout_of_the_legacy_store_is_in_force(name: str, tmp_path: Path) -> None:
    seed.empty_legacy(tmp_path / "game.db")
    store = LegacyStore(tmp_path / "game.db", **{name: 7.0})
    pool: Any = store._pool
    with closing(store), store.begin() as unit:
        (busy_ms,) = unit._connection.execute("PRAGMA busy_timeout").fetchone()
    assert {"pool_timeout_seconds": pool._timeout, "busy_timeout_seconds": busy_ms / 1000}[name] == 7.0
