"""Proves the fence of Postgres: tries every kind of write on every table, as the service does, and undoes each."""

from __future__ import annotations

import psycopg
from psycopg import sql

from db import ops
from db.counts import few
from db.errors import Failure
from db.ops import fence
from db.ops.fence import FencedTable
from db.target import pooler
from game import tables as game_tables
from game.errors import FENCE_SQLSTATE
from game.urls import PostgresUrl

PROOF_LOCK_TIMEOUT_MS = 1000
"""How long the proof, which changes nothing, may wait for a table."""

NO_PRIVILEGE_SQLSTATE = "42501"


def prove(service: PostgresUrl) -> int:
    """Try to write as the service does; each try is rolled back. Return how many writes the fence itself refused.

    Per table INSERT, and UPDATE and DELETE of a row where there is one; what the role may not do at all must be
    refused for that; TRUNCATE, which would wait for every reader, by the catalog. Failure naming each hole.
    """
    with pooler.transaction(service, application="sudamr fence") as conn:
        conn.execute("select set_config('lock_timeout', %s, true)", (f"{PROOF_LOCK_TIMEOUT_MS}ms",))
        fenced_tables = fence.tables_of(conn)
        holes = [f"{table.name}: its trigger is not wholly on" for table in fenced_tables if not table.fenced]
        proven = 0
        for table in fenced_tables:
            refused, let_through = _attempt(conn, table)
            proven += refused
            holes += let_through
    if holes:
        raise Failure(
            "every write to be refused",
            few(holes, 4, between="; "),
            where=service.redacted,
            do="Run the same command again: it sets the fence anew.",
        )
    return proven


def _attempt(conn: ops.Connection, table: FencedTable) -> tuple[int, list[str]]:
    """Count the writes that the fence refused, and list those that did not end as they should."""
    refused, holes = 0, []
    for event in ("INSERT", "UPDATE", "DELETE"):
        expected = FENCE_SQLSTATE if event in table.rights or _serviced(table, event) else NO_PRIVILEGE_SQLSTATE
        sqlstate = _try(conn, table, event)
        refused += sqlstate == FENCE_SQLSTATE
        if sqlstate != expected:
            holes.append(f"{event} on {table.name}: {sqlstate or 'done'}, not {expected}")
    return refused, holes


def _serviced(table: FencedTable, event: str) -> bool:
    """Return True if the service needs the right: then lacking it is a fault, and no fence."""
    if event == "INSERT" and table.name in {journal.name for journal in game_tables.JOURNALS}:
        return True
    return table.name in {state.name for state in (*game_tables.PLAYER_STATE, *game_tables.OTHER_STATE)}


def _try(conn: ops.Connection, table: FencedTable, event: str) -> str | None:
    """Return the SQLSTATE that the write ends in; None when it went through."""
    names = {"table": sql.Identifier(table.name), "column": sql.Identifier(table.column or "ctid")}
    statements = {
        "INSERT": sql.SQL("insert into {table} default values"),
        "UPDATE": sql.SQL("update {table} set {column} = {column} where ctid = (select ctid from {table} limit 1)"),
        "DELETE": sql.SQL("delete from {table} where ctid = (select ctid from {table} limit 1)"),
    }
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statements[event].format(**names))
    except psycopg.DatabaseError as error:
        if error.sqlstate is None:
            raise
        return error.sqlstate
    return None
