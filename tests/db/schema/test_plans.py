"""Tests that Postgres finds what a command asks for by an index, at 50,000 players, whatever the statement.

The statements are those that the store sends, listened to while it sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from game import tables
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.rules.commands import COMMANDS
from harness.databases import Database, Databases

PLAYERS = 50_000
PLAYER = "player-777"
GROWING = {table.name for table in (*tables.PLAYER_STATE, *tables.JOURNALS)}

FILL = {
    "users": "id, username, nickname SELECT 'player-' || n, 'name-' || n, 'nick-' || n",
    "user_inventory": "user_id, id, position, name, type SELECT 'player-' || n, 'item', 0, '하급 강화석', 'material'",
    "user_equipment": "user_id, slot, item_id SELECT 'player-' || n, 'fan', 'item'",
    "user_equipment_presets": "user_id, name SELECT 'player-' || n, 'one'",
    "user_mail": "user_id, id SELECT 'player-' || n, 'mail'",
    "user_quests": "user_id, period, id SELECT 'player-' || n, 'daily', 'quest'",
    "user_milestones": "user_id, period SELECT 'player-' || n, 'daily'",
    "user_missions": "user_id, id SELECT 'player-' || n, 'mission'",
    "user_stages": "user_id, stage, cleared SELECT 'player-' || n, '입문-1', true",
    "user_tournaments": "user_id, kind SELECT 'player-' || n, 'world'",
    "player_openings": "user_id SELECT 'player-' || n",
    "action_receipts": "user_id, request_id, command, outcome, seq, chain SELECT 'player-' || n, 'old', '', '', 1, ''",
    "currency_ledger": "user_id, request_id, n, currency, reason SELECT 'player-' || n, 'old', 1, 'gold', 'mail'",
    "inventory_history": "user_id, request_id, n, action, item_id SELECT 'player-' || n, 'old', 1, 'gain', 'item'",
}
"""Columns and their values for the n-th player."""

FOREIGN_KEYS = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
"""
"""They have no part in any plan, and take most of the time to fill the tables."""

Statement = tuple[str, Any]


@pytest.fixture(scope="module")
def full(databases: Databases) -> Iterator[Database]:
    """A database of 50,000 players, each with a row in every table."""
    database = databases.clone()
    with psycopg.connect(database.owner.conninfo, autocommit=True) as connection:
        for table, name in connection.execute(FOREIGN_KEYS).fetchall():
            connection.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(name))
            )
        for table, filled in FILL.items():
            columns, _, values = filled.partition(" SELECT ")
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, {PLAYERS}) n")
        connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(sql.Identifier(name) for name in FILL)))
    yield database
    databases.drop(database)


@contextmanager
def listening() -> Iterator[list[Statement]]:
    """Every statement that SQLAlchemy sends meanwhile."""
    heard: list[Statement] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        heard.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


def scanned(database: Database, statements: list[Statement]) -> set[str]:
    """The tables that grow and that a statement would read from end to end."""
    with psycopg.connect(database.owner.conninfo) as connection:
        plans = [
            connection.execute("EXPLAIN (FORMAT JSON) " + statement, parameters).fetchone()
            for statement, parameters in statements
        ]
    return {name for plan in plans if plan for name in _scanned(plan[0][0]["Plan"])} & GROWING


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from _scanned(inner)


def heard(database: Database, act: Callable[[PostgresStore], object]) -> list[Statement]:
    with closing(PostgresStore(database.service)) as store, listening() as statements:
        act(store)
    return statements


def test_a_scan_would_be_noticed(full: Database) -> None:
    statements: list[Statement] = [("SELECT count(*) FROM user_quests WHERE target = %(t)s", {"t": 3})]
    assert scanned(full, statements) == {"user_quests"}


@pytest.mark.plan(33)
@pytest.mark.parametrize("action", COMMANDS)
def test_a_command_finds_its_player_by_an_index(full: Database, action: str) -> None:
    def load(store: PostgresStore) -> None:
        with store.begin() as unit:
            assert unit.load(PLAYER, "new", COMMANDS[action].tables)

    statements = heard(full, load)
    assert len(statements) == 2
    assert scanned(full, statements) == set()


def test_a_player_is_read_by_indexes(full: Database) -> None:
    statements = heard(full, lambda store: store.read(PLAYER))
    assert scanned(full, statements) == set()
    assert all(name in statements[-1][0] for name in GROWING)


@pytest.mark.parametrize("table", tables.PLAYER_STATE, ids=str)
def test_what_a_command_changed_is_found_by_an_index(full: Database, table: sa.Table) -> None:
    """A record changed and one taken away; those that are added, as all lines of a journal, are not looked for."""
    changed, gone = ((PLAYER, name, name)[: len(table.primary_key)] for name in ("changed", "gone"))
    column = next(column.name for column in table.columns if isinstance(column.type, sa.BigInteger))
    before = Rows({table.name: {changed: {column: 1}, gone: {column: 1}}})
    after = Rows({table.name: {changed: {column: 2}}})

    def save(store: PostgresStore) -> None:
        with store.begin() as unit:
            unit.save(before, after)

    statements = heard(full, save)
    assert any(f"UPDATE {table.name}" in statement for statement, _ in statements)
    assert scanned(full, statements) == set()
