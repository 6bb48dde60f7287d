"""Writes that a fence must refuse, and connections of the owner and of the service."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from db import ops, tables
from db.ops import fence
from game import tables as game_tables
from harness.databases import Database

ALL = [table.name for table in (*game_tables.ALL, *tables.ALL)]
WRITES = (
    "insert into users (id) values ('c')",
    "insert into users (id) values ('a') on conflict do nothing",
    "insert into users (id) values ('a') on conflict (id) do update set gold = 7",
    "insert into users select * from users where false",
    "with added as (insert into users (id) values ('c') returning id) select * from added",
    "update users set gold = 7",
    "update users set gold = 7 where false",
    "delete from users",
    "merge into users u using (values ('a')) v (id) on u.id = v.id when matched then update set gold = 7",
    "copy users (id) from stdin",
    "truncate users cascade",
    "truncate key_values",
)


@pytest.fixture
def owner(fenced_database: Database) -> Iterator[ops.Connection]:
    with ops.connect(fenced_database.owner) as conn:
        with fence.own_pass(conn):
            conn.execute("insert into users (id, gold) values ('a', 5)")
            conn.execute("insert into currency_ledger values ('a', 'r', 1, 'gold', 5, 'mail', 5)")
        yield conn


@pytest.fixture
def service(fenced_database: Database, owner: ops.Connection) -> Iterator[ops.Connection]:
    """The service's connection; closed before the owner's."""
    with ops.connect(fenced_database.service, application="the service") as conn:
        yield conn


def refused(conn: ops.Connection, statement: str) -> str | None:
    """The SQLSTATE that the statement ends in."""
    with pytest.raises(psycopg.DatabaseError) as error:
        _run(conn, statement)
    return error.value.sqlstate


def _run(conn: ops.Connection, statement: str) -> None:
    if not statement.startswith("copy"):
        conn.execute(statement)
        return
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write_row(("c",))


def gold(conn: ops.Connection) -> int:
    row = conn.execute("select gold from users where id = 'a'").fetchone()
    assert row is not None
    return int(row[0])


def refused_inside(conn: ops.Connection, statement: str) -> str | None:
    with pytest.raises(psycopg.DatabaseError) as error, conn.transaction():
        conn.execute(statement)
    return error.value.sqlstate
