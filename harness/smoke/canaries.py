"""Canaries: players of a smoke test's own in a live store, made and removed whole, whether it is fenced or not.

Their ids begin with `CANARY_PREFIX`, which a load refuses in any other player. On Postgres the owner's URL is needed:
the journals let nobody else remove a line.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from psycopg import sql

from db import ops
from db.ops import fence as postgres_fence
from db.transfer.write_back import without_triggers
from game import tables
from game.legacy import fence as legacy_fence
from game.legacy import file_journals, sqlite_values
from game.urls import LegacyUrl, PostgresUrl
from harness.play.arena import StartingPlayer, insert, insert_legacy

PREFIX = tables.CANARY_PREFIX


@contextmanager
def canaries(store: PostgresUrl | LegacyUrl, starts: Iterable[StartingPlayer], *, pass_token: str) -> Iterator[None]:
    """Put these players into the store for the block; they and any that were left behind are removed after it.

    pass_token: the fence's, for the legacy file; on Postgres the owner makes a pass of its own.
    """
    remove(store, pass_token=pass_token)
    try:
        _make(store, list(starts), pass_token)
        yield
    finally:
        remove(store, pass_token=pass_token)


def remove(store: PostgresUrl | LegacyUrl, *, pass_token: str) -> None:
    """Remove every canary, its receipts and journals with it."""
    if isinstance(store, LegacyUrl):
        with _legacy(store, pass_token) as legacy:
            _remove_legacy(legacy)
        return
    with ops.connect(store, application="sudamr smoke") as connection, postgres_fence.own_pass(connection):
        _remove_postgres(connection)


def _make(store: PostgresUrl | LegacyUrl, starts: list[StartingPlayer], pass_token: str) -> None:
    if isinstance(store, LegacyUrl):
        with _legacy(store, pass_token) as legacy:
            for start in starts:
                insert_legacy(legacy, start.legacy)
        return
    with ops.connect(store, application="sudamr smoke") as connection, postgres_fence.own_pass(connection):
        for start in starts:
            insert(connection, start.rows)


def _remove_postgres(connection: ops.Connection) -> None:
    rows = connection.execute("SELECT id FROM users WHERE starts_with(id, %s)", [PREFIX]).fetchall()
    ids = [row[0] for row in rows]
    if ids:
        for table in reversed((*tables.PLAYER_STATE, *tables.JOURNALS)):
            owner = "id" if table is tables.users else "user_id"
            statement = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)")
            connection.execute(statement.format(sql.Identifier(table.name), sql.Identifier(owner)), [ids])


def _remove_legacy(connection: sqlite3.Connection) -> None:
    """Delete canaries by the range of their ids, which an index serves."""
    among = "BETWEEN ? AND ?"
    span = (PREFIX, PREFIX + chr(0x10FFFF))
    existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for journal in file_journals.TABLES.values():
        if journal.name in existing:
            connection.execute(f'DELETE FROM "{journal.name}" WHERE user_id {among}', span)
    connection.execute(f"DELETE FROM users WHERE id {among}", span)


@contextmanager
def _legacy(store: LegacyUrl, pass_token: str) -> Iterator[sqlite3.Connection]:
    """Open a transaction that passes the file's fence and its own triggers. It is rolled back if the block fails."""
    with closing(sqlite_values.connect(store.path)) as connection, connection:
        connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        with legacy_fence.bypass(connection, pass_token), without_triggers(connection):
            yield connection
