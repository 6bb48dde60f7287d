"""Tests each constraint of the database by a row that only this one forbids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from db import tables as db_tables
from game import tables as game_tables
from harness.databases import Databases
from tests.fixtures.rows import ROWS, insert

TABLES = (*game_tables.ALL, *db_tables.ALL)

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
    "action_receipts_seq_check": ("action_receipts", {"request_id": "r2", "seq": 0}),
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
            insert(connection, table)
        yield connection
    databases.drop(database)


def test_every_constraint_of_the_database_is_tried(connection: psycopg.Connection[Any]) -> None:
    constraints = connection.execute(
        "SELECT conname, conrelid::regclass::text FROM pg_constraint"
        " WHERE conrelid = ANY(%s::regclass[]) AND contype <> 'n'",  # NOT NULL, from PostgreSQL 18 on.
        ([table.name for table in TABLES],),
    ).fetchall()
    assert dict(constraints) == {name: table for name, (table, _) in FORBIDDEN.items()}


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
