"""Tests what only the Postgres store meets: lost connections, waits for locks, a server that is away."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tenacity import Retrying, stop_after_delay, wait_fixed

from db.ops import fence
from db.samples import builders
from game.dispatch import retry
from game.errors import Fenced, StoreUnavailable, TryAgain
from game.postgres import statements as kept
from game.postgres.store import PostgresStore, PostgresUnit, Timeouts
from game.rules.commands import ClaimMail, Command, Enhance, Equip, FinishTournament, Unequip
from harness.play import invariants
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import Failing, ask, lost
from tests.game.postgres.lossy import lossy

HANA = {
    "gold": 5000,
    "level": 30,
    "bag": {"fan": "푸른 바람 부채", "fan2": "은결 바람 부채", "stone": {"name": "하급 강화석", "quantity": 10}},
    "worn": ["fan2"],
    "mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2}}},
    "tournaments": {"world": {}},
}
CLAIM = ClaimMail("m1")


@pytest.fixture
def hana(postgres: PostgresPlace) -> PostgresPlace:
    postgres.put(builders.player("hana", **HANA))
    return postgres


@contextmanager
def admin(place: PostgresPlace) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(place.database.owner.conninfo, autocommit=True) as connection:
        yield connection


def statements(place: PostgresPlace, command: Command, request_id: str = "r2") -> list[str]:
    """The statements of a command on a warm connection, BEGIN and COMMIT aside."""
    assert isinstance(place.store, PostgresStore)
    ask(place.store, CLAIM, "r1")
    verbs: list[str] = []
    engine = place.store._engine

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        verbs.append(statement.split(None, 1)[0])

    sa.event.listen(engine, "before_cursor_execute", note)
    ask(place.store, command, request_id)
    return verbs


@pytest.mark.plan(27)
@pytest.mark.parametrize(
    "command",
    [Equip("fan"), Unequip("fan"), Enhance("fan"), FinishTournament("world")],
    ids=lambda command: command.action,
)
def test_a_command_is_three_statements_between_begin_and_commit(hana: PostgresPlace, command: Command) -> None:
    assert statements(hana, command) == ["WITH", "SELECT", "WITH"]


def test_a_command_of_a_shape_known_already_compiles_nothing(hana: PostgresPlace) -> None:
    hana.put(builders.player("duri", **HANA))
    ask(hana.store, CLAIM, "r1")
    before = {"load": kept.load.cache_info(), "save": kept.save.cache_info()}
    ask(hana.store, CLAIM, "r1", player="duri")
    after = {"load": kept.load.cache_info(), "save": kept.save.cache_info()}
    compiled = {name: after[name].misses - then.misses for name, then in before.items()}
    assert compiled == {"load": 0, "save": 0}, "statements compiled by the second command"
    reused = {name: after[name].hits - then.hits for name, then in before.items()}
    assert reused == {"load": 1, "save": 1}, "statements that the second command took from those kept"


def test_a_session_that_is_terminated_before_a_command_is_replaced(hana: PostgresPlace) -> None:
    ask(hana.store, Equip("fan"), "r1")
    terminate_service_sessions(hana)
    answer = ask(hana.store, CLAIM, "r2")
    assert not answer.replayed


def test_a_session_that_is_terminated_within_a_command_costs_an_attempt(hana: PostgresPlace) -> None:
    class Terminating(Failing):
        def fail(self, step: str) -> None:
            if step == self.step and self.times:
                self.times -= 1
                terminate_service_sessions(hana)

    store = Terminating(hana.store, "save", lost(), times=2)
    assert not ask(store, CLAIM).replayed
    assert store.attempts == 3
    rows = hana.store.read("hana")
    assert rows is not None
    assert invariants.breaches(rows) == []
    assert rows["users"][("hana",)]["gold"] == 5050


def terminate_service_sessions(place: PostgresPlace) -> None:
    """As an operator or a failover would, and only once they are gone."""
    service = place.database.service
    with psycopg.connect(service.conninfo, autocommit=True) as connection:
        others = "usename = current_user and datname = current_database() and pid <> pg_backend_pid()"
        gone = connection.execute(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {others}")
        assert all(ended for (ended,) in gone.fetchall())


@pytest.mark.parametrize("statement", [b"COMMIT", b"BEGIN", b"FOR UPDATE", b"INSERT INTO"])
def test_an_answer_lost_on_its_way_grants_once(hana: PostgresPlace, statement: bytes) -> None:
    service = hana.database.service
    with lossy((service.host, service.port)) as proxy:
        store = PostgresStore(service.with_(host="127.0.0.1", port=proxy.port), pool_size=1)
        ask(store, Equip("fan"), "r0")
        proxy.statement = statement
        answer = ask(store, CLAIM)
        assert proxy.lost == 1
        assert answer.replayed is (statement == b"COMMIT")
        assert ask(store, CLAIM) == ask(hana.store, CLAIM)
        store.close()
    rows = hana.store.read("hana")
    assert rows is not None
    assert rows["users"][("hana",)]["gold"] == 5050
    assert sorted(key[1] for key in rows["action_receipts"]) == ["r0", "r1"]


def test_a_player_locked_for_too_long_is_a_503_and_changes_nothing(hana: PostgresPlace) -> None:
    store = PostgresStore(hana.database.service, timeouts=Timeouts(lock_ms=20))
    with admin(hana) as blocker, blocker.transaction():
        blocker.execute("select from users where id = 'hana' for update")
        with pytest.raises(StoreUnavailable, match="55P03"):
            ask(store, CLAIM)
    assert not ask(store, CLAIM).replayed
    store.close()


@pytest.mark.plan(27)
def test_two_at_once_are_granted_one_after_the_other(hana: PostgresPlace) -> None:
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda _: ask(hana.store, CLAIM).replayed, range(4)))
    assert sorted(answers) == [False, True, True, True]


def test_a_slow_statement_is_cut_off_by_the_server(hana: PostgresPlace) -> None:
    store = PostgresStore(hana.database.service, timeouts=Timeouts(statement_ms=20, lock_ms=5000))
    with admin(hana) as blocker, blocker.transaction():
        blocker.execute("select from users where id = 'hana' for update")
        with pytest.raises(StoreUnavailable, match="57014"):
            ask(store, CLAIM)
    store.close()


def test_a_command_behind_a_fence_that_waits_finds_it_set(hana: PostgresPlace) -> None:
    """The fence waits for a command in flight, and the next command for the fence: it must not decide by old news."""
    with admin(hana) as fencer, admin(hana) as in_flight, ThreadPoolExecutor() as threads:

        def set_fence() -> None:
            with fencer.transaction():
                fencer.execute("lock table users in exclusive mode")
                fence.raise_fence(fencer)

        with in_flight.transaction():
            in_flight.execute("select from users where id = 'hana' for update")
            fencing = threads.submit(set_fence)
            wait_for_waiters(in_flight, 1)
            claiming = threads.submit(ask, hana.store, CLAIM)
            wait_for_waiters(in_flight, 2)
        fencing.result()
        with pytest.raises(Fenced):
            claiming.result()


def wait_for_waiters(connection: psycopg.Connection[Any], number: int) -> None:
    """Until so many sessions wait for the players' table."""
    waiting = "select count(distinct pid) from pg_locks where not granted and relation = 'users'::regclass"
    for attempt in Retrying(stop=stop_after_delay(10), wait=wait_fixed(0.005)):
        with attempt:
            assert connection.execute(waiting).fetchall() == [(number,)]


