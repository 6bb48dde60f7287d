"""Our sessions override the settings of server, database and role, or refuse them by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from db import environments, ops, snapshots, transfer
from db.cutover import preflight
from db.errors import Refusal
from db.legacy.comparison import compare_files
from db.ops import fence, fence_proof, schema
from db.samples import seed
from db.schema import migrate
from db.servers import Server
from db.snapshots.manifest import Side
from db.target import pooler, requirements
from game import session
from game.postgres.store import PostgresStore
from game.urls import PostgresUrl
from tests.fixtures.own_roles import WAYS, OwnDatabase, own_database

HOSTILE = {
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "tcp_user_timeout": "1ms",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Seoul",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "exit_on_error": "on",
    "check_function_bodies": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_tablespace": "pg_global",
    "temp_tablespaces": "pg_global",
    "default_table_access_method": "other_heap",
    "synchronous_commit": "off",
    "search_path": "pg_catalog, public",
    "client_encoding": "EUC_KR",
}
"""For each setting that we pin a value that would do harm."""

REFUSED = {
    "default_transaction_read_only": "on",
    "session_replication_role": "replica",
    "zero_damaged_pages": "on",
    "ignore_checksum_failure": "on",
    "restrict_nonsystem_relation_kind": "view",
    "role": "pg_monitor",
}
"""For each that an ordinary role can't set, or must not overrule, one as well."""

INDIFFERENT = {
    "default_text_search_config": "there is no text search",
    "lc_messages": "errors are told by their SQLSTATE",
    "lc_monetary": "to_char is not called",
    "lc_numeric": "to_char is not called",
    "lc_time": "to_char is not called",
    "timezone_abbreviations": "times bear an offset",
    "dynamic_library_path": "there is no module of ours",
    "gin_fuzzy_search_limit": "there is no GIN index",
    "gin_pending_list_limit": "there is no GIN index",
    "local_preload_libraries": "what a module does is its own affair",
    "session_preload_libraries": "what a module does is its own affair",
    "client_min_messages": "no notice is read",
    "default_toast_compression": "how a value is kept, not which",
    "transaction_deferrable": "of one transaction",
    "transaction_isolation": "of one transaction",
    "transaction_read_only": "of one transaction",
    "vacuum_failsafe_age": "upkeep",
    "vacuum_freeze_min_age": "upkeep",
    "vacuum_freeze_table_age": "upkeep",
    "vacuum_multixact_failsafe_age": "upkeep",
    "vacuum_multixact_freeze_min_age": "upkeep",
    "vacuum_multixact_freeze_table_age": "upkeep",
    "xmlbinary": "there is no XML",
    "xmloption": "there is no XML",
    "password_encryption": "no password is set",
    "client_connection_check_interval": "speed",
    "tcp_keepalives_count": "the client's own are shorter",
    "tcp_keepalives_idle": "the client's own are shorter",
    "tcp_keepalives_interval": "the client's own are shorter",
    "extension_destdir": "there is no extension",
    "wal_sender_timeout": "replication",
    "backslash_quote": "values are bound, never quoted",
    "escape_string_warning": "no notice is read",
    "lo_compat_privileges": "there is no large object",
    "synchronize_seqscans": "what needs an order asks for it",
    "commit_delay": "speed",
    "commit_siblings": "speed",
    "wal_compression": "speed",
    "wal_init_zero": "speed",
    "wal_recycle": "speed",
    "wal_skip_threshold": "speed",
    "deadlock_timeout": "speed",
}
"""Settings of a session that nothing here notices, with the reason."""

CATEGORIES = (
    "Client Connection Defaults|Connections and Authentication|Error Handling|File Locations|Lock Management"
    "|Replication|Version and Platform Compatibility|Write-Ahead Log"
)
EVERY_SETTING = "select name from pg_settings where context in ('user', 'superuser') and category ~ %s"

ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def own(server: Server) -> Iterator[OwnDatabase]:
    with own_database(server) as made:
        yield made


def test_every_setting_that_a_database_or_a_role_can_have_is_pinned_required_or_of_no_effect(server: Server) -> None:
    with server.admin() as admin:
        known = {name for (name,) in admin.execute(EVERY_SETTING, (CATEGORIES,)).fetchall()}
    decided = {*session.PINNED, "search_path", "client_encoding", *(each.name for each in requirements.REQUIRED)}
    assert known - decided - set(INDIFFERENT) == set()
    assert decided & set(INDIFFERENT) == set()
    assert {*session.PINNED, "search_path", "client_encoding"} == set(HOSTILE)


