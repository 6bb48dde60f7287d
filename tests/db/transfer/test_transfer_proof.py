"""The proof finds whatever differs and names no value; a file that is rebuilt is whole or is not there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from db import ops, transfer
from db.console.progress import Silent
from db.errors import Failure, Refusal
from db.samples import seed
from harness.databases import Database
from tests.db.transfer.transferring import load, seeded, sqlite, written_to


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("update users set gold = gold + 1 where id = (select id from users where not held limit 1)", ", gold"),
        ("update key_values set value = value || ' ' where key = 'guilds'", "kv row"),
        ("update user_credentials set password_hash = 'x' where position = 3", "user_credentials row 3, passwordHash"),
        ("delete from live_games where position = 1", "live_games row 1: not in the target"),
        ("delete from user_mail where user_id = (select user_id from user_mail limit 1)", ", mail"),
        ("insert into key_values (key, value, position) values ('x', 'y', 99)", "kv row 99: only in the target"),
        ("insert into users (id) values ('user-new')", "only in the target"),
    ],
)
def test_the_proof_finds_what_was_changed_in_the_target(
    change: str, named: str, fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        assert conn.execute(change).rowcount > 0
    proof = transfer.prove(source, fenced_database.owner)
    assert proof.mismatches >= 1
    assert named in "; ".join(proof.named)
    with pytest.raises(Failure, match="that differ"):
        proof.check()
    with pytest.raises(Failure, match="that differ"):
        load(fenced_database, source)


def test_a_proof_names_twenty_mismatches_and_counts_the_rest(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", 30)
    load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        conn.execute("update users set strategy_xp = strategy_xp + 1")
    proof = transfer.prove(source, fenced_database.owner)
    assert proof.mismatches == 30
    assert len(proof.named) == 20


def test_secrets_are_never_named(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    sqlite(source, "UPDATE user_credentials SET passwordHash = 'a-known-hash' WHERE rowid = 2")
    loaded = load(fenced_database, source)
    with written_to(fenced_database.owner) as conn:
        conn.execute("update user_credentials set password_hash = 'another-hash' where position = 2")
    proof = transfer.prove(source, fenced_database.owner)
    assert proof.mismatches == 1
    shown = f"{loaded!r} {proof!r} {transfer.profile(source)!r}"
    assert "a-known-hash" not in shown
    assert "another-hash" not in shown


def test_a_database_that_no_file_was_loaded_into_becomes_a_file_of_today(database: Database, tmp_path: Path) -> None:
    seed.seed_postgres(database.owner, "test", 6, 1, progress=Silent())
    returned = transfer.back(database.owner, tmp_path / "made.db")
    assert returned.players == 6
    with ops.connect(database.owner) as conn:
        expected = conn.execute("select id, gold from users order by id").fetchall()
    rows = sqlite3.connect(returned.path).execute("SELECT id, gold FROM users ORDER BY id").fetchall()
    assert rows == expected
    assert sqlite3.connect(returned.path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_name_that_is_taken_is_never_overwritten(fenced_database: Database, tmp_path: Path) -> None:
    load(fenced_database, seeded(tmp_path / "game.db"))
    for taken in ("copy.db", "copy.db-wal"):
        (tmp_path / taken).write_text("mine", encoding="utf-8")
        with pytest.raises(Refusal, match="a name that is free"):
            transfer.back(fenced_database.owner, tmp_path / "copy.db")
        assert (tmp_path / taken).read_text(encoding="utf-8") == "mine"
        (tmp_path / taken).unlink()
    with pytest.raises(Refusal, match="a folder to write into"):
        transfer.back(fenced_database.owner, tmp_path / "nowhere" / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["game.db"]


def test_a_rebuilding_that_fails_leaves_nothing_behind(fenced_database: Database, tmp_path: Path) -> None:
    load(fenced_database, seeded(tmp_path / "game.db"))
    with written_to(fenced_database.owner) as conn:
        conn.execute("update legacy_schema set sql = 'CREATE TABLE kv (key TEXT)' where name = 'kv'")
    with pytest.raises(Failure):
        transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["game.db"]
