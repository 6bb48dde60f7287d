"""Players who write more than the log may hold: the move ends by itself with exit 3, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from db import transfer
from db.cutover import ending
from db.cutover.probes import CaptureState
from db.legacy.comparison import compare_files
from db.transfer.live import capture
from db.transfer.live.capture import LogOutgrown
from game.legacy import capture_schema, sqlite_values
from game.tables import LEGACY_PREFIX
from tests.db.cutover.cutover_world import World, run_cutover, world
from tests.db.cutover.test_live_status import CAPTURE, state_of

__all__ = ["world"]

LINES = 8


def writes_much(world: World) -> None:
    """Note more lines than the log may have; no value is changed."""
    with closing(sqlite3.connect(world.env.legacy.path, isolation_level=None)) as connection:
        for _ in range(LINES):
            connection.execute("UPDATE users SET gold = gold")


def assert_whole_on_postgres(world: World) -> None:
    world.assert_open_on_postgres()
    assert transfer.prove(world.env.legacy.path, world.owner).mismatches == 0


@pytest.fixture
def few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "most_lines", lambda _conn: LINES)


@pytest.mark.parametrize("step", ["stand by", "window"])
def test_a_move_whose_log_is_full_ends_with_3_and_the_next_begins_anew(
    world: World, few_lines: None, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def observer(when: str, name: str) -> None:
        if (when, name) == ("before", step):
            writes_much(world)

    with pytest.raises(LogOutgrown) as caught:
        world.cutover(offline=False, observer=observer)

    assert caught.value.exit_code == 3
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    with closing(sqlite_values.connect(world.env.legacy.path, readonly=True)) as connection:
        assert capture_schema.own(connection) == frozenset()
    assert [line for line in compare_files(world.before, world.env.legacy.path) if LEGACY_PREFIX not in line] == []
    assert world.act(0, "afterwards").status_code == 200
    said = ending.ended(world.env, "inconclusive")
    assert "players play on SQLite" in said.line
    assert "SQLite open, Postgres fenced" in said.line
    assert said.next.startswith("invoke cutover --env test")

    monkeypatch.undo()
    world.cutover(offline=False)
    assert_whole_on_postgres(world)


def test_a_log_that_filled_while_no_tool_ran_refuses_nobody_and_the_copy_begins_anew(world: World) -> None:
    assert world.dies("after", "copy", run_cutover, offline=False) == -9
    with closing(capture.open_file(world.env.legacy.path)) as connection:
        connection.execute(f"UPDATE {capture_schema.STATE} SET lines = {LINES}")
    writes_much(world)
    observed = ending.ended(world.env, "failed").line
    assert world.act(0, "meanwhile").status_code == 200
    assert "invoke cutover --env test" in observed
    world.cutover(offline=False)
    assert_whole_on_postgres(world)


def test_status_says_that_a_full_log_needs_a_new_copy() -> None:
    full = CaptureState(CAPTURE.run, CAPTURE.log, CAPTURE.players, CAPTURE.waiting, full=True)
    assert "as many as the log may have: the next run copies anew" in state_of(capture=full)
    assert "may have" not in state_of()