def values(conn: psycopg.Connection[Any]) -> dict[str, str]:
    rows = conn.execute("select n, current_setting(n) from unnest(%s::text[]) n", (list(HOSTILE),)).fetchall()
    return {name: value.replace('"', "") for name, value in rows}


def set_all(own: OwnDatabase, way: str) -> None:
    own.run("create access method other_heap type table handler heap_tableam_handler")
    for name, value in HOSTILE.items():
        own.alter(way, name, value)


def all_sessions(own: OwnDatabase) -> list[dict[str, str]]:
    """The settings of the service's first and second transaction, of a tool, and of a tool in the service's role."""
    sessions = []
    with closing(PostgresStore(own.service, pool_size=1)) as store:
        for _first_and_second in range(2):
            with store.begin() as unit:
                unit.connection.exec_driver_sql("select 1")
                sessions.append(values(cast(Any, unit.connection.connection.driver_connection)))
    with ops.connect(own.owner) as tool, pooler.transaction(own.service) as role:
        return [*sessions, values(tool), values(role)]


@ways
def test_each_session_of_ours_has_its_own_settings(own: OwnDatabase, way: str) -> None:
    plain = all_sessions(own)
    assert {each["synchronous_commit"] for each in plain} == {"on"}
    set_all(own, way)
    assert all_sessions(own) == plain


@pytest.fixture(scope="module")
def as_on_a_plain_one(server: Server, tmp_path_factory: pytest.TempPathFactory) -> object:
    with own_database(server) as plain:
        return moved(plain, tmp_path_factory.mktemp("plain"))


@ways
def test_all_goes_as_on_a_plain_database(own: OwnDatabase, way: str, tmp_path: Path, as_on_a_plain_one: object) -> None:
    set_all(own, way)
    assert moved(own, tmp_path) == as_on_a_plain_one


def moved(own: OwnDatabase, folder: Path) -> object:
    """A file is loaded and proven, a snapshot restored, a player read by the service: what came of it."""
    env = throwaway(own, folder)
    seed.seed_legacy(env.legacy.path, 8)
    ops.prepare(own.owner, env.name, service=own.service)
    migrate.migrate(own.owner, environment=env.name, service_role=own.service.user)
    preflight.check_server(cast(Any, SimpleNamespace(env=env)))
    token = fence.new_pass()
    with ops.lock(own.owner, run="r", why="a test") as held:
        fence.raise_fence(held.conn, pass_token=token)
        loaded = transfer.load(env.legacy.path, own.owner, run="r", pass_token=token, max_held=None)
    proven = transfer.prove(env.legacy.path, own.owner).mismatches
    copy = folder / "copy.db"
    transfer.back(own.owner, copy)
    taken = snapshots.take(env, Side.TARGET, tools=own.server.tool)
    counts = snapshots.verify(env, taken, tools=own.server.tool)
    refused = fence_proof.prove(own.service)
    with ops.connect(own.owner) as conn:
        fence.lift(conn)
        players = [str(player) for (player,) in conn.execute('select id from users order by id collate "C"')]
    with closing(PostgresStore(own.service)) as store:
        rows = [store.read(player) for player in players]
    differences = compare_files(env.legacy.path, copy)
    return loaded.players, loaded.held, proven, refused, counts, rows, differences, migrate.drift(own.owner)


def throwaway(own: OwnDatabase, folder: Path, **more: Any) -> environments.Environment:
    return environments.throwaway(
        owner=own.owner, service=own.service, legacy=folder / "game.db", folder=folder, **more
    )


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in REFUSED for way in WAYS if (name, way) != ("role", "database")]
)
def test_what_can_not_be_pinned_is_refused_and_the_remedy_mends_it(
    own: OwnDatabase, way: str, name: str, tmp_path: Path
) -> None:
    own.run(f"grant pg_monitor to {own.owner.user}, {own.service.user}")
    own.alter(way, name, REFUSED[name])
    follow(own, name, lambda: ops.prepare(own.owner, "test", service=own.service))
    own.alter(way, name, REFUSED[name])
    env = throwaway(own, tmp_path)
    follow(own, name, lambda: preflight.check_server(cast(Any, SimpleNamespace(env=env))))


