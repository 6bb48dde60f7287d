"""A restricted database lets only the service in, which can change nothing that its reset does not look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest

from db.errors import Failure
from db.servers import Server
from harness.databases import Database, Databases
from harness.databases.restrict import Restriction
from tests.harness.databases.test_reset import CHANGES, PLAYER

ANYBODYS = ("ALTER ROLE", "SELECT lo_create")
"""The rights of a role that owns nothing: its reset looks for it."""


@pytest.fixture
def restricted(databases: Databases) -> Iterator[Database]:
    clone = databases.clone(restricted=True)
    yield clone
    databases.drop(clone)


@pytest.fixture
def superuser(server: Server, restricted: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(restricted.name, "superuser").conninfo, autocommit=True) as conn:
        yield conn


def restriction_of(database: Database) -> Restriction:
    assert database.restriction is not None
    return database.restriction


def test_only_the_service_comes_in(restricted: Database) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(restricted.owner.conninfo)
    with psycopg.connect(restricted.service.conninfo) as conn:
        conn.execute(PLAYER)


def test_nothing_is_open_in_a_restricted_database(restricted: Database, superuser: psycopg.Connection) -> None:
    assert restriction_of(restricted).gaps(superuser, restricted.start.rows) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("GRANT CONNECT ON DATABASE {database} TO {owner}", "{owner} may come in"),
        ("GRANT CONNECT ON DATABASE {database} TO public", "{owner} may come in"),
        ("ALTER ROLE {service} CREATEROLE", "the service may change roles"),
        ("GRANT pg_monitor TO {service}", "the service may act as pg_monitor"),
        ("GRANT CREATE ON DATABASE {database} TO {service}", "the service may create schemas"),
        ("GRANT CREATE ON SCHEMA game TO {service}", "the service may create in game"),
        ("ALTER TABLE game.users OWNER TO {service}", "the service owns table game.users"),
        (
            "CREATE FUNCTION public.luck() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 7'",
            "the service may act by public.luck()",
        ),
        ("GRANT UPDATE (name) ON ops.environment TO {service}", "the service may write to ops.environment"),
        ("GRANT TRUNCATE ON ops.fence TO {service}", "the service may write to ops.fence"),
        ("GRANT INSERT ON game.fence_state TO {service}", "the service may write to game.fence_state"),
    ],
)
def test_each_gap_is_named(restricted: Database, superuser: psycopg.Connection, change: str, reason: str) -> None:
    """Rolled back, never committed: the roles are every worker's."""
    names = {"database": restricted.name, "owner": restricted.owner.user, "service": restricted.service.user}
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET LOCAL search_path = pg_catalog")
        superuser.execute(change.format(**names).encode())
        assert reason.format(**names) in restriction_of(restricted).gaps(superuser, restricted.start.rows)


@pytest.mark.parametrize("change", [change for change in CHANGES if not change.startswith(ANYBODYS)])
def test_the_service_may_change_nothing_that_is_not_looked_at(
    restricted: Database, superuser: psycopg.Connection, change: str
) -> None:
    """It is refused, but for a GRANT, which warns and does nothing."""
    with psycopg.connect(restricted.service.conninfo) as conn, suppress(psycopg.errors.InsufficientPrivilege):
        conn.execute(change.encode())
    restricted.start.prove(superuser)


def test_a_reset_takes_back_what_the_service_did(databases: Databases, restricted: Database) -> None:
    with psycopg.connect(restricted.service.conninfo) as conn:
        for _ in range(3):
            conn.execute(PLAYER)
            conn.execute("INSERT INTO action_receipts VALUES ('mina', 'r', 'c', 'o', 0, 1, 'chain')")
            conn.commit()
            databases.reset(restricted)
            assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
            conn.rollback()


def test_a_large_object_of_the_services_is_named(databases: Databases, restricted: Database) -> None:
    with psycopg.connect(restricted.service.conninfo, autocommit=True) as conn:
        conn.execute("SELECT lo_create(70707)")
        with pytest.raises(Failure, match="large object 70707"):
            databases.reset(restricted)
        conn.execute("SELECT lo_unlink(70707)")
    databases.reset(restricted)


def test_once_the_owner_is_let_in_everything_is_looked_at(databases: Databases, restricted: Database) -> None:
    databases.reset(restricted)
    databases.lift_restriction(restricted)
    with psycopg.connect(restricted.owner.conninfo, autocommit=True) as conn:
        conn.execute("ALTER TABLE users ALTER COLUMN gold SET STATISTICS 7")
        with pytest.raises(Failure, match="columns of users"):
            databases.reset(restricted)
        conn.execute("ALTER TABLE users ALTER COLUMN gold SET STATISTICS -1")


def test_what_a_superuser_changed_is_named_when_it_is_dropped(databases: Databases, server: Server) -> None:
    clone = databases.clone(restricted=True)
    databases.reset(clone)
    with psycopg.connect(server.url(clone.name, "superuser").conninfo, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.luck ()")
        databases.reset(clone)
        with pytest.raises(Failure, match=r"table public\.luck"):
            databases.drop(clone)
        conn.execute("DROP TABLE public.luck")
    databases.drop(clone)


def test_with_a_gap_everything_is_looked_at(
    databases: Databases, restricted: Database, superuser: psycopg.Connection
) -> None:
    superuser.execute(f"GRANT CREATE ON SCHEMA game TO {restricted.service.user}".encode())
    with psycopg.connect(restricted.service.conninfo, autocommit=True) as conn:
        conn.execute("CREATE TABLE luck ()")
    with pytest.raises(Failure, match="table luck"):
        databases.reset(restricted)
    superuser.execute("DROP TABLE game.luck")
    superuser.execute(f"REVOKE CREATE ON SCHEMA game FROM {restricted.service.user}".encode())
