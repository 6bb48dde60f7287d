"""A reset deletes the few rows that a command left, and whatever else was changed is noticed and put back, or named."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from db import ops
from db.servers import Server
from harness.databases import Database, Databases
from harness.databases.fingerprint import Fingerprint
from harness.databases.start_state import StartState
from tests.fixtures.rows import ROWS, insert

PLAYER = "INSERT INTO users (id, gold) VALUES ('mina', 7)"

CHANGES = (
    "UPDATE ops.environment SET name = name",
    "DELETE FROM ops.revisions",
    "ALTER TABLE users DISABLE TRIGGER sudamr_fence",
    "ALTER TABLE users ALTER COLUMN gold SET DEFAULT 7",
    "ALTER TABLE users ALTER COLUMN gold DROP NOT NULL",
    "ALTER TABLE users ADD COLUMN luck int",
    "ALTER TABLE users RENAME COLUMN gold TO silver",
    "ALTER TABLE users DROP CONSTRAINT users_gold_check",
    "DROP INDEX legacy_rows_source_key_idx",
    "GRANT SELECT ON users TO public",
    "GRANT SELECT (gold) ON users TO public",
    "CREATE TABLE luck ()",
    "CREATE TYPE luck AS ENUM ('good')",
    "CREATE FUNCTION luck() RETURNS int LANGUAGE sql AS 'SELECT 7'",
    (
        "CREATE OR REPLACE VIEW fence_state AS SELECT 'open'::text AS state, '' AS environment, '' AS draw_epoch,"
        " '' AS identity, '' AS run, '' AS peer"
    ),
    "CREATE SCHEMA luck",
    "CREATE SEQUENCE luck",
    "CREATE RULE luck AS ON INSERT TO users DO NOTHING",
    "ALTER ROLE CURRENT_USER SET work_mem = '7MB'",
    "SELECT lo_create(70707)",
)
"""Each is something that a fingerprint must see."""


@pytest.fixture
def conn(database: Database) -> Iterator[ops.Connection]:
    with ops.connect(database.owner) as connection:
        yield connection


def file_of(conn: ops.Connection, table: str = "users") -> str:
    """The file of its rows: TRUNCATE gives it a new one."""
    (row,) = conn.execute("SELECT pg_relation_filepath(%s::regclass)", [table]).fetchall()
    return str(row[0])


def count(conn: ops.Connection, table: str = "users") -> int:
    (row,) = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
    return int(row[0])


def test_few_rows_are_deleted_and_no_table_is_truncated(
    databases: Databases, database: Database, conn: ops.Connection
) -> None:
    before = file_of(conn)
    for _ in range(20):
        conn.execute(PLAYER)
        conn.execute("INSERT INTO action_receipts VALUES ('mina', 'r', 'c', 'o', 0, 1, 'chain')")
        conn.execute("INSERT INTO user_inventory (user_id, id, name, type) VALUES ('mina', 'fan', 'n', 't')")
        conn.execute("INSERT INTO user_equipment (user_id, slot, item_id) VALUES ('mina', 'fan', 'fan')")
        databases.reset(database)
        assert (count(conn), count(conn, "action_receipts"), count(conn, "ops.fence_passes")) == (0, 0, 0)
    assert file_of(conn) == before


def test_a_row_of_any_table_that_begins_empty_is_deleted(
    databases: Databases, database: Database, conn: ops.Connection
) -> None:
    databases.reset(database)
    before = {table: file_of(conn, table) for table in database.start.empty}
    conn.execute("INSERT INTO ops.proven (run) VALUES ('a run')")
    conn.execute("INSERT INTO ops.lock_holder (run, why, host, pid, backend_pid) VALUES ('a run', 'why', 'here', 1, 1)")
    conn.execute("INSERT INTO ops.fence_passes (schema, pass_sha256) VALUES ('game', 'left behind')")
    conn.execute("INSERT INTO ops.change_log (log, source) VALUES ('a log', 'users')")
    conn.execute(
        "INSERT INTO ops.change_capture (schema, log, run, peer, relations, most) VALUES ('game', '', '', '', '', 1)"
    )
    for table in ROWS:
        insert(conn, table)
    assert [count(conn, table) for table in before] == [1] * len(before)
    databases.reset(database)
    assert {table: file_of(conn, table) for table in before if not count(conn, table)} == before


def test_many_rows_are_truncated_and_the_next_few_deleted_again(
    databases: Databases, database: Database, conn: ops.Connection
) -> None:
    before = file_of(conn)
    conn.execute("INSERT INTO users (id) SELECT n::text FROM generate_series(1, 2000) n")
    databases.reset(database)
    truncated = file_of(conn)
    assert (count(conn), truncated != before) == (0, True)
    conn.execute(PLAYER)
    databases.reset(database)
    assert (count(conn), file_of(conn)) == (0, truncated)


def test_a_table_that_is_worn_is_vacuumed(databases: Databases, database: Database, conn: ops.Connection) -> None:
    databases.reset(database)
    before = file_of(conn)
    conn.execute("INSERT INTO users (id) SELECT n::text FROM generate_series(1, 300) n")
    databases.reset(database)
    assert conn.execute("SELECT pg_relation_size('users')").fetchone() == (0,)
    assert file_of(conn) == before


@pytest.mark.parametrize(
    ("change", "look"),
    [
        ("ALTER TABLE users DISABLE TRIGGER sudamr_fence", "SELECT tgenabled FROM pg_trigger WHERE tgname ~ 'sudamr'"),
        ("ALTER TABLE users ENABLE TRIGGER sudamr_fence", "SELECT tgenabled FROM pg_trigger WHERE tgname ~ 'sudamr'"),
        ("UPDATE ops.environment SET name = 'production'", "SELECT name FROM ops.environment"),
        ("DELETE FROM ops.revisions", "SELECT count(*) FROM ops.revisions"),
        ("INSERT INTO ops.revisions VALUES ('a', 'b', 'c')", "SELECT count(*) FROM ops.revisions"),
    ],
)
def test_what_is_no_row_of_an_empty_table_is_noticed_and_put_back(
    databases: Databases, database: Database, conn: ops.Connection, change: str, look: str
) -> None:
    databases.reset(database)
    before = sorted(conn.execute(look.encode()).fetchall())
    conn.execute(change.encode())
    databases.reset(database)
    assert sorted(conn.execute(look.encode()).fetchall()) == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_holds_until_anything_is_changed(database: Database, conn: ops.Connection, change: str) -> None:
    fingerprint = StartState.read(conn).fingerprint
    assert fingerprint.query == database.start.fingerprint.query
    assert holds(conn, fingerprint)
    with conn.transaction(force_rollback=True):
        conn.execute(change.encode())
        assert not holds(conn, fingerprint)
    assert holds(conn, fingerprint)


def test_a_setting_that_a_role_gave_itself_everywhere_is_a_difference(conn: ops.Connection) -> None:
    """Rolled back, never committed: the role is every worker's."""
    before = StartState.read(conn).digests
    (me,) = conn.execute("SELECT CURRENT_USER::text").fetchone() or ()
    with conn.transaction(force_rollback=True):
        conn.execute("ALTER ROLE CURRENT_USER SET work_mem = '7MB'")
        conn.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {conn.info.dbname} SET work_mem = '8MB'".encode())
        now = StartState.read(conn).digests
    assert now.keys() - before.keys() == {f"settings of role {me} everywhere", f"settings of role {me}"}


def test_the_settings_of_a_role_of_another_run_are_no_difference(conn: ops.Connection, server: Server) -> None:
    before = StartState.read(conn).digests
    other = sql.Identifier(f"{server.mark}{secrets.token_hex(4)}")
    with psycopg.connect(server.maintenance.conninfo, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(other))
        try:
            admin.execute(sql.SQL("ALTER ROLE {} SET work_mem = '7MB'").format(other))
            assert StartState.read(conn).digests == before
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(other))


def holds(conn: ops.Connection, fingerprint: Fingerprint) -> bool:
    (row,) = conn.execute(f"SELECT {fingerprint.condition}".encode()).fetchall()
    return bool(row[0])
