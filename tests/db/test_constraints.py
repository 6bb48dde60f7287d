"""What must never be, the database itself refuses: for each of its constraints, a row that only this one forbids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from db import tables as db_tables
from game import tables as game_tables
from harness.databases import Databases

TABLES = (*game_tables.ALL, *db_tables.ALL)

ROWS: dict[str, dict[str, object]] = {
    "users": {"id": "hana", "username": "hana", "nickname": "하나"},
    "user_inventory": {"user_id": "hana", "id": "i1", "name": "푸른 바람 부채", "type": "equipment"},
    "user_equipment": {"user_id": "hana", "slot": "fan", "item_id": "i1"},
    "user_equipment_presets": {"user_id": "hana", "name": "대국"},
    "user_mail": {"user_id": "hana", "id": "m1"},
    "user_quests": {"user_id": "hana", "period": "daily", "id": "q1"},
    "user_milestones": {"user_id": "hana", "period": "daily"},
    "user_missions": {"user_id": "hana", "id": "mission_attendance"},
    "user_stages": {"user_id": "hana", "stage": "입문-1", "cleared": True},
    "user_tournaments": {"user_id": "hana", "kind": "world"},
    "user_credentials": {"username": "hana"},
    "live_games": {"id": "g1", "cells": "{}"},
    "key_values": {"key": "guilds"},
    "legacy_rows": {"source": "users", "position": 1, "cells": "{}"},
    "legacy_schema": {"position": 1, "type": "table", "name": "users", "table_name": "users"},
    "player_openings": {"user_id": "hana"},
    "action_receipts": {"user_id": "hana", "request_id": "r1", "command": "[]", "outcome": "{}"},
    "currency_ledger": {"user_id": "hana", "request_id": "r1", "n": 1, "currency": "gold", "reason": "mail"},
    "inventory_history": {"user_id": "hana", "request_id": "r1", "n": 1, "action": "gain", "item_id": "i1"},
    "quarantine": {
        "run": "r", "n": 1, "kind": "held", "source_table": "users", "column_name": "gold", "path": "$",
        "storage": "text", "original": b"", "rule": "gold", "reason": "no number",
    },
    "transfer_checkpoints": {
        "run": "r", "source_table": "users", "n": 1, "source": "", "position": 1, "rows": 1, "bytes": 1
    },
}  # fmt: skip
"""A row of each table that every constraint lets in, in an order that foreign keys let in."""

ANOTHER = {"id": "mina", "username": "mina", "nickname": "미나"}
FORBIDDEN: dict[str, tuple[str, dict[str, object]]] = {
    **{f"{table}_pkey": (table, {}) for table in ROWS},
    "users_pkey": ("users", ANOTHER | {"id": "hana"}),
    "users_username_key": ("users", ANOTHER | {"username": "hana"}),
    "users_nickname_key": ("users", ANOTHER | {"nickname": "하나"}),
    "users_gold_check": ("users", ANOTHER | {"gold": -1}),
    "users_diamonds_check": ("users", ANOTHER | {"diamonds": -1}),
    "users_action_points_check": ("users", ANOTHER | {"action_points": -1}),
    "users_forge_level_check": ("users", ANOTHER | {"forge_level": 0}),
    "users_forge_xp_check": ("users", ANOTHER | {"forge_xp": -1}),
    **{f"{table}_user_id_fkey": (table, {"user_id": "nobody"}) for table, row in ROWS.items() if "user_id" in row},
    "user_equipment_user_id_fkey": ("user_equipment", {"user_id": "nobody", "item_id": None, "kept": "null"}),
    "user_inventory_stars_check": ("user_inventory", {"id": "i2", "stars": 11}),
    "user_inventory_quantity_check": ("user_inventory", {"id": "i2", "quantity": 0}),
    "user_inventory_fails_check": ("user_inventory", {"id": "i2", "fails": -1}),
    "user_equipment_user_id_item_id_fkey": ("user_equipment", {"slot": "top", "item_id": "gone"}),
    "user_equipment_user_id_item_id_key": ("user_equipment", {"slot": "top"}),
    "user_equipment_item_or_kept_check": ("user_equipment", {"slot": "top", "kept": "null"}),
    "user_mail_gold_check": ("user_mail", {"id": "m2", "gold": -1}),
    "user_mail_diamonds_check": ("user_mail", {"id": "m2", "diamonds": -1}),
    "user_mail_action_points_check": ("user_mail", {"id": "m2", "action_points": -1}),
    "user_quests_period_check": ("user_quests", {"period": "yearly"}),
    "user_quests_activity_points_check": ("user_quests", {"id": "q2", "activity_points": -1}),
    "user_milestones_period_check": ("user_milestones", {"period": "yearly"}),
    "user_milestones_activity_check": ("user_milestones", {"period": "weekly", "activity": -1}),
    "user_missions_level_check": ("user_missions", {"id": "mission_league", "level": 11}),
    "user_missions_amount_check": ("user_missions", {"id": "mission_league", "amount": -1}),
    "user_missions_collected_check": ("user_missions", {"id": "mission_league", "collected": -1}),
    "user_stages_reached_check": ("user_stages", {"stage": "입문-2", "cleared": False}),
    "user_tournaments_kind_check": ("user_tournaments", {"kind": "galaxy"}),
    "user_tournaments_gold_check": ("user_tournaments", {"kind": "national", "gold": -1}),
    "user_tournaments_rank_check": ("user_tournaments", {"kind": "national", "rank": 17}),
    "currency_ledger_currency_check": ("currency_ledger", {"n": 2, "currency": "silver"}),
    "currency_ledger_balance_check": ("currency_ledger", {"n": 2, "balance": -1}),
    "inventory_history_stock_check": ("inventory_history", {"n": 2, "stock": -1}),
    "quarantine_kind_check": ("quarantine", {"n": 2, "kind": "lost"}),
}
"""Constraint to the table, and what to change of the row that it lets in."""

NEVER_NULL = [(table.name, column.name) for table in TABLES for column in table.columns if not column.nullable]


@pytest.fixture(scope="module")
def connection(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A database that holds one row of each table."""
    database = databases.clone()
    with psycopg.connect(database.owner.conninfo, autocommit=True) as connection:
        for table in ROWS:
            insert(connection, table, {})
        yield connection
    databases.drop(database)


