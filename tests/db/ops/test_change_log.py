"""The change log of Postgres: what it notes, of whom, and that it never stands in a player's way."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from db import ops, tables
from db.ops import change_log, fence, schema
from db.schema import revisions
from game.legacy.fence_schema import Owner
from harness.databases import Database

ME = Owner("a run", "a file")


@pytest.fixture
def owner(fenced_database: Database) -> Iterator[ops.Connection]:
    """The owner's connection to a database that a cutover lifted a moment ago."""
    with ops.connect(fenced_database.owner) as conn:
        fence.raise_fence(conn, owner=ME)
        with fence.own_pass(conn):
            conn.execute("insert into users (id, gold) values ('a', 5), ('b', 5)")
        fence.lift(conn, log=True)
        yield conn


@pytest.fixture
def service(owner: ops.Connection, fenced_database: Database) -> Iterator[ops.Connection]:
    with psycopg.connect(fenced_database.service.conninfo, autocommit=True) as conn:
        yield conn


def noted(conn: ops.Connection) -> list[tuple[str, list[str], list[str] | None]]:
    """Take the lines out of the log."""
    lines = conn.execute("delete from ops.change_log returning n, source, coalesce(keys, '{}'), requests").fetchall()
    return [tuple(line[1:]) for line in sorted(lines)]  # type: ignore[misc]  # three columns


def test_nothing_is_noted_before_the_lift_and_all_after_it(owner: ops.Connection, service: ops.Connection) -> None:
    assert noted(owner) == []
    service.execute("update users set gold = 6 where id = 'a'")
    assert noted(owner) == [("users", ["a"], None)]
    fence.raise_fence(owner, owner=ME)
    fence.lift(owner)
    service.execute("update users set gold = 7 where id = 'a'")
    assert noted(owner) == [("users", ["a"], None)]
    fence.raise_fence(owner, state="moved")
    fence.lift(owner)
    service.execute("update users set gold = 8 where id = 'a'")
    assert noted(owner) == []


def test_a_command_is_noted_by_its_player_and_its_request_once(owner: ops.Connection, service: ops.Connection) -> None:
    with service.transaction():
        service.execute(
            "with u as (update users set seq = 1 where id = 'a'), r as"
            " (insert into action_receipts values ('a', 'r', 'c', 'o', 1, 1, 'c')), l as"
            " (insert into currency_ledger values ('a', 'r', 1, 'gold', 1, 'w', 1))"
            " insert into user_stages values ('a', '1', 1, true, true)"
        )
        service.execute("insert into inventory_history values ('a', 'r', 1, 'claim', 'i', 1, 1)")
    lines = noted(owner)
    assert lines[-1] == ("users", ["a"], ["r"])
    assert len(lines) <= 2


def test_another_player_in_the_same_transaction_is_noted_too(owner: ops.Connection, service: ops.Connection) -> None:
    with service.transaction():
        for player in ("a", "b", "a"):
            service.execute("update users set gold = gold + 1 where id = %s", (player,))
        service.execute("insert into action_receipts values ('a', 'r', 'c', 'o', 1, 1, 'c')")
        service.execute("insert into action_receipts values ('a', 'q', 'c', 'o', 1, 2, 'c')")
    keys = {(key, *(requests or ())) for _source, (key,), requests in noted(owner)}
    assert keys == {("a",), ("b",), ("a", "r"), ("a", "q")}


def test_what_a_savepoint_takes_back_is_noted_when_it_is_done_again(
    owner: ops.Connection, service: ops.Connection
) -> None:
    with service.transaction():
        with service.transaction(force_rollback=True):
            service.execute("update users set gold = 6 where id = 'a'")
        service.execute("insert into user_stages values ('a', '1', 1, true, true)")
    assert noted(owner) == [("users", ["a"], None)]


def test_an_update_of_a_key_notes_both(owner: ops.Connection) -> None:
    owner.execute("update users set id = 'c' where id = 'b'")
    assert noted(owner) == [("users", ["b", "c"], None)]
    owner.execute("insert into user_stages values ('a', '1', 1, true, true)")
    noted(owner)
    owner.execute("update user_stages set user_id = 'c'")
    assert [sorted(keys) for _source, keys, _requests in noted(owner)] == [["a", "c"]]


