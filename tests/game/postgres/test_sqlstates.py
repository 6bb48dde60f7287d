"""Every SQLSTATE that there is, decided: tried again, told as a server that is away, as a fence, or a defect.

CASES lists those that the store's own lists name. A code that is added to a list without a case here fails, and a code
without a case must be a defect. Each of them is raised by the real server, in place of each round trip of a command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors, sql

from db.samples import builders
from db.servers import Server
from game.dispatch import ATTEMPTS
from game.errors import FENCE_SQLSTATE, Fenced, GameError, StoreFailure, StoreUnavailable, TryAgain
from game.postgres import store as postgres_store
from game.postgres.store import PostgresStore
from game.rows import Rows, compare
from game.rules.commands import ClaimMail, Command, Equip, Unequip
from game.service import problems
from game.urls import PostgresUrl
from harness import wire
from harness.wire import Decision, InjectError, Pass, Proxy, ProxySession, RoundTrip
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import ask
from tests.game.service.serving import act, assert_problem, client_of

CLAIM = ClaimMail("m1")
HANA = {"gold": 100, "bag": {"fan": "푸른 바람 부채"}, "mail": {"m1": {"gold": 50}}}
AGAIN, AWAY, UNMIGRATED, FENCED, DEFECT = "tx_rolled_back", "db_unreachable", "not migrated", "fenced", "defect"
CASES = {
    "40001": AGAIN,  # serialization_failure
    "40P01": AGAIN,  # deadlock_detected
    "55P03": AGAIN,  # lock_not_available
    "57014": AGAIN,  # query_canceled, though its class is that of a server that goes away
    "25006": AGAIN,  # read_only_sql_transaction
    **dict.fromkeys(("08000", "08001", "08003", "08004", "08006", "08007", "08P01"), AWAY),
    **dict.fromkeys(("53000", "53100", "53200", "53300", "53400"), AWAY),
    **dict.fromkeys(("57000", "57P01", "57P02", "57P03", "57P04", "57P05"), AWAY),
    **dict.fromkeys(("3D000", "3F000", "42703", "42P01"), UNMIGRATED),
    FENCE_SQLSTATE: FENCED,
}
DEFECTS = ("23505", "23514", "22P02", "42601", "42501", "58030", "XX000", "25P02", "40003")
"""Some that are no one's list's: a rule broken, a value or statement of ours that is wrong, a right that is lacking, a
disk or a server that is broken."""

ROUND_TRIPS = ("BEGIN", "lock", "load", "save", "COMMIT")


def sqlstates() -> list[str]:
    """Every SQLSTATE of psycopg's, and the fence's own."""
    known = {getattr(each, "sqlstate", None) for each in vars(errors).values() if isinstance(each, type)}
    return sorted({FENCE_SQLSTATE, *(state for state in known if isinstance(state, str))})


def decided(state: str) -> str:
    """Return the store's own error for one with that SQLSTATE."""
    match postgres_store._failure(_of(state)):
        case TryAgain() as error:
            return error.code
        case StoreUnavailable() as error:
            return UNMIGRATED if UNMIGRATED in str(error) else str(error)
        case Fenced():
            return FENCED
        case _:
            return DEFECT


def _of(state: str) -> psycopg.Error:
    if state == FENCE_SQLSTATE:
        return type("Fence", (psycopg.DatabaseError,), {"sqlstate": state})("fenced")
    return errors.lookup(state)("injected")


def test_every_sqlstate_is_decided_as_its_case_says() -> None:
    assert len(sqlstates()) > 200
    assert {state: decided(state) for state in sqlstates()} == {s: CASES.get(s, DEFECT) for s in sqlstates()}


def test_every_code_of_the_stores_lists_has_a_case() -> None:
    listed = {*postgres_store.AGAIN, *postgres_store.NO_GAME_HERE, FENCE_SQLSTATE}
    classes = postgres_store.UNREACHABLE_CLASSES
    assert listed | {state for state in sqlstates() if state.startswith(classes)} == set(CASES)
    assert {state[:2] for state, how in CASES.items() if how == AWAY} == set(classes)


class Raising:
    """Has the server raise the SQLSTATE in place of a round trip of each attempt, so many times.

    attempts: how many began.
    """

    def __init__(self, state: str, place: int, times: int) -> None:
        self.state, self.place, self.times = state, place, times
        self.attempts = 0
        self._trip = 0

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        if trip.borders[:1] == ["BEGIN"]:
            self.attempts += 1
            self._trip = 0
        struck = self.attempts > 0 and self._trip == self.place and self.times > 0
        self._trip += 1
        self.times -= struck
        return InjectError(self.state) if struck else Pass()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        pass