def insert(connection: psycopg.Connection[Any], table: str, changes: dict[str, object]) -> None:
    row = ROWS[table] | changes
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )


def test_every_constraint_of_the_database_is_tried(connection: psycopg.Connection[Any]) -> None:
    found = connection.execute(
        "SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE conrelid = ANY(%s::regclass[])",
        ([table.name for table in TABLES],),
    ).fetchall()
    assert dict(found) == {name: table for name, (table, _) in FORBIDDEN.items()}


def test_no_table_is_without_a_row_that_is_let_in() -> None:
    assert set(ROWS) == {table.name for table in TABLES}


@pytest.mark.parametrize("constraint", FORBIDDEN)
def test_a_constraint_refuses_what_it_forbids(connection: psycopg.Connection[Any], constraint: str) -> None:
    with pytest.raises(errors.IntegrityError) as refused:
        insert(connection, *FORBIDDEN[constraint])
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(("table", "column"), NEVER_NULL)
def test_what_must_be_there_is_never_null(connection: psycopg.Connection[Any], table: str, column: str) -> None:
    with pytest.raises(errors.NotNullViolation) as refused:
        insert(connection, table, {column: None})
    assert (refused.value.diag.table_name, refused.value.diag.column_name) == (table, column)


@pytest.mark.parametrize("journal", [journal.name for journal in game_tables.JOURNALS])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET user_id = user_id", "TRUNCATE {}"])
def test_a_journal_refuses_to_be_rewritten(connection: psycopg.Connection[Any], journal: str, verb: str) -> None:
    with pytest.raises(psycopg.Error, match="is a journal"):
        connection.execute(sql.SQL(verb).format(sql.Identifier(journal)))
    assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(journal))).fetchone() == (1,)
