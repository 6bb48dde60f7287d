"""Clones are whole and apart, a reset is proven, and who holds a lock or a connection is named at once."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from db import ops
from db.errors import Failure
from db.ops import fence, fence_proof
from db.schema import migrate
from db.servers import Server, start
from game.errors import FENCE_SQLSTATE
from harness.databases import Database, Databases
from tests.fixtures.given_server import given

INSERT_PLAYER = "INSERT INTO users (id, gold) VALUES ('mina', 7)"


@contextmanager
def owner_of(database: Database) -> Iterator[psycopg.Connection]:
    with ops.connect(database.owner) as conn:
        yield conn


@pytest.mark.plan(5)
def test_a_clone_is_migrated_marked_test_open_and_empty(database: Database) -> None:
    with owner_of(database) as conn:
        assert migrate.current(conn) == migrate.head()
        assert ops.marker(conn) == "test"
        assert fence.state(conn) == "open"
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
    assert migrate.drift(database.owner) == []
    with psycopg.connect(database.service.conninfo) as conn:
        conn.execute(INSERT_PLAYER)


def test_a_fenced_clone_lets_nobody_write(fenced_database: Database) -> None:
    with psycopg.connect(fenced_database.service.conninfo) as conn:
        with pytest.raises(psycopg.Error) as refused:
            conn.execute(INSERT_PLAYER)
        assert refused.value.sqlstate == FENCE_SQLSTATE


def test_what_one_clone_holds_another_does_not(databases: Databases, database: Database) -> None:
    with psycopg.connect(database.service.conninfo) as conn:
        conn.execute(INSERT_PLAYER)
    other = databases.clone()
    with psycopg.connect(other.service.conninfo) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
    databases.drop(other)


def test_names_bear_the_run_and_nobody_can_enter_a_template(server: Server, database: Database) -> None:
    assert database.name.startswith(server.mark)
    with server.admin() as conn:
        query = "SELECT datname, datallowconn FROM pg_database WHERE datname ~ %s"
        templates = dict(conn.execute(query, [f"^{server.mark}(open|fenced)_[0-9a-f]{{12}}$"]).fetchall())
    assert set(templates.values()) == {False}
    assert len(templates) == 2
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        psycopg.connect(server.url(min(templates), "superuser").conninfo)


@pytest.mark.plan(30)
def test_a_reset_takes_back_rows_journals_the_fence_and_the_markers(databases: Databases, database: Database) -> None:
    with owner_of(database) as conn:
        conn.execute(INSERT_PLAYER)
        conn.execute("INSERT INTO action_receipts VALUES ('mina', 'r', 'c', 'o', 0, 1, 'chain')")
        conn.execute("UPDATE ops.environment SET name = 'production'")
        conn.execute("INSERT INTO ops.lock_holder VALUES (true, 'run', 'why', 'host', 1, 1)")
        fence.raise_fence(conn, state="moved", pass_token="words")
        databases.reset(database)
        assert ops.marker(conn) == "test"
        assert fence.state(conn) == "open"
        for table in ("users", "action_receipts", "ops.lock_holder", "ops.fence_passes"):
            assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,), table
        conn.execute(INSERT_PLAYER)


def test_a_reset_fences_again_what_began_fenced(databases: Databases, fenced_database: Database) -> None:
    with owner_of(fenced_database) as conn:
        fence.lift(conn)
        conn.execute(INSERT_PLAYER)
        databases.reset(fenced_database)
        assert fence.state(conn) == "fenced"
    assert fence_proof.prove(fenced_database.service) > 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE users ADD COLUMN luck int", "columns of users"),
        ("ALTER TABLE users DROP CONSTRAINT users_gold_check", "constraint users_gold_check"),
        ("SELECT lo_create(70707)", "large object 70707"),
        ("CREATE INDEX users_gold ON users (gold)", "index users_gold"),
        ("CREATE FUNCTION luck() RETURNS int LANGUAGE sql AS 'SELECT 7'", "function luck()"),
        ("REVOKE INSERT ON users FROM {service}", "table users"),
        ("CREATE SEQUENCE draws", "sequence draws"),
    ],
)
def test_a_reset_that_cannot_put_something_back_names_it(
    databases: Databases, database: Database, change: str, named: str
) -> None:
    with owner_of(database) as conn:
        conn.execute(change.format(service=database.service.user).encode())
    with pytest.raises(Failure) as failed:
        databases.reset(database)
    assert named in failed.value.found
    assert database.name in failed.value.where


def test_a_reset_names_who_holds_a_lock_and_changes_nothing(databases: Databases, database: Database) -> None:
    url = database.service.with_(parameters=(("application_name", "forgetful"),))
    with psycopg.connect(url.conninfo) as holder:
        holder.execute(INSERT_PLAYER)
        with pytest.raises(Failure) as failed:
            databases.reset(database)
        for word in (str(holder.info.backend_pid), "forgetful", "idle in transaction", "users RowExclusiveLock"):
            assert word in failed.value.found
        holder.commit()
        assert holder.execute("SELECT gold FROM users").fetchone() == (7,)
        holder.commit()
        databases.reset(database)
        assert holder.execute("SELECT gold FROM users").fetchone() is None


def test_a_drop_names_who_is_connected_still(databases: Databases) -> None:
    clone = databases.clone()
    conn = psycopg.connect(clone.service.conninfo)
    with conn, pytest.raises(Failure, match=f"{clone.name}.*nobody connected.*process {conn.info.backend_pid} "):
        databases.drop(clone)
    databases.drop(clone)


def test_a_reset_works_after_every_connection_was_lost(
    server: Server, databases: Databases, database: Database
) -> None:
    databases.reset(database)
    with server.admin() as conn:
        conn.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database.name])
    databases.reset(database)


@pytest.fixture
def another_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A run of its own on the same server, in which no template was made yet."""
    with start(given(server.maintenance, monkeypatch)) as guest:
        yield guest