def test_a_server_that_is_away_is_unavailable_and_named_without_its_password(hana: PostgresPlace) -> None:
    away = hana.database.service.with_(host="127.0.0.1", port=1, password="hunter2-hunter2")
    store = PostgresStore(away)
    slept: list[float] = []
    with pytest.raises(StoreUnavailable, match="db_unreachable") as raised:
        ask(store, CLAIM, slept=slept)
    assert len(slept) == 3
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(TryAgain):
        store.read("hana")


def test_a_database_without_the_game_is_unavailable(hana: PostgresPlace) -> None:
    elsewhere = PostgresStore(hana.database.service.with_(schema="nowhere"))
    with pytest.raises(StoreUnavailable, match="not migrated"):
        elsewhere.status()
    elsewhere.close()


def test_a_pool_in_full_use_is_unavailable_at_once(hana: PostgresPlace) -> None:
    store = PostgresStore(hana.database.service, pool_size=1, timeouts=Timeouts(pool_seconds=0.05))
    with store.begin() as unit:
        unit.load("hana", "r0", ())
        with pytest.raises(StoreUnavailable, match="in use"):
            ask(store, CLAIM)
    assert not ask(store, CLAIM).replayed
    store.close()


def test_columns_that_only_rebuild_the_legacy_row_stay_as_they_are(hana: PostgresPlace) -> None:
    with admin(hana) as connection:
        connection.execute("update user_inventory set form = 'kept' where id in ('fan', 'stone')")
        connection.execute("update user_mail set form = 'kept'")
    ask(hana.store, Enhance("fan"), "r1")
    ask(hana.store, CLAIM, "r2")
    with admin(hana) as connection:
        assert connection.execute("select form, stars from user_inventory where id = 'fan'").fetchall() == [("kept", 1)]
        assert connection.execute("select form, claimed from user_mail").fetchall() == [("kept", True)]
    rows = hana.store.read("hana")
    assert rows is not None
    assert "form" not in rows["user_mail"][("hana", "m1")]


def test_a_broken_rule_is_stopped_by_the_database_and_shows_no_values(hana: PostgresPlace) -> None:
    with hana.store.begin() as unit:
        loaded = unit.load("hana", "r1", ())
        assert loaded is not None
        after = loaded.rows.copy()
        after["users"][("hana",)]["gold"] = -7_654_321
        with pytest.raises(sa.exc.IntegrityError, match="users_gold_check") as raised:
            unit.save(loaded.rows, after)
    assert "parameters hidden" in str(raised.value)


def test_reads_go_on_after_the_connection_was_lost(hana: PostgresPlace) -> None:
    hana.store.read("hana")
    terminate_service_sessions(hana)
    assert retry(lambda: hana.store.read("hana"), sleep=[].append) is not None


def test_the_settings_of_a_connection_are_ours_but_for_those_that_the_url_names(postgres: PostgresPlace) -> None:
    url = postgres.database.service
    ours = {
        "application_name": "sudamr",
        "connect_timeout": "3",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "15000",
    }
    named = {"application_name": "of the tests", "connect_timeout": "7", "keepalives_idle": "11"}
    other = replace(url, parameters=(*url.parameters, *named.items()))
    for asked, expected in ((url, ours), (other, ours | named)):
        store = PostgresStore(asked)
        with store.begin() as unit:
            assert isinstance(unit, PostgresUnit)
            driver = unit.connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            known = driver.info.get_parameters()
        store.close()
        assert {name: known.get(name) for name in ours} == expected