@pytest.fixture
def hana(postgres: PostgresPlace) -> PostgresPlace:
    postgres.put(builders.player("hana", **HANA))
    return postgres


@pytest.fixture
def proxy(hana: PostgresPlace) -> Iterator[Proxy]:
    with Proxy(wire.address(hana.database.service)) as proxy:
        yield proxy


@pytest.fixture
def warm(proxy: Proxy, hana: PostgresPlace) -> Iterator[PostgresStore]:
    """A store by way of the proxy, on a connection that was used before."""
    with closing(PostgresStore(proxy.url(hana.database.service), pool_size=1)) as store:
        with store.begin():
            pass
        yield store


def read(place: PostgresPlace) -> Rows:
    rows = place.store.read("hana")
    assert rows is not None
    return rows


TURNS: tuple[Command, ...] = (Equip("fan"), Unequip("fan"))
"""Commands that are asked by turns: each is granted after the other."""


@pytest.mark.parametrize("state", CASES)
def test_raised_once_at_any_round_trip_a_code_is_tried_again_or_told_at_once(
    state: str, warm: PostgresStore, proxy: Proxy, hana: PostgresPlace
) -> None:
    for place, name in enumerate(ROUND_TRIPS):
        raising = proxy.interceptor = Raising(state, place, times=1)
        before, command, request = read(hana), TURNS[place % 2], f"r{place}"
        if CASES[state] in (AGAIN, AWAY):
            assert not ask(warm, command, request).replayed, name
            assert list(compare(before, read(hana))["action_receipts"].inserts) == [("hana", request)], name
        else:
            with pytest.raises(StoreFailure, match="fenced" if CASES[state] == FENCED else UNMIGRATED):
                ask(warm, command, request)
            assert compare(before, read(hana)) == {}, name
            assert not ask(warm, command, request).replayed, name
        assert (raising.attempts, raising.times) == (2, 0), name
        assert ask(warm, command, request).replayed, name


@pytest.mark.parametrize("state", CASES)
def test_raised_each_time_a_code_is_a_503_and_nothing_is_written(
    state: str, warm: PostgresStore, proxy: Proxy, hana: PostgresPlace
) -> None:
    before = read(hana)
    again = CASES[state] in (AGAIN, AWAY)
    for place, name in enumerate(ROUND_TRIPS):
        raising = proxy.interceptor = Raising(state, place, times=100)
        with pytest.raises(StoreFailure) as raised:
            ask(warm, CLAIM)
        assert raising.attempts == (ATTEMPTS if again else 1), name
        assert not again or f"{CASES[state]}: {state} injected" in str(raised.value), name
        assert told(raised.value) == ("fenced" if CASES[state] == FENCED else "store_unavailable", 503, "1"), name
        assert compare(before, read(hana)) == {}, name
    proxy.interceptor = wire.Open()
    assert not ask(warm, CLAIM).replayed


def told(error: GameError) -> tuple[str, int, str | None]:
    """The code, status and Retry-After with which the service answers."""
    code, detail = problems.code_of(error)
    response = problems.response(code, detail)
    return code, response.status_code, response.headers.get("Retry-After")


@pytest.mark.parametrize("state", CASES)
def test_raised_by_the_first_message_of_a_connection_a_code_is_no_other(
    state: str, proxy: Proxy, hana: PostgresPlace
) -> None:
    """That message begins the transaction and sets it up, past SQLAlchemy, in a session that was never used."""
    raising = proxy.interceptor = Raising(state, 0, times=1)
    with closing(PostgresStore(proxy.url(hana.database.service), pool_size=1)) as store:
        if CASES[state] in (AGAIN, AWAY):
            assert not ask(store, CLAIM).replayed
            assert raising.attempts == 2
        else:
            with pytest.raises(StoreFailure, match="fenced" if CASES[state] == FENCED else UNMIGRATED):
                ask(store, CLAIM)
            assert not ask(store, CLAIM).replayed


