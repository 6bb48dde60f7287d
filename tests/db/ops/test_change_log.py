"""The change log of Postgres: what it notes, of whom, and that it never stands in a player's way."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from db import ops, tables
from db.ops import change_log, fence, noting, schema
from db.schema import revisions
from db.servers import Server
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


@pytest.mark.parametrize("value", ["whatever", "*", "a", "{here}:a", "{here}:1ab"])
@pytest.mark.parametrize("local", [False, True], ids=["session", "transaction"])
def test_no_setting_of_a_session_leaves_out_a_row_of_many(
    owner: ops.Connection, service: ops.Connection, value: str, local: bool
) -> None:
    service.execute("set search_path = pg_temp, game")
    with service.transaction():
        row = service.execute("select 'game:' || pg_current_xact_id()").fetchone()
        assert row is not None
        for name in (noting.NOTED_SETTING, f"{noting.NOTED_SETTING}_request"):
            service.execute("select set_config(%s, %s, %s)", (name, value.format(here=row[0]), local))
        service.execute("update users set gold = gold + 1")
        service.execute("insert into user_stages select id, '1', 1, true, true from users")
        service.execute("insert into action_receipts select id, 'r', 'c', 'o', 1, 1, 'c' from users")
    assert everybody(noted(owner)) == {("a",), ("b",), ("a", "r"), ("b", "r")}
    service.execute("update users set gold = gold + 1 where id = 'a'")
    service.execute("insert into action_receipts values ('b', 'q', 'c', 'o', 1, 2, 'c')")
    assert everybody(noted(owner)) == {("a",), ("b",), ("b", "q")}


def test_a_setting_that_outlives_its_transaction_leaves_out_nothing(
    owner: ops.Connection, service: ops.Connection
) -> None:
    with service.transaction():
        service.execute("update users set gold = 6 where id = 'a'")
        row = service.execute("select current_setting(%s)", (noting.NOTED_SETTING,)).fetchone()
        assert row is not None
    service.execute("select set_config(%s, %s, false)", (noting.NOTED_SETTING, row[0]))
    noted(owner)
    service.execute("update users set gold = 7 where id = 'a'")
    assert everybody(noted(owner)) == {("a",)}


def everybody(lines: list[tuple[str, list[str], list[str] | None]]) -> set[tuple[str, ...]]:
    """Return all players of the lines, and all requests with their players."""
    players = {(key,) for _source, keys, _requests in lines for key in keys}
    return players | {
        pair for _source, keys, requests in lines if requests for pair in zip(keys, requests, strict=True)
    }


def test_a_statement_of_many_players_is_one_line(owner: ops.Connection, service: ops.Connection) -> None:
    owner.execute("insert into users (id, gold) select n::text, 5 from generate_series(1, 500) n")
    (first, many) = noted(owner)
    assert first == ("users", ["1"], None)
    assert len(many[1]) == 500
    owner.execute("delete from users where id <> 'a'")
    assert [len(keys) for _source, keys, _requests in noted(owner)] == [1, 501]
    service.execute(
        "insert into action_receipts select 'a', 'r' || n, 'c', 'o', 1, n, 'c' from generate_series(1, 500) n"
    )
    lines = noted(owner)
    assert len(lines) == 2
    assert len(everybody(lines)) == 501


def test_two_parts_of_a_statement_that_are_carried_out_together_are_noted_each(owner: ops.Connection) -> None:
    owner.execute("insert into users (id) values ('c'), ('d')")
    owner.execute("insert into user_stages select id, '1', 1, true, true from users where id in ('a', 'b')")
    noted(owner)
    owner.execute(
        "with gone as (delete from user_stages returning user_id)"
        " insert into user_mail (user_id, id, gold)"
        " select case user_id when 'a' then 'c' else 'd' end, 'm', 1 from gone"
    )
    assert everybody(noted(owner)) == {("a",), ("b",), ("c",), ("d",)}


def test_rows_that_copy_brings_and_those_of_a_replica_are_noted(
    owner: ops.Connection, service: ops.Connection, fenced_database: Database, server: Server
) -> None:
    with service.cursor().copy("copy user_stages (user_id, stage, cleared) from stdin") as copy:
        copy.write("a\t1\tt\nb\t1\tt\n")
    assert everybody(noted(owner)) == {("a",), ("b",)}
    superuser = server.url(fenced_database.owner.dbname, "superuser").with_(schema=fenced_database.owner.schema)
    with psycopg.connect(superuser.conninfo, autocommit=True) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute("update user_stages set rewarded = true where user_id = 'b'")
        assert everybody(noted(owner)) == {("b",)}
        conn.execute("delete from user_stages")
        assert everybody(noted(owner)) == {("a",), ("b",)}


def test_what_a_savepoint_of_many_players_takes_back_does_not_count(
    owner: ops.Connection, service: ops.Connection
) -> None:
    with service.transaction():
        with service.transaction(force_rollback=True):
            service.execute("update users set gold = gold + 1")
        service.execute("update users set gold = gold + 1")
        with service.transaction():
            service.execute("insert into action_receipts values ('a', 'r', 'c', 'o', 1, 1, 'c')")
    assert everybody(noted(owner)) == {("a",), ("b",), ("a", "r")}


def test_the_same_player_of_another_schema_is_noted_too(owner: ops.Connection) -> None:
    owner.execute("create schema other")
    owner.execute("create table other.users (like users)")
    owner.execute("create trigger r after insert on other.users for each row execute function ops.note_user_insert()")
    owner.execute(
        "create trigger s after insert on other.users referencing new table as changed for each statement"
        " execute function ops.note_statement('user')"
    )
    owner.execute("insert into ops.fence (schema, state, log) values ('other', 'open', 'of other')")
    with owner.transaction():
        owner.execute("update users set gold = gold + 1 where id = 'a'")
        owner.execute("insert into other.users select * from users where id = 'a'")
    rows = owner.execute("select count(distinct log), array_agg(distinct keys[1]) from ops.change_log").fetchone()
    assert rows == (2, ["a"])


def test_no_operator_type_or_function_of_the_session_is_called(owner: ops.Connection) -> None:
    """The triggers of rows set no search path."""
    owner.execute("create schema mine")
    for name, body in (("yes", "select true"), ("no", "select false")):
        owner.execute(f"create function mine.{name}(text, text) returns bool language sql as '{body}'".encode())
    owner.execute("create operator mine.= (leftarg = text, rightarg = text, function = mine.yes)")
    owner.execute("create operator mine.<> (leftarg = text, rightarg = text, function = mine.no)")
    owner.execute("create function mine.concat(variadic text[]) returns text language sql as 'select null'")
    owner.execute("create function mine.current_setting(text, bool) returns text language sql as 'select null'")
    owner.execute("create domain pg_temp.text as int")
    owner.execute("create domain pg_temp.int8 as int")
    owner.execute("set search_path = mine, game, pg_catalog")
    owner.execute("update users set gold = 6 where id operator(pg_catalog.=) 'a'")
    owner.execute("update users set gold = 7")
    owner.execute("insert into user_stages values ('b', '1', 1, true, true)")
    owner.execute("reset search_path")
    assert everybody(noted(owner)) == {("a",), ("b",)}


def test_a_transaction_that_turns_the_log_on_itself_notes_from_then_on(owner: ops.Connection) -> None:
    change_log.turn_off(owner)
    with owner.transaction():
        owner.execute("update users set gold = 6 where id = 'a'")
        change_log.begin_at_lift(owner)
        owner.execute("update users set gold = 7 where id = 'a'")
    assert noted(owner) == [("users", ["a"], None)]


def test_every_table_and_event_is_noted(owner: ops.Connection) -> None:
    assert change_log.lacking(owner) == []
    assert set(tables.LOGGED) == {table.name for table in (*fence.game_tables.ALL, tables.quarantine)}


def test_truncate_is_refused_and_a_pass_ends_the_log(owner: ops.Connection) -> None:
    for table in tables.LOGGED:
        with pytest.raises(psycopg.DatabaseError) as caught:
            owner.execute(f"truncate {table} cascade".encode())
        assert caught.value.sqlstate in (noting.TRUNCATE_SQLSTATE, schema.APPEND_ONLY_SQLSTATE)
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


def test_the_revisions_make_the_functions_that_prepare_makes() -> None:
    text = "".join(one.sql for one in revisions.read().revisions if one.id in ("0012", "0013"))
    rows = [noting.note_row_body(kind, event) for kind in noting.KINDS for event in noting.EVENTS]
    statements = (noting.NOTE_CHANGES_BODY, noting.NOTE_STATEMENT_BODY)
    for body in (*rows, *statements, noting.BOUND_CHANGE_LOG_BODY, noting.REFUSE_TRUNCATE_BODY):
        assert body in text


def test_a_schema_before_the_log_is_lifted_without_one(owner: ops.Connection) -> None:
    owner.execute("alter table ops.change_capture rename to other")
    assert change_log.capture(owner) is None
    fence.raise_fence(owner, state="moved", owner=ME)
    fence.lift(owner, log=True)
    assert fence.state(owner) == "open"