def test_a_role_that_is_no_superuser_can_do_all_this_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{server.mark}{secrets.token_hex(4)}"
    with server.admin() as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'words' CREATEROLE CREATEDB".encode())
    url = server.maintenance.with_(user=name, password="words")
    with start(given(url, monkeypatch)) as guest, Databases(guest) as databases:
        clone = databases.clone()
        with psycopg.connect(clone.service.conninfo) as player:
            player.execute(INSERT_PLAYER)
            with pytest.raises(Failure, match=f"process {player.info.backend_pid} .*idle in transaction.*INSERT INTO"):
                databases.reset(clone)
            player.commit()
            databases.reset(clone)
            assert player.execute("SELECT count(*) FROM users").fetchone() == (0,)
        databases.drop(clone)
    with server.admin() as conn:
        conn.execute(f"DROP ROLE {name}".encode())


def test_workers_that_come_at_once_make_the_template_once_between_them(another_run: Server) -> None:
    made: list[str] = []

    def work() -> None:
        with Databases(another_run) as databases:
            clone = databases.clone()
            made.append(clone.name)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with another_run.admin() as conn:
        query = (
            "SELECT count(*), count(*) FILTER (WHERE NOT datallowconn) FROM pg_database WHERE starts_with(datname, %s)"
        )
        assert conn.execute(query, [another_run.mark]).fetchone() == (5, 2)
    assert len(set(made)) == 3


def test_a_template_that_a_killed_worker_left_half_made_is_made_again(another_run: Server) -> None:
    with Databases(another_run) as databases:
        name = databases.template(fenced=True)
        with another_run.admin() as conn:
            conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        with psycopg.connect(another_run.url(name, "owner").conninfo) as half:
            half.execute("DROP SCHEMA game CASCADE")
    with Databases(another_run) as databases:
        clone = databases.clone(fenced=True)
        with owner_of(clone) as conn:
            assert fence.state(conn) == "fenced"


def test_the_template_is_named_anew_when_the_code_that_makes_it_changes(
    another_run: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Databases(another_run) as databases:
        before = databases.template(fenced=True)
    monkeypatch.setattr("harness.databases.clones.MAKERS", ("db/migrations",))
    with Databases(another_run) as databases:
        assert databases.template(fenced=True) != before
