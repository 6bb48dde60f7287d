"""A load is refused in words where it must not begin, and stops where it must not go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db import ops, transfer
from db.console.progress import Advance, Silent
from db.errors import Failure, Refusal
from db.ops import Phase
from db.transfer import preconditions
from game.urls import PostgresUrl
from harness.databases import Database
from tests.db.transfer.transferring import PASS, load, seeded, sqlite, value, written_to


def test_more_held_players_than_allowed_stop_the_load_and_are_named(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", anomalies=False)
    sqlite(source, "UPDATE users SET gold = -5, diamonds = 'none' WHERE rowid = 4")
    player = sqlite3.connect(source).execute("SELECT id FROM users WHERE rowid = 4").fetchone()[0]
    with pytest.raises(Refusal, match="at most 0 players held; found 1") as refusal:
        load(fenced_database, source, max_held=0)
    assert player in str(refusal.value)
    assert load(fenced_database, source, max_held=1).held == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET gold = gold + 1 WHERE rowid = 1",
        "DELETE FROM users WHERE rowid = 12",
        "UPDATE kv SET value = 'x' WHERE rowid = 1",
        "CREATE TABLE more (x)",
        "UPDATE users SET rowid = 99 WHERE rowid = 12",
    ],
)
def test_another_file_is_refused_where_one_was_loaded(change: str, fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    sqlite(source, change)
    with pytest.raises(Refusal, match="the file that was begun to be loaded"):
        load(fenced_database, source)


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("table sudamr_fence_notes", "CREATE TABLE sudamr_fence_notes (a TEXT)"),
        ("table sudamr_fence", "CREATE TABLE sudamr_fence (state TEXT)"),
        (
            "trigger sudamr_fence_of_gold",
            "CREATE TRIGGER sudamr_fence_of_gold BEFORE UPDATE ON kv BEGIN SELECT RAISE(ABORT, 'no'); END",
        ),
    ],
)
def test_what_bears_a_name_of_the_fence_is_named_and_never_left_out(
    name: str, statement: str, fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db")
    sqlite(source, statement)
    for ask in (lambda: transfer.profile(source), lambda: load(fenced_database, source)):
        with pytest.raises(Refusal, match=f"no name that begins with sudamr_fence, but the fence's own; found {name}"):
            ask()


def test_a_target_with_rows_of_its_own_is_refused(fenced_database: Database, tmp_path: Path) -> None:
    with written_to(fenced_database.owner) as conn:
        conn.execute("insert into users (id) values ('user-1')")
    with pytest.raises(Refusal, match="an empty target; found rows in users"):
        load(fenced_database, seeded(tmp_path / "game.db"))


def test_an_open_target_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a fenced target; found one open to players"):
        transfer.load(seeded(tmp_path / "game.db"), database.owner, run="run-1", pass_token=PASS)


def test_a_live_target_is_refused(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    with ops.lock(fenced_database.owner, run="run-1", why="a test") as held:
        held.advance(Phase.EMPTY, Phase.LOADING)
        held.advance(Phase.LOADING, Phase.LIVE)
    with pytest.raises(Refusal, match="nobody plays on; found a live one"):
        load(fenced_database, source)


def test_a_target_that_is_not_migrated_is_refused(blank: PostgresUrl, tmp_path: Path) -> None:
    ops.prepare(blank, "test")
    with pytest.raises(Refusal, match="a migrated schema"):
        transfer.load(seeded(tmp_path / "game.db"), blank, run="run-1", pass_token=PASS)


def test_a_server_that_does_not_answer_is_refused(fenced_database: Database, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a Postgres that answers"):
        transfer.load(seeded(tmp_path / "game.db"), fenced_database.owner.with_(port=1), run="run-1", pass_token=PASS)


def test_without_the_pass_nothing_is_written(fenced_database: Database, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="the pass of the run"):
        load(fenced_database, seeded(tmp_path / "game.db"), pass_token="another")  # no secret
    assert value(fenced_database.owner, "select count(*) from legacy_schema") == 0


def test_two_loads_at_once_are_refused_naming_the_other(
    fenced_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preconditions, "ORPHAN_TIMEOUT", "50ms")
    with (
        preconditions.writing(fenced_database.owner),
        pytest.raises(Refusal, match="no other transfer at work") as refusal,
    ):
        load(fenced_database, seeded(tmp_path / "game.db"))
    assert "sudamr transfer" in refusal.value.found


class AbortsTheRun(Silent):
    """Another session marks the run as aborted while the first bar is shown."""

    def __init__(self, owner: PostgresUrl) -> None:
        self._owner = owner

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        with ops.connect(self._owner) as conn:
            conn.execute("update ops.phase set phase = 'aborted'")
        with super().bar(title, total, unit) as advance:
            yield advance


def test_a_load_whose_run_was_aborted_writes_no_further_chunk(fenced_database: Database, tmp_path: Path) -> None:
    with ops.connect(fenced_database.owner) as conn:
        conn.execute("update ops.phase set phase = 'loading'")
    with pytest.raises(Failure, match="the phase loading throughout the load; found aborted"):
        load(fenced_database, seeded(tmp_path / "game.db"), progress=AbortsTheRun(fenced_database.owner))
    assert value(fenced_database.owner, "select count(*) from users") == 0


def test_clearing_empties_the_target_for_another_file(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    load(fenced_database, source)
    transfer.clear(fenced_database.owner, pass_token=PASS)
    sqlite(source, "UPDATE users SET gold = gold + 1 WHERE rowid = 1")
    assert not load(fenced_database, source).resumed


def test_a_table_that_only_bears_a_journals_name_is_refused(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db")
    sqlite(source, "CREATE TABLE sudamr_currency_ledger (user_id TEXT, amount INTEGER)")
    with pytest.raises(Refusal, match="our journal sudamr_currency_ledger"):
        load(fenced_database, source)


def test_a_schema_that_cannot_be_made_again_is_refused_before_anything_is_loaded(
    fenced_database: Database, tmp_path: Path
) -> None:
    source = seeded(tmp_path / "game.db")
    connection = sqlite3.connect(source, isolation_level=None)
    connection.create_function("graded", 1, lambda value: value, deterministic=True)
    connection.execute("CREATE INDEX by_grade ON users (graded(league))")
    connection.close()
    with pytest.raises(Refusal, match='DROP INDEX "by_grade"'):
        load(fenced_database, source)
    assert value(fenced_database.owner, "select count(*) from legacy_schema") == 0
