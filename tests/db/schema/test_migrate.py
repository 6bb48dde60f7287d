"""Migrate: fenced from the first moment, guarded, repeatable, and exactly the rights that the service needs."""

from __future__ import annotations

import threading

import pytest
from psycopg import errors

from db import ops, tables
from db.errors import Failure, Refusal
from db.ops import fence, locks
from db.schema import drift, migrate, revisions
from db.servers import Server
from game import tables as game_tables
from game.errors import FENCE_SQLSTATE
from game.urls import PostgresUrl
from harness.databases import Database
from tests.fixtures.squawk import squawk

ENVIRONMENT = "test"
ALL = [revision.id for revision in revisions.read().revisions]


@pytest.fixture
def prepared(blank: PostgresUrl) -> PostgresUrl:
    ops.prepare(blank, ENVIRONMENT)
    return blank


def run(url: PostgresUrl, **options: object) -> migrate.Migrated:
    settings = {"environment": ENVIRONMENT, "service_role": None, **options}
    return migrate.migrate(url, **settings)  # type: ignore[arg-type]  # a test names only what matters


def relations(url: PostgresUrl) -> set[str]:
    with ops.connect(url) as conn:
        rows = conn.execute(
            "select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind in ('r', 'v')",
            (f'"{url.schema}"',),
        )
        return {str(name) for (name,) in rows.fetchall()}


@pytest.mark.plan(9)
def test_all_tables_are_made_and_again_is_harmless(prepared: PostgresUrl) -> None:
    assert run(prepared).applied == ALL
    assert run(prepared) == migrate.Migrated([], migrate.head())
    named = {table.name for table in (*game_tables.ALL, *tables.ALL)}
    assert relations(prepared) == named | {"alembic_version", "fence_state"}
    with ops.connect(prepared) as conn:
        assert migrate.current(conn) == migrate.head()


def test_the_schema_is_the_urls(prepared: PostgresUrl) -> None:
    other = prepared.with_(schema="Season_2")
    run(other)
    assert "users" in relations(other)
    assert relations(prepared) == set()
    assert drift.drift(other) == []


