"""A fence waits for a bounded time, and only for writes in flight: not for vacuums, readers or locked tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from db import ops
from db.errors import Failure
from db.ops import fence, schema
from game.errors import FENCE_MESSAGE, FENCE_SQLSTATE
from harness.databases import Database, Databases
from tests.db.ops.fencing import gold, owner, refused, refused_inside, service

__all__ = ["owner", "service"]


def test_a_command_that_has_written_is_waited_for(owner: ops.Connection, service: ops.Connection) -> None:
    fence.lift(owner)
    with service.transaction():
        service.execute("update users set gold = 6")
        fencing = threading.Thread(target=fence.raise_fence, args=(owner,))
        fencing.start()
        _wait_until_blocked(service, owner)
        service.execute("update user_equipment set slot = slot")
        service.execute("update users set gold = 7")  # what is in flight gets through, wholly
    fencing.join()
    assert gold(owner) == 7
    assert fence.state(owner) == "fenced"


def test_a_command_that_has_written_nothing_is_not_waited_for_and_refused(
    owner: ops.Connection, service: ops.Connection
) -> None:
    fence.lift(owner)
    with service.transaction(force_rollback=True):
        assert service.execute("select state from fence_state").fetchone() == ("open",)
        service.execute("select * from users where id = 'a' for update")
        fence.raise_fence(owner, patience_seconds=0.5)
        assert refused_inside(service, "update users set gold = 7") == FENCE_SQLSTATE


@pytest.mark.parametrize("isolation", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_snapshot_of_before_the_fence_writes_nothing_after_it(
    owner: ops.Connection, service: ops.Connection, isolation: psycopg.IsolationLevel
) -> None:
    """Read by such a snapshot, the fence's row would be open still."""
    fence.lift(owner)
    service.isolation_level = isolation
    with service.transaction(force_rollback=True):
        assert service.execute("select state from fence_state").fetchone() == ("open",)
        fence.raise_fence(owner)
        assert refused_inside(service, "update users set gold = 7") == "40001"
    with service.transaction(force_rollback=True):
        assert refused_inside(service, "update users set gold = 7") == FENCE_SQLSTATE
    fence.lift(owner)
    with service.transaction():
        service.execute("update users set gold = 7")
    assert gold(owner) == 7


@pytest.mark.parametrize("mode", ["share update exclusive", "share", "access exclusive"])
@pytest.mark.parametrize("switch", [fence.raise_fence, fence.lift])
def test_a_vacuum_an_index_that_is_built_and_a_locked_table_stop_no_switch(
    owner: ops.Connection, fenced_database: Database, mode: str, switch: Callable[[ops.Connection], None]
) -> None:
    """The modes of VACUUM, of CREATE INDEX, and of what rewrites a table."""
    fence.lift(owner)
    with psycopg.connect(fenced_database.owner.conninfo) as other:
        other.execute(f"lock table users, user_mail, action_receipts in {mode} mode".encode())
        owner.execute("set lock_timeout = '10s'")
        switch(owner)
    assert fence.state(owner) == ("fenced" if switch is fence.raise_fence else "open")


def test_a_function_of_an_earlier_version_is_replaced_and_what_it_switched_off_is_on(
    owner: ops.Connection, service: ops.Connection
) -> None:
    """Earlier versions switched the triggers, and their function refused whoever bore no pass."""
    fence.lift(owner)
    owner.execute(EARLIER_FUNCTION)
    owner.execute("alter table users disable trigger sudamr_fence")
    fence.raise_fence(owner)
    assert refused(service, "update users set gold = 8") == FENCE_SQLSTATE
    owner.execute(EARLIER_FUNCTION)
    fence.lift(owner)
    service.execute("update users set gold = 7")
    assert gold(owner) == 7


def test_the_revisions_make_the_function_that_prepare_makes(owner: ops.Connection) -> None:
    """Each has a copy of its own: a revision must stay as it was applied."""
    query = "select prosrc from pg_proc where oid = 'ops.refuse_fenced()'::regprocedure"
    migrated = owner.execute(query).fetchone()
    owner.execute(schema.FUNCTIONS)
    assert owner.execute(query).fetchone() == migrated


EARLIER_FUNCTION = f"""
create or replace function ops.refuse_fenced() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
begin
    if ops.has_pass(tg_table_schema) then
        return null;
    end if;
    raise exception using errcode = '{FENCE_SQLSTATE}', message = '{FENCE_MESSAGE}: fenced';
end
$body$
"""


def _wait_until_blocked(looker: ops.Connection, blocked: ops.Connection) -> None:
    """Until the server says so: the condition is asked for again and again, on the connection that blocks."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        row = looker.execute(
            "select %s = any(pg_blocking_pids(%s))", (looker.info.backend_pid, blocked.info.backend_pid)
        )
        if row.fetchone() == (True,):
            return
    raise AssertionError("it was never blocked")


def test_a_session_of_another_database_is_never_named(
    owner: ops.Connection, service: ops.Connection, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clones of one template share the numbers by which the server knows their tables."""
    fence.lift(owner)
    other = databases.clone()
    with psycopg.connect(other.service.conninfo, application_name="a bystander") as bystander, service.transaction():
        bystander.execute("update users set gold = 1")
        service.execute("update users set gold = 7")
        with pytest.raises(Failure) as caught:
            fence.raise_fence(owner, patience_seconds=0.2)
    databases.drop(other)
    assert "bystander" not in str(caught.value)


def test_who_is_in_the_way_for_too_long_is_named_and_nothing_is_changed(
    owner: ops.Connection, service: ops.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence.lift(owner)
    with service.transaction():
        service.execute("update users set gold = 7")
        with pytest.raises(Failure, match=f"not ended by the service of .* .server process {service.info.backend_pid}"):
            fence.raise_fence(owner, patience_seconds=0.2)
    assert fence.state(owner) == "open"
    assert owner.execute("show lock_timeout").fetchone() == ("0",)


def test_a_transaction_that_it_joins_keeps_its_own_lock_timeout(owner: ops.Connection) -> None:
    with owner.transaction():
        owner.execute("set local lock_timeout = '7s'")
        fence.lift(owner)
        assert owner.execute("show lock_timeout").fetchone() == ("7s",)


def test_an_open_read_is_in_nobodys_way(owner: ops.Connection, service: ops.Connection) -> None:
    with service.transaction():
        service.execute("select * from users")
        fence.lift(owner)
        fence.raise_fence(owner, patience_seconds=0.5)


def test_a_command_that_waited_for_the_fence_finds_it(owner: ops.Connection, service: ops.Connection) -> None:
    fence.lift(owner)
    with owner.transaction():
        fence.raise_fence(owner)
        ended: list[str | None] = []
        waiting = threading.Thread(target=lambda: ended.append(refused(service, "update users set gold = 7")))
        waiting.start()
        _wait_until_blocked(owner, service)
    waiting.join()
    assert ended == [FENCE_SQLSTATE]
