"""ops: the marker, the phase, and the one lock."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

from db import ops
from db.errors import Failure, Refusal
from db.ops import Phase, locks
from db.servers import Server
from db.target import pooler
from db.transfer import preconditions
from game.urls import PostgresUrl
from harness.databases import Database

HOLDER = """
import sys
from db import ops
from game.urls import read
with ops.lock(read(sys.argv[1]), run="run-7", why="cutover of test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def prepared(blank: PostgresUrl) -> PostgresUrl:
    ops.prepare(blank, "test")
    return blank


def advance(url: PostgresUrl, *steps: Phase) -> None:
    with ops.lock(url, run="run-1", why="a test") as held:
        for step in steps:
            held.advance(ops.phase(held.conn), step)


def test_preparing_marks_a_database_and_again_is_harmless(blank: PostgresUrl) -> None:
    with ops.connect(blank) as conn:
        assert ops.marker(conn) is None
        ops.prepare(blank, "staging")
        ops.prepare(blank, "staging")
        assert ops.marker(conn) == "staging"
        assert ops.phase(conn) is Phase.EMPTY


def test_a_database_of_another_environment_stays_its_own(blank: PostgresUrl) -> None:
    ops.prepare(blank, "production")
    with pytest.raises(Refusal, match="the database of staging; found the database of production"):
        ops.prepare(blank, "staging")
    with ops.connect(blank) as conn:
        assert ops.marker(conn) == "production"
        with pytest.raises(Refusal, match="production"):
            ops.require_marker(conn, "staging")
        ops.require_marker(conn, "production")


def test_a_database_that_was_not_prepared_is_refused_saying_what_to_run(blank: PostgresUrl) -> None:
    with ops.connect(blank) as conn:
        with pytest.raises(Refusal, match="invoke prepare --env test"):
            ops.require_marker(conn, "test")
        with pytest.raises(Refusal, match="invoke prepare"):
            ops.phase(conn)
    with pytest.raises(Refusal, match="invoke prepare"), ops.lock(blank, run="r", why="w"):
        pass


def test_what_an_older_version_prepared_is_refused_until_it_is_prepared_again(prepared: PostgresUrl) -> None:
    with ops.connect(prepared) as conn:
        conn.execute("drop table ops.proven; alter table ops.environment drop column identity")
        with pytest.raises(Refusal, match=r"one by an older version.*\n.*invoke prepare"):
            ops.phase(conn)
        ops.prepare(prepared, "test")
        assert ops.phase(conn) is Phase.EMPTY


def test_a_database_is_itself_whatever_it_is_called_and_its_copy_is_another(server: Server, blank: PostgresUrl) -> None:
    ops.prepare(blank, "test")
    with ops.connect(blank) as conn:
        first = ops.identity(conn)
    ops.prepare(blank, "test")
    renamed, copy = f"{blank.dbname}_renamed", f"{blank.dbname}_copy"
    with ops.connect(server.maintenance) as conn:
        conn.execute(f'alter database "{blank.dbname}" rename to "{renamed}"')
        conn.execute(f'create database "{copy}" template "{renamed}"')
    try:
        with (
            ops.connect(blank.with_(dbname=renamed)) as renamed_conn,
            ops.connect(blank.with_(dbname=copy)) as copy_conn,
        ):
            assert ops.identity(renamed_conn) == first
            assert ops.identity(copy_conn) != first
    finally:
        with ops.connect(server.maintenance) as conn:
            conn.execute(f'drop database "{copy}"')
            conn.execute(f'alter database "{renamed}" rename to "{blank.dbname}"')


def test_a_proof_is_written_by_the_run_that_loads_and_holds_until_it_is_forgotten(prepared: PostgresUrl) -> None:
    with ops.lock(prepared, run="run-1", why="a test") as held:
        with pytest.raises(Failure, match="run-1 to be the one that loads"):
            held.record_proof()
        held.advance(Phase.EMPTY, Phase.LOADING)
        with pytest.raises(Failure, match="a copy that was proven"):
            held.require_proof()
        held.record_proof()
        held.require_proof()
        assert not ops.is_proven(held.conn, "run-2")
    with ops.lock(prepared, run="run-2", why="a test") as held:
        with pytest.raises(Failure, match="run-2 to be the one that loads"):
            held.record_proof()
        assert ops.is_proven(held.conn, "run-1")
        ops.clear_proof(held.conn)
        assert not ops.is_proven(held.conn, "run-1")


def test_a_server_that_does_not_answer_is_refused_without_the_password() -> None:
    nobody = PostgresUrl("127.0.0.1", 1, "anna", "hunter2", "games")
    with pytest.raises(Refusal) as refused:
        ops.connect(nobody)
    assert "127.0.0.1:1/games" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_wrong_password_or_database_is_a_refusal(blank: PostgresUrl) -> None:
    with pytest.raises(Refusal, match="no_such_database"):
        ops.connect(blank.with_(dbname="no_such_database"))


def test_the_service_has_no_right_on_anything_in_ops(database: Database) -> None:
    with ops.connect(database.service) as conn:
        for table in ("environment", "phase", "lock_holder", "fence", "fence_passes", "proven", "revisions"):
            with pytest.raises(errors.InsufficientPrivilege):
                conn.execute(f"select * from ops.{table}")


def test_the_service_may_call_no_function_of_ops_were_it_let_in(database: Database) -> None:
    with ops.connect(database.owner) as conn:
        callable_by_service = conn.execute(
            "select proname from pg_proc where pronamespace = 'ops'::regnamespace"
            " and has_function_privilege(%s, oid, 'execute')",
            (database.service.user,),
        )
        assert callable_by_service.fetchall() == []


LEGAL = {
    ("empty", "loading"),
    ("aborted", "loading"),
    ("returned", "loading"),
    ("loading", "live"),
    ("loading", "aborted"),
    ("live", "returned"),
}


def test_only_the_legal_steps_of_the_phase_are_taken(prepared: PostgresUrl) -> None:
    with ops.lock(prepared, run="run-1", why="a test") as held:
        for from_, to in itertools.product(Phase, Phase):
            held.conn.execute("update ops.phase set phase = %s", (from_,))
            if (from_, to) in LEGAL:
                held.advance(from_, to)
                assert ops.phase(held.conn) is to
            else:
                with pytest.raises(ValueError, match="no phase goes"):
                    held.advance(from_, to)
                assert ops.phase(held.conn) is from_


def test_of_two_that_race_one_fails_and_says_how_it_stands(prepared: PostgresUrl) -> None:
    with ops.lock(prepared, run="run-1", why="a test") as held:
        held.advance(Phase.EMPTY, Phase.LOADING)
        held.advance(Phase.LOADING, Phase.ABORTED)
        with pytest.raises(Failure, match="the phase loading, to go to live; found the phase aborted"):
            held.advance(Phase.LOADING, Phase.LIVE)


def test_a_step_joins_the_transaction_that_is_open(prepared: PostgresUrl) -> None:
    with ops.lock(prepared, run="run-1", why="a test") as held:
        with held.conn.transaction(force_rollback=True):
            held.advance(Phase.EMPTY, Phase.LOADING)
        assert ops.phase(held.conn) is Phase.EMPTY


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_holder_that_lost_its_lock_can_do_nothing(prepared: PostgresUrl, in_transaction: bool) -> None:
    with ops.lock(prepared, run="run-1", why="a test") as held, ops.connect(prepared) as other:
        if in_transaction:
            held.conn.execute("begin")
        other.execute("select pg_terminate_backend(%s, 5000)", (held.conn.info.backend_pid,))
        with pytest.raises(Failure, match="lost"):
            held.advance(Phase.EMPTY, Phase.LOADING)
        with pytest.raises(Failure, match="lost"):
            held.require()
        assert ops.phase(other) is Phase.EMPTY


def test_a_second_holder_is_refused_naming_the_first(prepared: PostgresUrl) -> None:
    with ops.lock(prepared, run="run-1", why="cutover of test"):
        with pytest.raises(Refusal) as refused, ops.lock(prepared, run="run-2", why="rollback"):
            pass
        message = str(refused.value)
        assert "run run-1 (cutover of test)" in message
        assert f"process {os.getpid()}, since 20" in message
        assert os.uname().nodename in message
    with ops.lock(prepared, run="run-2", why="rollback"):
        pass


def test_the_lock_of_a_holder_that_was_killed_is_free_and_its_row_is_replaced(prepared: PostgresUrl) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, prepared.as_text()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Refusal, match=f"run run-7 .cutover of test. on .*, process {holder.pid}, since"):
            advance(prepared)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with ops.connect(prepared) as conn:  # The server notices by itself; we wait for that, and no longer.
        conn.execute("set lock_timeout = '10s'")
        conn.execute("select pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.RUN_LOCK))
        assert conn.execute("select run from ops.lock_holder").fetchone() == ("run-7",)
        with pytest.raises(Refusal, match="sudamr of"):  # not the dead run, whose row is there still
            advance(prepared)
    with ops.lock(prepared, run="run-8", why="again") as held:
        assert held.conn.execute("select run from ops.lock_holder").fetchone() == ("run-8",)


def test_the_lock_is_released_when_its_body_fails_in_a_transaction(prepared: PostgresUrl) -> None:
    def fail() -> None:
        with ops.lock(prepared, run="run-1", why="a test") as held:
            held.conn.execute("begin")
            held.conn.execute("select * from nowhere")

    with pytest.raises(errors.UndefinedTable):
        fail()
    advance(prepared, Phase.LOADING)
    with ops.connect(prepared) as conn:
        assert conn.execute("select count(*) from ops.lock_holder").fetchone() == (0,)
        assert conn.execute("select phase, run from ops.phase").fetchone() == ("loading", "run-1")


LOCKED: dict[int, Callable[[PostgresUrl], AbstractContextManager[Any]]] = {
    locks.RUN_LOCK: lambda url: ops.lock(url, run="run-1", why="a test"),
    locks.TRANSFER_LOCK: preconditions.writing,
}


@pytest.mark.parametrize("key", LOCKED)
@pytest.mark.parametrize("fails", [False, True])
def test_a_lock_is_given_back_before_its_connection_closes(
    prepared: PostgresUrl, monkeypatch: pytest.MonkeyPatch, key: int, fails: bool
) -> None:
    """The server drops the locks of a closed session later: the next command would be refused now and then."""
    with ExitStack() as until_the_end, ops.connect(prepared) as other:
        open_on = until_the_end.enter_context(ops.connect(prepared))
        monkeypatch.setattr(ops, "connect", lambda *_arguments, **_named: nullcontext(open_on))
        with suppress(ZeroDivisionError), LOCKED[key](prepared):
            if fails:
                open_on.execute("begin")
                raise ZeroDivisionError

        taken = other.execute("select pg_try_advisory_lock(%s, %s)", (locks.LOCK_CLASS, key)).fetchone()

        assert not open_on.closed
        assert taken == (True,)


def test_the_lock_is_of_one_database_alone(prepared: PostgresUrl, database: Database) -> None:
    with ops.lock(prepared, run="run-1", why="a test"), ops.lock(database.owner, run="run-2", why="a test"):
        pass


def test_the_lock_ends_when_its_connection_is_gone_without_hiding_why(prepared: PostgresUrl) -> None:
    def fail() -> None:
        with ops.lock(prepared, run="run-1", why="a test") as held:
            held.conn.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    advance(prepared, Phase.LOADING)


def test_a_pooler_in_between_is_refused(prepared: PostgresUrl) -> None:
    """A pooler answers with a process id of its own; a connection is made to look like one behind it."""

    class Behind:
        backend_pid = -1

    class Pooled(psycopg.Connection[tuple[object, ...]]):
        @property
        def info(self) -> Behind:  # type: ignore[override]  # only the process id is asked for
            return Behind()

    with Pooled.connect(prepared.conninfo) as conn, pytest.raises(Refusal, match="a pooler between"):
        pooler.require_direct(conn, prepared)