def test_every_table_is_fenced_from_the_first_moment(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        assert fence.state(conn) == "fenced"
        for table in (*game_tables.ALL, *tables.ALL):
            with pytest.raises(errors.DatabaseError) as refused:
                conn.execute(f"insert into {table.name} default values")
            assert refused.value.sqlstate == FENCE_SQLSTATE


def test_an_earlier_pass_opens_nothing_in_a_schema_made_anew(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        fence.raise_fence(conn, pass_token="old")
        fence.lift(conn)
        conn.execute("drop schema game cascade")
        conn.execute("insert into ops.fence_passes values ('game', 'left behind')")
        run(prepared)
        assert fence.state(conn) == "fenced"
        assert conn.execute("select count(*) from ops.fence_passes").fetchone() == (0,)


def test_migrating_a_live_database_again_leaves_it_open(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        fence.lift(conn)
        run(prepared)
        assert fence.state(conn) == "open"


@pytest.mark.plan(15)
def test_a_dry_run_changes_nothing_and_its_sql_does_the_same(prepared: PostgresUrl, server: Server) -> None:
    dry = run(prepared, sql=True)
    assert (dry.applied, relations(prepared)) == (ALL, set())
    # One text on one connection would be one transaction, in which no index is built concurrently.
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    done = server.tool("psql").run(options, prepared, input=dry.sql.encode(), capture_output=True, check=False)
    assert not done.returncode, done.stderr
    assert drift.drift(prepared) == []
    assert run(prepared).applied == []


def test_a_dry_run_on_a_current_schema_has_no_table_to_make(prepared: PostgresUrl) -> None:
    run(prepared)
    dry = run(prepared, sql=True)
    assert dry.applied == []
    assert "create table" not in dry.sql


def privileges(url: PostgresUrl, role: str) -> dict[str, set[str]]:
    with ops.connect(url) as conn:
        rows = conn.execute(
            "select table_schema || '.' || table_name, privilege_type from information_schema.role_table_grants"
            " where grantee = %s and table_schema in ('game', 'ops')",
            (role,),
        ).fetchall()
    granted: dict[str, set[str]] = {}
    for table, privilege in rows:
        granted.setdefault(table, set()).add(privilege)
    return granted


def test_the_service_may_do_what_it_needs_and_no_more(fenced_database: Database) -> None:
    expected = {f"game.{t.name}": {"SELECT", "INSERT"} for t in game_tables.JOURNALS}
    for table in (*game_tables.PLAYER_STATE, *game_tables.OTHER_STATE):
        expected[f"game.{table.name}"] = {"SELECT", "INSERT", "UPDATE", "DELETE"}
    expected |= {"game.fence_state": {"SELECT"}, "game.alembic_version": {"SELECT"}}
    assert privileges(fenced_database.owner, fenced_database.service.user) == expected


def test_a_right_too_many_is_taken_back(fenced_database: Database) -> None:
    role = fenced_database.service.user
    before = privileges(fenced_database.owner, role)
    with ops.connect(fenced_database.owner) as conn:
        conn.execute(f'grant all on all tables in schema game to "{role}"')
    run(fenced_database.owner, service_role=role)
    assert privileges(fenced_database.owner, role) == before


def test_the_service_reads_how_the_store_stands(fenced_database: Database) -> None:
    with ops.connect(fenced_database.service) as conn:
        assert conn.execute("select state, environment from fence_state").fetchone() == ("fenced", "test")
        assert migrate.current(conn) == migrate.head()
        assert fence.state(conn) == "fenced"


def test_a_role_that_is_not_there_is_refused(prepared: PostgresUrl) -> None:
    with pytest.raises(Refusal, match="no role nobody_of_that_name"):
        run(prepared, service_role="nobody_of_that_name")
    assert relations(prepared) == set()


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_marker_that_disagrees_stops_it_before_anything(prepared: PostgresUrl, environment: str) -> None:
    with pytest.raises(Refusal, match=f"the database of {environment}; found the database of test"):
        run(prepared, environment=environment)
    assert relations(prepared) == set()


def test_a_database_that_was_not_prepared_is_refused(blank: PostgresUrl) -> None:
    with pytest.raises(Refusal, match="invoke prepare --env test"):
        run(blank)
    assert relations(blank) == set()


def test_a_schema_with_tables_of_others_is_refused_and_left(prepared: PostgresUrl) -> None:
    with ops.connect(prepared) as conn:
        conn.execute("create schema game")
        conn.execute("create table game.theirs (id integer)")
    with pytest.raises(Refusal, match="theirs"):
        run(prepared)
    assert relations(prepared) == {"theirs"}


@pytest.mark.parametrize("revision", revisions.read().revisions, ids=lambda one: one.id)
def test_a_linter_of_migrations_has_nothing_to_say(revision: revisions.Revision) -> None:
    assert squawk(revision) == ""


def test_a_revision_that_ops_knows_nothing_of_is_refused(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        conn.execute("delete from ops.revisions")
    with pytest.raises(Refusal, match="no record of it"):
        run(prepared)


def test_a_schema_of_a_newer_version_is_refused(prepared: PostgresUrl) -> None:
    run(prepared)
    with ops.connect(prepared) as conn:
        conn.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(Refusal, match="the revision 9999"):
        run(prepared)


def test_a_revision_that_fails_leaves_nothing_and_runs_again(prepared: PostgresUrl) -> None:
    with ops.connect(prepared) as conn:
        conn.execute("create schema game")
        conn.execute("create type game.user_mail as (id text)")  # in the way of a table, in the middle of 0001
        with pytest.raises(Failure, match="user_mail"):
            run(prepared)
        assert relations(prepared) <= {"alembic_version"}
        conn.execute("drop type game.user_mail")
    assert run(prepared).applied == ALL
    assert drift.drift(prepared) == []


def test_another_migration_under_way_is_waited_for_no_longer_than_allowed_and_named(
    prepared: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_WAIT_SECONDS", 1)
    with ops.connect(prepared, application="the other one") as other:
        other.execute("select pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.MIGRATION_LOCK))
        with pytest.raises(Refusal, match=f"the other one of .* .server process {other.info.backend_pid}"):
            run(prepared)
    assert relations(prepared) == set()


def test_two_at_once_end_as_one(prepared: PostgresUrl) -> None:
    results: list[list[str]] = []
    threads = [threading.Thread(target=lambda: results.append(run(prepared).applied)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[], ALL]


def test_the_services_role_in_place_of_the_owners_is_refused(fenced_database: Database) -> None:
    service = fenced_database.service
    for attempt in (lambda: ops.prepare(service, ENVIRONMENT), lambda: run(service), lambda: drift.drift(service)):
        with pytest.raises(Refusal, match=f"the role {service.user}"):
            attempt()


def test_a_role_that_may_not_make_schemas_is_refused(prepared: PostgresUrl, server: Server) -> None:
    service = server.url(prepared.dbname, "service")
    with ops.connect(prepared) as conn:
        conn.execute("drop schema ops cascade")
    with pytest.raises(Refusal, match="a role that owns the database"):
        ops.prepare(service, ENVIRONMENT)