def test_no_setting_of_the_session_switches_it_off(owner: ops.Connection, service: ops.Connection) -> None:
    service.execute("select set_config('sudamr.noted', 'whatever', false)")
    service.execute("set search_path = pg_temp, game")
    service.execute("update users set gold = 6 where id = 'a'")
    assert noted(owner) == [("users", ["a"], None)]


def test_every_table_and_event_is_noted(owner: ops.Connection) -> None:
    assert change_log.lacking(owner) == []
    assert set(tables.LOGGED) == {table.name for table in (*fence.game_tables.ALL, tables.quarantine)}


def test_truncate_is_refused_and_a_pass_ends_the_log(owner: ops.Connection) -> None:
    for table in tables.LOGGED:
        with pytest.raises(psycopg.DatabaseError) as caught:
            owner.execute(f"truncate {table} cascade".encode())
        assert caught.value.sqlstate in (schema.TRUNCATE_SQLSTATE, schema.APPEND_ONLY_SQLSTATE)
    with fence.own_pass(owner):
        owner.execute("truncate user_mail")
    capture = change_log.capture(owner)
    assert capture is not None
    assert (capture.on, capture.ended) == (False, "truncated")
    owner.execute("truncate user_mail")


def test_the_service_neither_reads_nor_writes_it(service: ops.Connection) -> None:
    for statement in (
        "select from ops.change_log",
        "insert into ops.change_log (log, source) values ('x', 'users')",
        "update ops.change_capture set most = 0",
        "select ops.bound_change_log('game', 1)",
        "delete from ops.change_log",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement.encode())


def test_a_log_that_is_full_turns_itself_off_and_no_write_fails_or_waits(
    owner: ops.Connection, service: ops.Connection, fenced_database: Database
) -> None:
    owner.execute("update ops.change_capture set most = 1000")
    with psycopg.connect(fenced_database.service.conninfo) as slow:
        slow.execute("update users set gold = gold + 1 where id = 'b'")  # Its transaction stays open.
        service.execute("set statement_timeout = '5s'")
        for n in range(2200):
            service.execute("update users set gold = %s where id = 'a'", (n,))
        capture = change_log.capture(owner)
        assert capture is not None
        assert (capture.on, capture.ended) == (False, "outgrown")
        slow.commit()
    assert len(noted(owner)) < 2100


def test_a_transaction_with_a_snapshot_of_its_own_is_not_failed_by_the_bound(owner: ops.Connection) -> None:
    owner.execute("update ops.change_capture set most = 0")
    owner.execute("begin isolation level repeatable read")
    owner.execute("select ops.bound_change_log('game', 1000000)")
    owner.execute("commit")
    capture = change_log.capture(owner)
    assert capture is not None
    assert capture.on


def test_turning_it_on_waits_for_writes_that_have_seen_it_off(owner: ops.Connection, fenced_database: Database) -> None:
    change_log.turn_off(owner)
    with psycopg.connect(fenced_database.service.conninfo) as early:
        early.execute("update users set gold = gold + 1 where id = 'b'")
        with pytest.raises(errors.LockNotAvailable):
            change_log.turn_on(owner, run="r", peer="p")
        early.commit()
    change_log.turn_on(owner, run="r", peer="p")
    capture = change_log.capture(owner)
    assert capture is not None
    assert (capture.on, capture.run, capture.peer, capture.at_lift) == (True, "r", "p", False)


def test_the_revision_makes_the_functions_that_prepare_makes() -> None:
    text = next(one.sql for one in revisions.read().revisions if one.id == "0012")
    for body in (schema.NOTE_CHANGES_BODY, schema.BOUND_CHANGE_LOG_BODY, schema.REFUSE_TRUNCATE_BODY):
        assert body in text


def test_a_schema_before_the_log_is_lifted_without_one(owner: ops.Connection) -> None:
    owner.execute("alter table ops.change_capture rename to other")
    assert change_log.capture(owner) is None
    fence.raise_fence(owner, state="moved", owner=ME)
    fence.lift(owner, log=True)
    assert fence.state(owner) == "open"