def follow(own: OwnDatabase, name: str, act: Callable[[], object]) -> None:
    """Refused, by this name and having changed nothing; the SQL that it says is run until it passes."""
    refusals = []
    while (refusal := refusal_of(act)) is not None:
        assert name in refusal.expected
        assert own.owner.dbname in refusal.where
        assert str(refusal) not in refusals, "the remedy mended nothing"
        refusals.append(str(refusal))
        own.run(sql_of(refusal))
    assert refusals


def refusal_of(act: Callable[[], object]) -> Refusal | None:
    try:
        act()
    except Refusal as refusal:
        return refusal
    return None


def sql_of(refusal: Refusal) -> str:
    statements = re.findall(r"((?:ALTER|CREATE|SELECT|SET) [^;]*;)", refusal.do)
    assert statements, refusal.do
    return "".join(statements)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "EUC_KR", "LATIN1", "EUC_JP", "WIN1251"])
def test_another_encoding_is_refused_and_a_database_made_as_it_says_is_taken(server: Server, encoding: str) -> None:
    with own_database(server, encoding) as own:
        with pytest.raises(Refusal, match=f"server_encoding UTF8; found {encoding}") as refused:
            ops.prepare(own.owner, "test")
        with pytest.raises(Refusal, match="server_encoding"):
            migrate_unprepared(own.owner)
        assert untouched(own)
        own.run(sql_of(refused.value), own.owner)
        ops.prepare(own.owner.with_(dbname=f"{own.owner.dbname}_utf8"), "test")


def migrate_unprepared(owner: PostgresUrl) -> None:
    """As prepared by a version that did not look at the encoding."""
    with ops.connect(owner) as conn:
        conn.execute(schema.TABLES)
        conn.execute("insert into ops.environment (name) values ('test')")
    try:
        migrate.migrate(owner, environment="test", service_role=None)
    finally:
        with ops.connect(owner) as conn:
            conn.execute("drop schema ops cascade")


def untouched(own: OwnDatabase) -> bool:
    with psycopg.connect(own.owner.conninfo) as conn:
        return conn.execute("select to_regnamespace('ops')").fetchone() == (None,)


def test_a_limit_of_connections_is_refused_and_the_remedy_mends_it(own: OwnDatabase, tmp_path: Path) -> None:
    ops.prepare(own.owner, "test")
    env = throwaway(own, tmp_path, services=("http://127.0.0.1:1",))
    check = partial(preflight.check_server, cast(Any, SimpleNamespace(env=env)))
    for statement in (
        f"ALTER ROLE {own.service.user} CONNECTION LIMIT 19",
        f"ALTER DATABASE {own.owner.dbname} CONNECTION LIMIT 29",
    ):
        own.run(statement)
        follow(own, "connections", check)
    env.pointer.path.write_text("POOL_SIZE=150\n")
    with pytest.raises(Refusal, match="310 connections: 300 of the service") as refused:
        check()
    assert "ALTER SYSTEM SET max_connections = 313; and restart" in refused.value.do


def test_a_throwaway_servers_fsync_is_refused_where_data_must_survive(own: OwnDatabase) -> None:
    with pytest.raises(Refusal, match="fsync on; found off"):
        ops.prepare(own.owner, "staging", durable=environments.is_durable("staging"))
    assert untouched(own)


ELSEWHERE = {
    "server_encoding": "test_another_encoding_is_refused_and_a_database_made_as_it_says_is_taken",
    "fsync": "test_what_would_lose_data_at_a_crash_is_refused_until_it_is_mended",
    "full_page_writes": "test_what_would_lose_data_at_a_crash_is_refused_until_it_is_mended",
    "transaction_timeout": "",
}
"""Settings that no database or role can change here, and the test that tries it. The last is of PostgreSQL 17 on."""


def test_each_required_setting_is_refused_by_a_test() -> None:
    assert {each.name for each in requirements.REQUIRED} == {*REFUSED, *ELSEWHERE} - {"role"}


def test_the_servers_disk_is_looked_at_only_where_it_is_this_machines(server: Server) -> None:
    """By a role that may read where the server keeps its data; any other says nothing."""
    url = server.url(server.maintenance.dbname, "superuser")
    with ops.connect(url) as conn:
        ((folder,),) = conn.execute("select current_setting('data_directory')").fetchall()
        assert preflight._data_folder(conn, url) == [Path(folder)] * Path(folder).is_dir()
        assert preflight._data_folder(conn, url.with_(host="10.0.0.7")) == []
    with ops.connect(server.url(server.maintenance.dbname, "service")) as conn:
        assert preflight._data_folder(conn, url) == []
