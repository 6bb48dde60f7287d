"""The log of change capture is bounded: one that players fill ends the copy, and never refuses them a write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from db.console.live_view import CopyProgress
from db.console.progress import Advance, Silent
from db.legacy.comparison import compare_files
from db.legacy.source import opened
from db.transfer import target as targets
from db.transfer.live import capture, players
from db.transfer.live.capture import LogOutgrown
from db.transfer.live.session import LiveTransfer, transferring
from db.transfer.verify import compare
from game.legacy import capture_schema
from game.tables import LEGACY_PREFIX
from harness.databases import Database
from tests.db.transfer.transferring import PASS, give_pass, seeded, sqlite, value

LINES = 60
PLAYERS = 40
FILL = ("UPDATE users SET gold = gold", "UPDATE users SET gold = gold")
"""Each notes a line a player, and changes nothing."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return seeded(tmp_path / "game.db", PLAYERS)


@pytest.fixture
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "most_lines", lambda _conn: LINES)


@contextmanager
def live_copy(database: Database, source: Path, *, copied: bool = True) -> Iterator[LiveTransfer]:
    give_pass(database)
    with transferring(source, database.owner, run="run-1", pass_token=PASS) as live:
        if copied:
            live.copy(live.begin(), nothing)
        yield live


def nothing(_progress: CopyProgress) -> None:
    pass


def assert_open_again(source: Path, before: bytes) -> None:
    """The file bears nothing of capture, has what the game left in it, and takes writes."""
    earlier = source.with_name("before.db")
    earlier.write_bytes(before)
    with closing(capture.open_file(source)) as file:
        assert capture_schema.own(file) == frozenset()
    assert [line for line in compare_files(earlier, source) if LEGACY_PREFIX not in line] == []
    sqlite(source, "UPDATE users SET gold = gold + 1")


def assert_the_next_copy_is_whole(database: Database, source: Path) -> None:
    with live_copy(database, source) as live:
        live.round()
        with opened(source) as file, targets.opened(database.owner) as snapshot:
            assert compare(file, snapshot, Silent()).named == ()


def test_a_full_log_takes_no_more_lines_and_players_write_on(source: Path, few_lines: None) -> None:
    with closing(capture.open_file(source)) as file:
        capture.turn_on(file, str(source), run="run-1")
        sqlite(source, FILL[0])
        assert not capture_schema.is_full(file)
        sqlite(source, *FILL, "UPDATE users SET gold = 4711", "INSERT INTO kv VALUES ('more', '1')")
        assert capture_schema.is_full(file)
        assert capture.size(file) == LINES + 1
        assert file.execute("SELECT count(*) FROM users WHERE gold = 4711").fetchone() == (PLAYERS,)


def test_a_full_log_takes_less_than_a_fifth_of_the_file(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LEAST_LINES", 0)
    receipts = (
        "INSERT INTO sudamr_action_receipts(user_id, request_id, command, outcome, at, seq, chain) SELECT id,"
        " '{}-4c1f-8d7e-0123456789ab', '', '', 5, {}, '' FROM users"
    )
    with closing(capture.open_file(source)) as file:
        before = pages(file)
        capture.turn_on(file, str(source), run="run-1")
        rows = 0
        while not capture_schema.is_full(file):  # Lines of receipts bear their whole key: no line is longer.
            sqlite(source, receipts.format(f"{rows:012}", rows + 1))
            rows += 1
        whole = pages(file)
        file.execute(f"DELETE FROM {capture_schema.TABLE}")
        free = file.execute("PRAGMA freelist_count").fetchone()[0]
    assert 0 < free < before / capture.PART_OF_FILE
    assert whole > before


def pages(file: sqlite3.Connection) -> int:
    return int(file.execute("PRAGMA page_count").fetchone()[0])


def test_a_copy_whose_log_fills_ends_and_leaves_nothing_in_the_file(
    fenced_database: Database, source: Path, few_lines: None
) -> None:
    before = source.read_bytes()

    def seen(_progress: CopyProgress) -> None:
        sqlite(source, *FILL)

    with (
        live_copy(fenced_database, source, copied=False) as live,
        pytest.raises(LogOutgrown, match="at most 61 changes") as caught,
    ):
        live.copy(live.begin(), seen)
    assert "players play on it" in caught.value.do
    assert int(str(value(fenced_database.owner, "select count(*) from transfer_checkpoints"))) > 0
    assert_open_again(source, before)
    assert_the_next_copy_is_whole(fenced_database, source)


def test_a_round_that_begins_with_a_full_log_writes_nothing(
    fenced_database: Database, source: Path, few_lines: None
) -> None:
    before = source.read_bytes()
    with live_copy(fenced_database, source) as live:
        sqlite(source, *FILL)
        with pytest.raises(LogOutgrown):
            live.round()
    assert_open_again(source, before)
    assert_the_next_copy_is_whole(fenced_database, source)


def test_a_log_that_fills_while_a_round_is_applied_is_not_emptied_by_it(
    fenced_database: Database, source: Path, few_lines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptied, it would have room again, and nothing would tell that lines are missing."""
    before = source.read_bytes()
    real = players.apply

    def apply(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(players, "apply", real)
        sqlite(source, *FILL)
        return real(*arguments, **named)

    with live_copy(fenced_database, source) as live:
        sqlite(source, FILL[0])
        monkeypatch.setattr(players, "apply", apply)
        with pytest.raises(LogOutgrown):
            live.round()
    assert_open_again(source, before)


class FillsMeanwhile(Silent):
    """A progress that fills the log as soon as the first player is proven."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.proven = 0

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        del title, total, unit

        def advance(more: int) -> None:
            if not self.proven:
                sqlite(self.source, *FILL)
            self.proven += more

        yield advance


def test_a_log_that_fills_while_the_copy_is_proven_ends_the_proof(
    fenced_database: Database, source: Path, few_lines: None
) -> None:
    before, progress = source.read_bytes(), FillsMeanwhile(source)
    with live_copy(fenced_database, source) as live, pytest.raises(LogOutgrown):
        live.prove(progress, lambda _result: None)
    assert progress.proven < PLAYERS
    assert_open_again(source, before)


def test_a_full_log_puts_the_window_off(fenced_database: Database, source: Path, few_lines: None) -> None:
    with live_copy(fenced_database, source) as live:
        assert live.lacking(live.file) == []
        sqlite(source, *FILL)
        assert live.lacking(live.file) == [capture_schema.TABLE]
        with pytest.raises(LogOutgrown):
            live.last_round(live.file)


def test_a_log_that_filled_while_no_tool_ran_is_exchanged_and_the_copy_begins_anew(
    fenced_database: Database, source: Path, few_lines: None
) -> None:
    with live_copy(fenced_database, source) as live:
        first = capture.log_of(live.file, "run-1")
    sqlite(source, *FILL, "UPDATE users SET gold = 4711, mail = inventory")
    assert_the_next_copy_is_whole(fenced_database, source)
    with closing(capture.open_file(source)) as file:
        assert capture.log_of(file, "run-1") != first
