"""Drift: the migrations and the tables agree, and each way of coming apart is named."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from db import ops, tables
from db.errors import Refusal
from db.ops import fence
from db.schema import drift, migrate, revisions
from db.servers import Server
from game import tables as game_tables
from harness.databases import Database
from tests.fixtures.revisions import history, write


@pytest.mark.plan(4)
def test_the_migrations_make_what_the_tables_name(fenced_database: Database) -> None:
    assert migrate.drift(fenced_database.owner) == []


def test_an_open_fence_is_no_drift(database: Database) -> None:
    assert drift.drift(database.owner) == []


REPLACED_VIEW = (
    "create or replace view fence_state as select 'open' as state, null::text as environment, '' as draw_epoch,"
    " '' as identity, '' as run, '' as peer"
)
DRIFTS = {
    "alter table users drop column league": "missing: column users.league text",
    "alter table users add column luck bigint": "unexpected: column users.luck bigint",
    "alter table users alter column gold type integer": "unexpected: column users.gold integer not null default 0",
    "alter table users alter column gold drop not null": "unexpected: column users.gold bigint default 0",
    "alter table users alter column gold set default 9": "unexpected: column users.gold bigint not null default 9",
    "alter table users alter column gold drop default": "unexpected: column users.gold bigint not null",
    "drop table live_games": "missing: table live_games",
    "create table theirs (id text)": "unexpected: table theirs",
    "create view theirs as select 1 as one": "unexpected: view theirs",
    "create sequence theirs": "unexpected: sequence theirs",
    "create type theirs as enum ('x')": "unexpected: type theirs",
    "create type theirs as enum ('x', 'y')": "unexpected: label y of type theirs after x",
    "create function theirs() returns integer language sql as 'select 1'": "unexpected: function theirs",
    "alter table users drop constraint users_gold_check": (
        "missing: constraint users_gold_check on users: CHECK ((gold >= 0))"
    ),
    "alter table users drop constraint users_gold_check, add constraint users_gold_check check (gold >= -1)": (
        "unexpected: constraint users_gold_check on users: CHECK ((gold >= '-1'::integer))"
    ),
    "alter table users drop constraint users_gold_check, add constraint users_gold_check check (gold >= 0) not valid": (
        "unexpected: constraint users_gold_check on users: CHECK ((gold >= 0)) NOT VALID"
    ),
    "alter table users drop constraint users_nickname_key": (
        "missing: constraint users_nickname_key on users: UNIQUE (nickname)"
    ),
    "alter table user_equipment alter constraint user_equipment_user_id_item_id_fkey deferrable initially deferred": (
        "unexpected: constraint user_equipment_user_id_item_id_fkey on user_equipment: FOREIGN KEY (user_id, item_id)"
        " REFERENCES user_inventory(user_id, id) DEFERRABLE INITIALLY DEFERRED"
    ),
    "create index users_gold_idx on users (gold)": (
        "unexpected: index CREATE INDEX users_gold_idx ON users USING btree (gold)"
    ),
    "drop index legacy_rows_source_key_idx": (
        "missing: index CREATE INDEX legacy_rows_source_key_idx ON legacy_rows USING btree (source, key)"
    ),
    "drop trigger sudamr_journal on currency_ledger": (
        "missing: trigger CREATE TRIGGER sudamr_journal BEFORE DELETE OR UPDATE OR TRUNCATE ON currency_ledger"
        " FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_rewrite()"
    ),
    REPLACED_VIEW: (
        "unexpected: view fence_state as SELECT 'open'::text AS state, NULL::text AS environment,"
        " ''::text AS draw_epoch, ''::text AS identity, ''::text AS run, ''::text AS peer;"
    ),
    "alter table currency_ledger disable trigger sudamr_journal": (
        "switched off: trigger sudamr_journal on currency_ledger"
    ),
    "alter table user_mail disable trigger sudamr_fence": "switched off: trigger sudamr_fence on user_mail",
    "alter table users enable row level security": "unexpected: row security on users",
}


@pytest.mark.plan(4)
@pytest.mark.parametrize("statement", DRIFTS)
def test_each_way_of_coming_apart_is_named(fenced_database: Database, statement: str) -> None:
    with ops.connect(fenced_database.owner) as conn:
        conn.execute(statement)
    assert DRIFTS[statement] in drift.drift(fenced_database.owner)


OF_A_QUERY = {
    "RELATIONS": "create sequence theirs",
    "COLUMNS": "alter table users alter column gold set default 9",
    "CONSTRAINTS": "alter table users drop constraint users_gold_check",
    "INDEXES": "drop index legacy_rows_source_key_idx",
    "TRIGGERS": "drop trigger sudamr_journal on currency_ledger",
    "VIEWS": REPLACED_VIEW,
    "FUNCTIONS": "create function theirs() returns integer language sql as 'select 1'",
    "TYPES": "create type theirs as enum ('x')",
    "LABELS": "create type theirs as enum ('x', 'y')",
    "POLICIES": "alter table users enable row level security",
}
"""For each query of the catalog what it alone finds."""


@pytest.mark.parametrize("name", OF_A_QUERY)
def test_each_query_of_the_catalog_finds_what_no_other_does(
    fenced_database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert {getattr(drift, query) for query in OF_A_QUERY} == set(drift.READ)
    with ops.connect(fenced_database.owner) as conn:
        conn.execute(OF_A_QUERY[name])
    monkeypatch.setattr(drift, "READ", [query for query in drift.READ if query != getattr(drift, name)])
    assert DRIFTS[OF_A_QUERY[name]] not in drift.drift(fenced_database.owner)


@pytest.mark.plan(31)
@pytest.mark.parametrize("statement", DRIFTS)
def test_migrate_refuses_a_schema_that_was_changed_by_hand_and_changes_nothing(
    fenced_database: Database, statement: str
) -> None:
    with ops.connect(fenced_database.owner) as conn:
        conn.execute(statement)
        before = lines(conn)
        with pytest.raises(Refusal, match=r"the schema as revision .* left it") as refused:
            migrate.migrate(fenced_database.owner, environment="test", service_role=None)
        assert lines(conn) == before
        assert DRIFTS[statement] in drift.since(conn, "game", revisions.read().revisions)
    assert any(line in refused.value.found for line in drift.drift(fenced_database.owner))
    assert "invoke status" in refused.value.do


def lines(conn: ops.Connection) -> list[tuple[object, ...]]:
    catalog = "select relname, relacl::text, xmin::text from pg_class where relnamespace = 'game'::regnamespace"
    return conn.execute(catalog).fetchall()


def test_what_another_role_owns_is_named(fenced_database: Database, server: Server) -> None:
    with ops.connect(server.url(fenced_database.name, "superuser")) as conn:
        conn.execute("alter table users owner to current_user")
    assert any(line.endswith(": users") and line.startswith("owned by") for line in drift.drift(fenced_database.owner))


def test_what_an_extension_brings_is_none(database: Database, server: Server) -> None:
    with ops.connect(server.url(database.name, "superuser")) as conn:
        conn.execute("create extension hstore schema game")
    assert drift.drift(database.owner) == []


def test_an_invalid_index_is_named(database: Database) -> None:
    """As a short lock_timeout leaves one: made, unusable, and accepted by IF NOT EXISTS ever after."""
    with ops.connect(database.owner) as conn:
        conn.execute("insert into key_values (key, value) values ('a', 'same'), ('b', 'same')")
        with pytest.raises(Exception, match="could not create unique index"):
            conn.execute("create unique index concurrently key_values_value_idx on key_values (value)")
    assert drift.drift(database.owner) == [
        "unexpected: invalid index CREATE UNIQUE INDEX key_values_value_idx ON key_values USING btree (value)"
    ]


@pytest.mark.parametrize("owner_of", [game_tables.metadata, tables.metadata])
def test_a_table_that_only_the_code_has_is_named(
    fenced_database: Database, monkeypatch: pytest.MonkeyPatch, owner_of: sa.MetaData
) -> None:
    widened = sa.MetaData()
    for table in owner_of.sorted_tables:
        table.to_metadata(widened)
    sa.Table("user_wishes", widened, sa.Column("id", sa.Text, primary_key=True))
    module = game_tables if owner_of is game_tables.metadata else tables
    monkeypatch.setattr(module, "metadata", widened)
    assert "missing: table user_wishes" in drift.drift(fenced_database.owner)


def test_looking_leaves_nothing_behind(fenced_database: Database) -> None:
    with ops.connect(fenced_database.owner) as conn:
        before = conn.execute("select nspname from pg_namespace order by 1").fetchall()
        drift.drift(fenced_database.owner)
        assert conn.execute("select nspname from pg_namespace order by 1").fetchall() == before
        assert fence.state(conn) == "fenced"


def test_a_schema_that_is_not_there_is_missing_wholly(fenced_database: Database) -> None:
    lines = drift.drift(fenced_database.owner.with_(schema="nowhere"))
    assert "missing: table users" in lines
    assert not any(line.startswith("unexpected") for line in lines)


def test_a_role_that_may_not_look_is_refused(fenced_database: Database) -> None:
    with pytest.raises(Refusal, match="the owner of the database"):
        drift.drift(fenced_database.service)


def test_a_server_that_ends_meanwhile_is_no_fault_of_a_revision(fenced_database: Database, tmp_path: Path) -> None:
    number = f"{int(migrate.head()) + 1:04}"
    write(tmp_path / "more", number, "select pg_terminate_backend(pg_backend_pid())")
    with ops.connect(fenced_database.owner) as conn, pytest.raises(psycopg.OperationalError, match="terminating"):
        drift.since(conn, fenced_database.owner.schema, history(tmp_path / "more").revisions)
    write(tmp_path / "more", number, "select 1 from no_such_table")
    with (
        ops.connect(fenced_database.owner) as conn,
        pytest.raises(Refusal, match=f"{number}_what_it_does.py: expected"),
    ):
        drift.since(conn, fenced_database.owner.schema, history(tmp_path / "more").revisions)
