"""A load: everything is loaded or quarantined, counted by SQLite, proven, and counted again when it is repeated."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import pytest

from db import ops, transfer
from db.errors import Failure
from db.legacy.comparison import compare_files
from db.samples import builders, seed
from db.transfer import reconcile
from db.transfer.reconcile import Reconciliation
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load, moved, seeded, sqlite, value, written_to


@pytest.mark.plan(10, 20)
def test_every_value_is_loaded_or_quarantined_and_every_player_proven(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = tmp_path / "game.db"
    made = seed.seed_legacy(source, 60)
    loaded = load(fenced_database, source)
    assert loaded.players == made.players == value(fenced_database.owner, "select count(*) from users")
    assert loaded.source == loaded.loaded + loaded.quarantined
    assert all(count.adds_up for count in loaded.per_column.values())
    assert loaded.mismatches == 0
    assert loaded.held == len(made.held) > 0
    assert loaded.aside > 0
    assert not loaded.resumed
    assert value(fenced_database.owner, "select count(*) from users where held") == loaded.held
    assert value(fenced_database.owner, "select count(*) from quarantine") >= loaded.quarantined


def test_sqlite_itself_counts_the_elements_of_documents(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    connection = sqlite3.connect(source)
    elements = connection.execute("SELECT sum(max(1, json_array_length(inventory))) FROM users").fetchone()[0]
    cells = connection.execute("SELECT count(*) FROM users").fetchone()[0]
    connection.close()
    counts = load(fenced_database, source).per_column
    assert counts["users", "inventory"].source == elements > cells
    assert counts["users", "gold"].source == cells
    assert counts["users", "inventory"].loaded + counts["users", "inventory"].quarantined == elements


def test_a_blob_is_one_unit_whatever_its_bytes_would_read_as(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    before = load(fenced_database, source).per_column["users", "mail"].source
    transfer.clear(fenced_database.owner, pass_token=PASS)
    connection = sqlite3.connect(source)
    letters = connection.execute("SELECT max(1, json_array_length(mail)) FROM users WHERE rowid = 3").fetchone()[0]
    connection.close()
    sqlite(source, "UPDATE users SET mail = CAST('[1,2,3,4,5]' AS BLOB) WHERE rowid = 3")
    count = load(fenced_database, source).per_column["users", "mail"]
    assert (count.source, count.quarantined) == (before - letters + 1, 1)


def test_a_load_whose_counts_do_not_add_up_fails(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        forged = """update transfer_checkpoints set counts = replace(counts, '"gold": [12,', '"gold": [11,')"""
        assert conn.execute(forged + " where source_table = 'users'").rowcount == 1
    with pytest.raises(Failure, match=r"1 that do not: users\.gold has 12"):
        load(fenced_database, source)


def test_a_quarantined_value_keeps_its_bytes_and_says_why(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    sqlite(
        source, "UPDATE users SET gold = 'many' WHERE rowid = 4", "UPDATE users SET league = x'ff00' WHERE rowid = 5"
    )
    loaded = load(fenced_database, source)
    assert (loaded.quarantined, loaded.aside, loaded.held) == (2, 1, 1)
    with ops.connect(fenced_database.owner) as conn:
        rows = conn.execute(
            "select kind, column_name, storage, original, rule, reason <> '', run from quarantine order by n"
        ).fetchall()
        held = conn.execute("select id, gold from users where held").fetchall()
    assert rows == [
        ("held", "gold", "text", b"many", "gold.not_an_integer", True, "run-1"),
        ("aside", "league", "blob", b"\xff\x00", "league.not_a_text", True, "run-1"),
    ]
    assert len(held) == 1
    assert held[0][1] == 0


def test_texts_too_long_for_an_index_are_kept_beside_it_and_come_back(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    connection = sqlite3.connect(source)
    with connection:
        for statement in (
            "UPDATE users SET id = ? WHERE rowid = 1",
            "UPDATE users SET nickname = ? WHERE rowid = 2",
            "UPDATE users SET inventory = json_set(inventory, '$[0].id', ?) WHERE rowid = 3",
            "UPDATE users SET mail = json_set(mail, '$[0].id', ?) WHERE rowid = 4",
            "INSERT INTO kv VALUES (?, 'value')",
            "UPDATE user_credentials SET username = ? WHERE rowid = 5",
        ):
            connection.execute(statement, (secrets.token_hex(10_000),))
    connection.close()
    loaded = load(fenced_database, source)
    assert (loaded.mismatches, loaded.source) == (0, loaded.loaded + loaded.quarantined)
    transfer.back(fenced_database.owner, tmp_path / "again.db")
    assert compare_files(source, tmp_path / "again.db") == []


def test_loading_again_changes_nothing_and_proves_again(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    first = load(fenced_database, source)
    rows = "select string_agg(x::text, ',' order by x::text) from {} x"
    tables = ("users", "user_inventory", "legacy_rows", "quarantine", "transfer_checkpoints", "key_values")
    before = [value(fenced_database.owner, rows.format(table)) for table in tables]
    again = load(fenced_database, source, run="run-2")
    assert again.resumed
    assert (again.source, again.loaded, again.quarantined, again.held) == (
        first.source,
        first.loaded,
        first.quarantined,
        first.held,
    )
    assert [value(fenced_database.owner, rows.format(table)) for table in tables] == before


def test_counts_that_do_not_add_up_are_a_failure_naming_the_column() -> None:
    counted = Reconciliation()
    counted.expect("users", {"gold": 5, "mail": 9})
    counted.add("users", reconcile.Counter({"gold": 4, "mail": 9}), reconcile.Counter({"mail": 2}))
    with pytest.raises(Failure, match=r"users\.gold has 5, loaded 4, quarantined 0") as failure:
        counted.check()
    assert "mail" not in str(failure.value)
    assert failure.value.exit_code == 1


def test_a_column_that_only_the_target_counted_does_not_add_up() -> None:
    counted = Reconciliation()
    counted.expect("users", {"gold": 5})
    counted.add("users", reconcile.Counter({"gold": 5, "ghost": 1}), reconcile.Counter())
    with pytest.raises(Failure, match=r"users\.ghost"):
        counted.check()


JOURNAL = """CREATE TABLE sudamr_currency_ledger (user_id TEXT NOT NULL, request_id TEXT NOT NULL, n BIGINT NOT NULL,
 currency TEXT NOT NULL, amount BIGINT NOT NULL, reason TEXT NOT NULL, balance BIGINT NOT NULL,
 PRIMARY KEY (user_id, request_id, n)) WITHOUT ROWID"""


def test_journals_of_the_file_are_journals_of_the_target(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    player = sqlite3.connect(source).execute("SELECT id FROM users WHERE rowid = 1").fetchone()[0]
    line = "INSERT INTO sudamr_currency_ledger VALUES ('{}', '{}', {}, '{}', 5, 'mail', {})"
    sqlite(
        source,
        JOURNAL,
        line.format(player, "r2", 1, "gold", 10),
        line.format(player, "r1", 2, "gold", 5),
        line.format(player, "r1", 10, "diamonds", 0),
        line.format("user-gone", "r1", 1, "gold", 1),
        line.format(player, "r3", 1, "stones", 1),
        line.format(player, "r4", 1, "gold", -1),
        line.format(player, "r5", "'one'", "gold", 1),
    )
    loaded = load(fenced_database, source)
    assert loaded.aside == 4
    with ops.connect(fenced_database.owner) as conn:
        lines = conn.execute("select request_id, n, currency from currency_ledger order by 1, 2").fetchall()
        rules = conn.execute("select rule from quarantine order by rule").fetchall()
    assert lines == [("r1", 2, "gold"), ("r1", 10, "diamonds"), ("r2", 1, "gold")]
    assert rules == [("balance.unfit",), ("currency.unfit",), ("n.unfit",), ("user_id.unknown",)]
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert compare_files(source, tmp_path / "copy.db") == []


def test_players_made_by_hand_have_no_findings(fenced_database: Database, tmp_path: Path) -> None:
    source = tmp_path / "game.db"
    seed.empty_legacy(source)
    connection = sqlite3.connect(source, isolation_level=None)
    row = builders.legacy_row("user-1", gold=500)
    names, places = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO users ({names}) VALUES ({places})", list(row.values()))
    connection.close()
    loaded = load(fenced_database, source)
    assert (loaded.quarantined, loaded.players) == (0, 1)
    assert value(fenced_database.owner, "select gold from users") == 500


def test_an_older_files_missing_columns_stay_missing(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", user_columns=73)
    load(fenced_database, source)
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert compare_files(source, tmp_path / "copy.db") == []


def test_without_a_declared_key_a_second_player_of_the_same_id_is_kept_whole_and_held(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = tmp_path / "game.db"
    sqlite(
        source,
        "CREATE TABLE users (id TEXT, nickname TEXT, gold INTEGER, inventory TEXT)",
        "INSERT INTO users VALUES ('user-1', 'one', 5, '[1,2,3]')",
        "INSERT INTO users VALUES ('user-1', 'two', 6, '[1,2,3]')",
        "INSERT INTO users VALUES ('user-2', 'one', 7, '[]')",
        "INSERT INTO users VALUES (NULL, NULL, 8, NULL)",
        "CREATE TABLE kv (key TEXT, value TEXT)",
        "INSERT INTO kv VALUES ('a', '1'), ('a', '2'), (NULL, '3')",
        "CREATE TABLE user_credentials (username TEXT, passwordHash TEXT, userId TEXT)",
        "INSERT INTO user_credentials VALUES ('a', 'hash-1', 'user-1'), ('a', 'hash-2', 'user-1')",
    )
    loaded = load(fenced_database, source)
    assert loaded.source == loaded.loaded + loaded.quarantined
    assert value(fenced_database.owner, "select string_agg(id || gold, ',') from users") == "user-15"
    assert loaded.held == 4
    assert value(fenced_database.owner, "select count(*) from quarantine where rule = 'id.duplicate'") == 1
    assert value(fenced_database.owner, "select count(*) from quarantine where rule = 'nickname.duplicate'") == 1
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert compare_files(source, tmp_path / "copy.db") == []


def test_rows_added_since_are_no_other_file_but_loaded_too(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    sqlite(source, "INSERT INTO users (id, gold) VALUES ('user-late', 5)")
    assert load(fenced_database, source).players == 13


def test_a_fence_on_the_source_is_no_part_of_it(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    assert load(fenced_database, moved(source)).resumed
    tables = "select count(*) from legacy_schema where name like '%fence%'"
    assert value(fenced_database.owner, tables) == 0