@pytest.mark.parametrize("state", DEFECTS)
def test_a_code_of_no_list_is_a_defect_told_at_once_and_nothing_is_written(
    state: str, warm: PostgresStore, proxy: Proxy, hana: PostgresPlace
) -> None:
    before = read(hana)
    for place, name in enumerate(ROUND_TRIPS):
        raising = proxy.interceptor = Raising(state, place, times=1)
        with pytest.raises(sa.exc.DBAPIError, match="injected"):
            ask(warm, CLAIM)
        assert (raising.attempts, raising.times) == (1, 0), name
        assert compare(before, read(hana)) == {}, name
    assert not ask(warm, CLAIM).replayed


@pytest.mark.parametrize(("state", "code"), [("53100", "store_unavailable"), ("XX000", "internal_error")])
def test_the_client_is_told_to_ask_again_and_is_granted_once(
    state: str, code: str, warm: PostgresStore, proxy: Proxy, hana: PostgresPlace
) -> None:
    with client_of(warm) as client:
        proxy.interceptor = Raising(state, ROUND_TRIPS.index("save"), times=ATTEMPTS)
        assert_problem(act(client), code)
        proxy.interceptor = wire.Open()
        answers = [act(client) for _ in range(2)]
    assert [(a.status_code, a.json()["replayed"]) for a in answers] == [(HTTPStatus.OK, False), (HTTPStatus.OK, True)]
    assert read(hana)["users"][("hana",)]["gold"] == 150


def run(url: PostgresUrl, *statements: str, **names: str) -> None:
    with psycopg.connect(url.conninfo, autocommit=True) as conn:
        for statement in statements:
            conn.execute(sql.SQL(statement).format(**{name: sql.Identifier(value) for name, value in names.items()}))


TRIGGERS = {
    "save": "CREATE TRIGGER fails BEFORE UPDATE ON {schema}.users FOR EACH ROW EXECUTE FUNCTION {schema}.fails()",
    "COMMIT": "CREATE CONSTRAINT TRIGGER fails AFTER UPDATE ON {schema}.users DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION {schema}.fails()",
}


@pytest.mark.parametrize("at", TRIGGERS)
@pytest.mark.parametrize("state", ["53100", "53200", "53400"])
def test_a_disk_or_memory_that_is_full_within_a_transaction_keeps_nothing(
    state: str, at: str, hana: PostgresPlace, server: Server
) -> None:
    """The server raises it of itself, within the save or while it commits, and not in its place."""
    url, schema = server.url(hana.database.name, "superuser"), hana.database.service.schema
    before = read(hana)
    raising = f"BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{state}'; END"
    function = f"CREATE FUNCTION {{schema}}.fails() RETURNS trigger LANGUAGE plpgsql AS $${raising}$$"
    run(url, function, TRIGGERS[at], schema=schema)
    with pytest.raises(StoreUnavailable, match=f"{ATTEMPTS} attempts failed, the last with {AWAY}: {state} no room"):
        ask(hana.store, CLAIM)
    assert compare(before, read(hana)) == {}
    run(url, "DROP FUNCTION {schema}.fails CASCADE", schema=schema)
    assert not ask(hana.store, CLAIM).replayed


def test_a_replica_not_yet_promoted_is_read_and_not_written(hana: PostgresPlace, server: Server) -> None:
    run(server.maintenance, "ALTER DATABASE {name} SET default_transaction_read_only = on", name=hana.database.name)
    before = read(hana)
    with closing(PostgresStore(hana.database.service)) as store:
        with pytest.raises(StoreUnavailable, match=f"{AGAIN}: 25006 "):
            ask(store, CLAIM)
        assert store.read("hana") == before
    run(server.maintenance, "ALTER DATABASE {name} RESET default_transaction_read_only", name=hana.database.name)
    with closing(PostgresStore(hana.database.service)) as store:
        assert not ask(store, CLAIM).replayed


def test_a_database_without_a_free_connection_is_away_until_it_has_one(hana: PostgresPlace, server: Server) -> None:
    run(server.maintenance, "ALTER DATABASE {name} CONNECTION LIMIT 0", name=hana.database.name)
    slept: list[float] = []
    with closing(PostgresStore(hana.database.service)) as store:
        with pytest.raises(StoreUnavailable, match=f"{AWAY}: .*too many connections"):
            ask(store, CLAIM, slept=slept)
        assert len(slept) == ATTEMPTS - 1
        run(server.maintenance, "ALTER DATABASE {name} CONNECTION LIMIT -1", name=hana.database.name)
        assert not ask(store, CLAIM).replayed
