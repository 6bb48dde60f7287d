"""Rounds bring the target to the file, whatever was written to it meanwhile: it ends as a load of that file would."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.console.live_view import CopyProgress
from db.console.progress import Silent
from db.errors import Failure, Refusal
from db.legacy.comparison import compare_files
from db.legacy.source import opened
from db.transfer import target as targets
from db.transfer.live import capture, lines, players
from db.transfer.live.session import LiveTransfer, transferring
from db.transfer.verify import compare
from game.legacy import capture_schema, codec, sqlite_values
from game.tables import LEGACY_PREFIX
from harness.databases import Database
from tests.db.transfer.transferring import PASS, give_pass, seeded, sqlite, value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return seeded(tmp_path / "game.db", 40)


@pytest.fixture
def copied(fenced_database: Database, source: Path) -> Iterator[LiveTransfer]:
    """A live copy whose batches are done."""
    give_pass(fenced_database)
    with transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live:
        live.copy(live.begin(), lambda _progress: None)
        yield live


WRITES = {
    "gold": ["UPDATE users SET gold = gold + 5 WHERE rowid IN (3, 4)"],
    "a document": ["UPDATE users SET mail = inventory, inventory = mail WHERE rowid = 5"],
    "broken documents": ["UPDATE users SET inventory = '[{', quests = 7, mail = x'00ff' WHERE rowid IN (6, 7)"],
    "mended again": ["UPDATE users SET inventory = '[]', gold = 7, quests = NULL"],
    "text in numbers": ["UPDATE users SET gold = 'many', strategyXp = 1.5, league = 3 WHERE rowid = 8"],
    "what no command knows": ["UPDATE users SET appSettings = '{\"a\":1}', towerProgress = NULL WHERE rowid = 9"],
    "names swapped": [
        "UPDATE users SET nickname = 'x' WHERE rowid = 3",
        "UPDATE users SET nickname = (SELECT u.nickname FROM users u WHERE u.rowid = 4) || 'z' WHERE rowid = 5",
        "UPDATE users SET username = NULL WHERE rowid = 3",
        "CREATE TABLE n AS SELECT rowid AS r, nickname AS k FROM users",
        "UPDATE users SET nickname = NULL WHERE rowid IN (4, 6)",
        "UPDATE users SET nickname = (SELECT k FROM n WHERE r = 10 - users.rowid) WHERE rowid IN (4, 6)",
        "DROP TABLE n",
    ],
    "deleted": ["DELETE FROM users WHERE rowid IN (2, 11)"],
    "made again under the same rowid": [
        "CREATE TABLE n AS SELECT * FROM users WHERE rowid = 12",
        "DELETE FROM users WHERE rowid = 12",
        "UPDATE n SET id = 'somebody-else', gold = 1",
        "INSERT INTO users SELECT * FROM n",
        "UPDATE users SET rowid = 12 WHERE id = 'somebody-else'",
        "DROP TABLE n",
    ],
    "moved to another rowid": [
        "UPDATE users SET rowid = 4000 WHERE rowid = 13",
        "UPDATE users SET rowid = 13 WHERE rowid = 14",
    ],
    "replaced": [
        (
            "INSERT OR REPLACE INTO users(id, username, nickname) SELECT 'new-one', u.username, n.nickname"
            " FROM users u, users n WHERE u.rowid = 15 AND n.rowid = 16"
        ),
        "UPDATE OR REPLACE users SET nickname = (SELECT u.nickname FROM users u WHERE u.rowid = 17) WHERE rowid = 18",
    ],
    "an upsert": [
        "INSERT INTO users(id, gold) SELECT id, 9 FROM users WHERE rowid = 19 ON CONFLICT(id) DO UPDATE SET gold = 9"
    ],
    "another id": ["UPDATE users SET id = 'renamed' WHERE rowid = 20", "UPDATE users SET id = x'00' WHERE rowid = 21"],
    "other tables": [
        "INSERT OR REPLACE INTO kv VALUES ('guilds', '[]'), ('new', 'x'), ('bad', x'ff00')",
        "DELETE FROM kv WHERE rowid % 2",
        "UPDATE user_credentials SET passwordHash = 'h'",
        "INSERT INTO schema_version VALUES (9)",
    ],
    "a new table": ["CREATE TABLE more(a, b)", "INSERT INTO more VALUES (1, 2), (x'00', NULL)"],
    "a table without rowids": [
        "CREATE TABLE keyed(a PRIMARY KEY, b) WITHOUT ROWID",
        "INSERT INTO keyed VALUES (1, 2), ('x', 3)",
        "DELETE FROM keyed WHERE a = 1",
    ],
    "a table rebuilt": [
        "CREATE TABLE anew AS SELECT * FROM kv",
        "DROP TABLE kv",
        "ALTER TABLE anew RENAME TO kv",
        "UPDATE kv SET value = 'since' WHERE rowid = 1",
    ],
    "a table gone": ["DROP TABLE schema_version"],
    "a column more": ["ALTER TABLE users ADD COLUMN later TEXT", "UPDATE users SET later = 'x' WHERE rowid = 3"],
    "journals": [
        "INSERT INTO sudamr_player_openings SELECT id, 1, 2, '{}' FROM users WHERE rowid < 9",
        (
            "INSERT INTO sudamr_action_receipts(user_id, request_id, command, outcome, at, seq, chain)"
            " SELECT id, 'r', '{}', '{}', 5, 1, 'c' FROM users WHERE rowid < 9"
        ),
        "INSERT INTO sudamr_currency_ledger SELECT id, 'r', 1, 'gold', 5, 'why', 5 FROM users WHERE rowid < 9",
        "INSERT INTO sudamr_currency_ledger VALUES ('nobody', 'r', 1, 'gold', 5, 'why', 5)",
        "INSERT INTO sudamr_currency_ledger SELECT id, 'r', 2, 'pearls', 5, 'why', 5 FROM users WHERE rowid = 3",
    ],
    "an index": ["CREATE UNIQUE INDEX one_more ON users(league, id)", "CREATE VIEW v AS SELECT 1"],
    "statistics": ["ANALYZE"],
    "counted": ["CREATE TABLE counted(n INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO counted DEFAULT VALUES"],
}


def differences(live: LiveTransfer) -> tuple[str, ...]:
    with opened(live.path) as file, targets.opened(live.target) as snapshot:
        return compare(file, snapshot, Silent()).named


@pytest.mark.parametrize("what", WRITES)
def test_a_round_brings_what_was_written(copied: LiveTransfer, source: Path, what: str) -> None:
    assert differences(copied) == ()
    sqlite(source, *WRITES[what])
    copied.round()
    assert differences(copied) == ()
    assert copied.round().rows == 0


def test_what_is_written_while_a_round_is_applied_is_brought_by_the_next(
    copied: LiveTransfer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = players.apply

    def apply(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(players, "apply", real)
        sqlite(source, "UPDATE users SET gold = 77 WHERE rowid IN (4, 5)")
        return real(*arguments, **named)

    sqlite(source, "UPDATE users SET gold = 7 WHERE rowid IN (3, 4)")
    monkeypatch.setattr(players, "apply", apply)
    copied.round()
    assert differences(copied) != ()
    copied.round()
    assert differences(copied) == ()


def test_a_round_ahead_waits_for_no_writer_and_the_next_passes_over_its_lines(
    copied: LiveTransfer, source: Path
) -> None:
    sqlite(source, "UPDATE users SET gold = 7 WHERE rowid IN (3, 4)")
    with closing(sqlite_values.connect(source)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert copied.run_ahead().players == 2
        writer.rollback()
    assert differences(copied) == ()
    assert copied.waiting > 0
    sqlite(source, "UPDATE users SET gold = 8 WHERE rowid = 5")
    assert copied.round().players == 1
    assert differences(copied) == ()
    assert copied.waiting == 0


def test_a_round_that_emptied_the_log_passes_over_nothing_that_comes_later(copied: LiveTransfer, source: Path) -> None:
    sqlite(source, "UPDATE users SET gold = 7 WHERE rowid IN (3, 4, 5)")
    assert copied.round().players == 3
    for rounds in (copied.round, copied.run_ahead, copied.run_ahead, copied.round):
        sqlite(source, "UPDATE users SET gold = gold + 1 WHERE rowid = 6")
        assert rounds().players == 1
        assert differences(copied) == ()


@pytest.mark.parametrize("in_the_window", [False, True])
def test_a_round_that_failed_or_was_given_up_passes_over_nothing(
    copied: LiveTransfer, source: Path, monkeypatch: pytest.MonkeyPatch, in_the_window: bool
) -> None:
    sqlite(source, "UPDATE users SET gold = 7 WHERE rowid IN (3, 4)", *WRITES["journals"])
    attempt = partial(copied.last_round, copied.file) if in_the_window else copied.run_ahead
    with monkeypatch.context() as failing, capture.writing(copied.file) if in_the_window else nullcontext():
        failing.setattr(lines, "apply", lambda *_arguments, **_named: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            attempt()
    assert copied.round().rows > 0
    assert differences(copied) == ()


def test_players_who_come_during_the_copy_come_with_what_they_did(fenced_database: Database, source: Path) -> None:
    give_pass(fenced_database)

    came = []

    def seen(progress: CopyProgress) -> None:
        """Have a player come, and act, once the players are copied."""
        if progress.players == progress.total and not came:
            came.append("late")
            sqlite(
                source,
                "INSERT INTO users(id, gold) VALUES ('late', 5)",
                "INSERT INTO sudamr_player_openings VALUES ('late', 0, 0, '{}')",
                "INSERT INTO sudamr_action_receipts(user_id, request_id, command, outcome, at, seq, chain)"
                " VALUES ('late', 'r', '{}', '{}', 5, 1, 'c')",
            )

    with transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live:
        live.copy(live.begin(), seen)
        assert came
        live.round()
        assert differences(live) == ()


def test_a_copy_that_is_gone_on_with_leaves_to_rounds_what_rounds_brought(
    fenced_database: Database, source: Path
) -> None:
    give_pass(fenced_database)
    with transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live:
        live.copy(live.begin(), lambda _progress: None)
        sqlite(source, "INSERT INTO users(id, gold) VALUES ('late', 5)", *WRITES["journals"], *WRITES["other tables"])
        live.round()
    with transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live:
        sqlite(source, "INSERT INTO users(id, gold) VALUES ('later', 5)", "UPDATE users SET gold = 6 WHERE id = 'late'")
        assert live.copy(live.begin(), lambda _progress: None) == 0
        live.round()
        assert differences(live) == ()


def test_a_row_that_can_not_be_rebuilt_stops_the_round_and_writes_nothing(
    copied: LiveTransfer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = value(copied.target, "select gold from users order by id limit 1")
    sqlite(source, "UPDATE users SET gold = gold + 1")
    real = codec.encode_row
    monkeypatch.setattr(codec, "encode_row", lambda *rows, **more: real(*rows, **more) | {"gold": 0})
    with pytest.raises(Failure, match="differs in gold"):
        copied.round()
    assert value(copied.target, "select gold from users order by id limit 1") == before


def test_the_last_round_is_one_transaction_however_many_players(
    copied: LiveTransfer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold = "select sum(gold)::text from users"
    before = value(copied.target, gold)
    monkeypatch.setattr(players, "AT_ONCE", 3)
    sqlite(source, "UPDATE users SET gold = gold + 1", *WRITES["journals"])
    with monkeypatch.context() as failing, capture.writing(copied.file):
        failing.setattr(lines, "apply", lambda *_arguments, **_named: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            copied.last_round(copied.file)
    assert value(copied.target, gold) == before
    with capture.writing(copied.file):
        copied.last_round(copied.file)
    assert differences(copied) == ()
    assert copied.conn.execute("show synchronous_commit").fetchone() == ("on",)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["PRAGMA journal_mode=DELETE"], "journal mode"),
        (["CREATE TABLE u AS SELECT * FROM users", "DROP TABLE users", "ALTER TABLE u RENAME TO users"], "unique"),
        (["CREATE UNIQUE INDEX x ON users(lower(nickname))"], "over an expression"),
    ],
)
def test_a_file_that_can_not_be_copied_live_is_refused_and_left_as_it_is(
    fenced_database: Database, source: Path, statements: list[str], found: str
) -> None:
    give_pass(fenced_database)
    sqlite(source, *statements)
    before = source.read_bytes()
    with (
        transferring(source, fenced_database.owner, run="run-1", pass_token=PASS) as live,
        pytest.raises(Refusal, match=found),
    ):
        live.begin()
    assert source.read_bytes() == before


def test_another_runs_copy_is_taken_out_and_copied_anew(fenced_database: Database, source: Path) -> None:
    give_pass(fenced_database)
    logs = []
    for run in ("run-1", "run-2"):
        with transferring(source, fenced_database.owner, run=run, pass_token=PASS) as live:
            logs.append((live.begin(), run))
            assert capture_schema.state(live.file) == logs[-1]
            live.copy(logs[-1][0], lambda _progress: None)
            live.round()
            assert differences(live) == ()
    assert logs[0][0] != logs[1][0]
    assert value(fenced_database.owner, "select string_agg(distinct run, ' ') from transfer_checkpoints") == "run-2"


def test_capture_that_is_turned_off_leaves_the_file_as_it_was_but_for_our_journals(source: Path) -> None:
    untouched = source.with_name("before.db")
    shutil.copy(source, untouched)
    with closing(capture.open_file(source)) as file:
        capture.turn_on(file, str(source), run="run-1")
        assert [line for line in compare_files(untouched, source) if LEGACY_PREFIX not in line] == []
        capture.turn_off(file)
        assert capture_schema.own(file) == frozenset()
    assert [line for line in compare_files(untouched, source) if LEGACY_PREFIX not in line] == []
