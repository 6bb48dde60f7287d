"""The fence of Postgres: no write of any kind gets through without the pass, and it goes on and off as one."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from db import ops
from db.errors import Failure, Refusal
from db.ops import fence, fence_proof, schema
from game import tables as game_tables
from game.errors import FENCE_MESSAGE, FENCE_PASS_SETTING, FENCE_SQLSTATE
from harness.databases import Database
from tests.db.ops.fencing import ALL, WRITES, gold, owner, refused, refused_inside, service

__all__ = ["owner", "service"]


@pytest.mark.parametrize("statement", WRITES)
def test_no_write_of_any_kind_gets_through_the_owners_included(owner: ops.Connection, statement: str) -> None:
    assert refused(owner, statement) == FENCE_SQLSTATE
    assert owner.execute("select id, gold from users").fetchall() == [("a", 5)]


def test_every_table_refuses_the_service(service: ops.Connection) -> None:
    for table in (*game_tables.PLAYER_STATE, *game_tables.OTHER_STATE, *game_tables.JOURNALS):
        assert refused(service, f"insert into {table.name} default values") == FENCE_SQLSTATE


def test_reads_and_row_locks_go_on_under_the_fence(service: ops.Connection) -> None:
    with service.transaction():
        assert service.execute("select gold from users where id = 'a' for update").fetchall() == [(5,)]


def test_no_setting_of_the_session_opens_the_fence(owner: ops.Connection, service: ops.Connection) -> None:
    fence.raise_fence(owner, pass_token="pass")
    service.execute("set default_transaction_read_only = off")
    service.execute("set search_path = pg_temp, game")
    service.execute("select set_config(%s, '', false)", (FENCE_PASS_SETTING,))
    assert refused(service, "update users set gold = 7") == FENCE_SQLSTATE
    service.execute("select set_config(%s, 'guessed', false)", (FENCE_PASS_SETTING,))
    assert refused(service, "update users set gold = 7") == FENCE_SQLSTATE


def test_a_function_of_the_services_own_does_not_take_the_place_of_the_fences(service: ops.Connection) -> None:
    service.execute("create temp table fence_passes (schema text, pass_sha256 text)")
    service.execute("create function pg_temp.sha256(bytea) returns bytea language sql as $$ select 'x'::bytea $$")
    service.execute("set search_path = pg_temp, game, pg_catalog")
    service.execute("select set_config(%s, 'guessed', false)", (FENCE_PASS_SETTING,))
    assert refused(service, "update users set gold = 7") == FENCE_SQLSTATE


def test_the_pass_lets_its_bearers_transaction_through_and_ends_with_it(
    owner: ops.Connection, service: ops.Connection
) -> None:
    token = fence.new_pass()
    fence.raise_fence(owner, pass_token=token)
    with service.transaction():
        fence.bypass(service, token)
        service.execute("update users set gold = 7")
    assert gold(owner) == 7
    assert refused(service, "update users set gold = 8") == FENCE_SQLSTATE


def test_a_pass_outside_a_transaction_is_an_error_rather_than_a_leak(service: ops.Connection) -> None:
    with pytest.raises(ValueError, match="transaction"):
        fence.bypass(service, "pass")


def test_an_earlier_runs_pass_opens_nothing(owner: ops.Connection, service: ops.Connection) -> None:
    fence.raise_fence(owner, pass_token="first")
    fence.raise_fence(owner, pass_token="second")
    with pytest.raises(psycopg.DatabaseError) as error, service.transaction():
        _write_with(service, "first")
    assert error.value.sqlstate == FENCE_SQLSTATE
    with service.transaction():
        _write_with(service, "second")


def _write_with(conn: ops.Connection, token: str) -> None:
    fence.bypass(conn, token)
    conn.execute("update users set gold = 7")


def test_the_database_keeps_the_passes_hash_alone(owner: ops.Connection) -> None:
    fence.raise_fence(owner, pass_token="a-pass-of-this-run")
    kept = owner.execute("select schema, pass_sha256 from ops.fence_passes").fetchall()
    assert len(kept) == 1
    assert "a-pass-of-this-run" not in str(kept)


def test_an_empty_pass_is_no_pass(owner: ops.Connection) -> None:
    with pytest.raises(ValueError, match="empty"):
        fence.raise_fence(owner, pass_token="")


def test_a_lifted_fence_lets_the_service_write_and_a_set_one_stops_it(
    owner: ops.Connection, service: ops.Connection
) -> None:
    fence.lift(owner)
    assert fence.state(service) == fence.state(owner) == "open"
    service.execute("update users set gold = 7")
    fence.raise_fence(owner)
    assert fence.state(service) == "fenced"
    assert refused(service, "update users set gold = 8") == FENCE_SQLSTATE


def test_switching_to_where_it_stands_is_harmless(owner: ops.Connection) -> None:
    fence.raise_fence(owner)
    fence.raise_fence(owner)
    assert fence.state(owner) == "fenced"
    fence.lift(owner)
    fence.lift(owner)
    assert fence.state(owner) == "open"


def test_moved_is_told_from_fenced(owner: ops.Connection, service: ops.Connection) -> None:
    assert _message(service) == f"{FENCE_MESSAGE}: fenced"
    fence.raise_fence(owner, state="moved")
    assert _message(service) == f"{FENCE_MESSAGE}: moved"
    assert fence.state(service) == "moved"


def _message(conn: ops.Connection) -> str | None:
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("delete from users")
    return error.value.diag.message_primary


@pytest.mark.parametrize("statement", ["update currency_ledger set n = 2", "delete from currency_ledger"])
def test_a_journal_refuses_changes_even_when_open(
    owner: ops.Connection, service: ops.Connection, statement: str
) -> None:
    fence.lift(owner)
    assert refused(owner, statement) == schema.APPEND_ONLY_SQLSTATE
    assert refused(service, statement) == "42501"
    assert refused(owner, "truncate currency_ledger") == schema.APPEND_ONLY_SQLSTATE
    service.execute("insert into currency_ledger values ('a', 's', 1, 'gold', 5, 'mail', 10)")
    with fence.own_pass(owner):
        owner.execute(statement)


def test_a_fenced_journal_answers_like_every_other_table(owner: ops.Connection) -> None:
    assert refused(owner, "delete from currency_ledger") == FENCE_SQLSTATE


def test_the_owners_own_pass_is_gone_with_its_transaction(owner: ops.Connection) -> None:
    fence.raise_fence(owner, pass_token="the run's")
    before = owner.execute("select * from ops.fence_passes").fetchall()
    with fence.own_pass(owner):
        owner.execute("update users set gold = 7")
    assert refused(owner, "update users set gold = 8") == FENCE_SQLSTATE
    assert owner.execute("select * from ops.fence_passes").fetchall() == before


def test_the_owners_own_pass_within_a_transaction_ends_before_it(owner: ops.Connection) -> None:
    with owner.transaction(force_rollback=True):
        with fence.own_pass(owner):
            owner.execute("update users set gold = 7")
        assert refused_inside(owner, "update users set gold = 8") == FENCE_SQLSTATE


def test_phase_and_lift_are_one_transaction(fenced_database: Database, owner: ops.Connection) -> None:
    with ops.lock(fenced_database.owner, run="run-1", why="a test") as held:
        held.advance(ops.Phase.EMPTY, ops.Phase.LOADING)
        with held.conn.transaction(force_rollback=True):
            held.advance(ops.Phase.LOADING, ops.Phase.LIVE)
            fence.lift(held.conn)
        assert (ops.phase(owner), fence.state(owner)) == ("loading", "fenced")
        with held.conn.transaction():
            held.advance(ops.Phase.LOADING, ops.Phase.LIVE)
            fence.lift(held.conn)
        assert (ops.phase(owner), fence.state(owner)) == ("live", "open")


def test_the_proof_counts_what_was_refused_and_keeps_nothing(fenced_database: Database, owner: ops.Connection) -> None:
    before = owner.execute("select * from users").fetchall()
    state = len(game_tables.PLAYER_STATE) + len(game_tables.OTHER_STATE)
    assert fence_proof.prove(fenced_database.service) == state * 3 + len(game_tables.JOURNALS)
    assert fence_proof.prove(fenced_database.owner) == len(ALL) * 3
    assert owner.execute("select * from users").fetchall() == before


HOLES = {
    "disabled": "alter table user_mail disable trigger sudamr_fence",
    "not always": "alter table user_mail enable trigger sudamr_fence",
    "dropped": "drop trigger sudamr_fence on user_mail",
    "not for all": """
        drop trigger sudamr_fence on user_mail;
        create trigger sudamr_fence before insert on user_mail for each statement execute function ops.refuse_fenced();
        alter table user_mail enable always trigger sudamr_fence""",
    "by row": """
        drop trigger sudamr_fence on user_mail;
        create trigger sudamr_fence before insert or update or delete on user_mail for each row
            execute function ops.refuse_fenced();
        alter table user_mail enable always trigger sudamr_fence""",
    "another function": """
        create function nothing() returns trigger language plpgsql as 'begin return null; end';
        drop trigger sudamr_fence on user_mail;
        create trigger sudamr_fence before insert or update or delete or truncate on user_mail
            for each statement execute function nothing();
        alter table user_mail enable always trigger sudamr_fence""",
    "a table of others": "create table user_mail_2 (id text)",
}


@pytest.mark.parametrize("hole", HOLES)
def test_the_proof_finds_each_kind_of_hole(fenced_database: Database, owner: ops.Connection, hole: str) -> None:
    owner.execute(HOLES[hole])
    with pytest.raises(Failure, match="user_mail"):
        fence_proof.prove(fenced_database.service)


def test_the_proof_finds_a_function_that_lets_writes_through(fenced_database: Database, owner: ops.Connection) -> None:
    owner.execute(
        "create or replace function ops.refuse_fenced() returns trigger language plpgsql as 'begin return null; end'"
    )
    with pytest.raises(Failure, match="INSERT on key_values: 23502, not SF001"):
        fence_proof.prove(fenced_database.service)


def test_the_proof_does_not_take_missing_rights_for_a_fence(fenced_database: Database, owner: ops.Connection) -> None:
    owner.execute(f'revoke insert on currency_ledger from "{fenced_database.service.user}"')
    owner.execute(f'revoke update on users from "{fenced_database.service.user}"')
    with pytest.raises(Failure) as failed:
        fence_proof.prove(fenced_database.service)
    assert "INSERT on currency_ledger: 42501, not SF001; UPDATE on users: 42501, not SF001" in str(failed.value)


def test_a_trigger_switched_by_hand_is_found_by_asking_for_the_state(owner: ops.Connection) -> None:
    owner.execute("alter table user_mail disable trigger sudamr_fence")
    with pytest.raises(Failure, match="otherwise on user_mail"):
        fence.state(owner)
    fence.raise_fence(owner)
    assert fence.state(owner) == "fenced"


def test_a_table_without_the_trigger_keeps_the_fence_from_being_called_whole(owner: ops.Connection) -> None:
    owner.execute("create table theirs (id text)")
    for ask in (fence.state, fence.raise_fence):
        with pytest.raises(Failure, match="theirs"):
            ask(owner)
    assert (fence.recorded_state(owner), fence.inconsistent_tables(owner, "fenced")) == ("fenced", ("theirs",))
    assert refused(owner, "update users set gold = 7") == FENCE_SQLSTATE
    fence.lift(owner)
    assert fence.state(owner) == "open"


def test_a_schema_renamed_away_stays_fenced_and_no_pass_opens_it(owner: ops.Connection) -> None:
    fence.raise_fence(owner, pass_token="pass")
    owner.execute("alter schema game rename to rolled_back_1")
    owner.execute("set search_path = rolled_back_1")
    assert owner.execute("select state from fence_state").fetchone() == ("fenced",)
    with pytest.raises(psycopg.DatabaseError) as error, owner.transaction():
        _write_with(owner, "pass")
    assert error.value.sqlstate == FENCE_SQLSTATE


def test_where_nothing_was_migrated_there_is_no_fence_to_ask(owner: ops.Connection) -> None:
    owner.execute("set search_path = nowhere")
    for ask in (fence.state, fence.raise_fence, fence.lift):
        with pytest.raises(Refusal, match="invoke migrate"):
            ask(owner)


def test_the_service_can_not_switch_the_fence(service: ops.Connection) -> None:
    for statement in (
        "alter table users disable trigger sudamr_fence",
        "drop trigger sudamr_fence on users",
        "set session_replication_role = replica",
        "insert into ops.fence_passes values ('game', 'x')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement)
