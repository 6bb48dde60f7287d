"""Inside the window: the tool killed or stopped at each part, and players play again without a person."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from threading import Timer
from typing import Any

import pytest

from db import ops
from db.cutover import journal, switch, window
from db.cutover.context import read_only_seconds
from db.cutover.watchdog import LONGEST_SECONDS
from db.cutover.window import WindowMissed
from db.errors import Undone
from db.servers import Server
from db.transfer.live.rounds import Rounds
from game.legacy import fence, sqlite_values
from game.legacy.fence_schema import FenceMark
from tests.db.cutover.cutover_world import SPAWN, World, quiet_smoke, run_cutover, wait_until, world

__all__ = ["world"]

PARTS = ["window", "fence", "lock", "last round", "checks", "live", "moved"]
BEFORE_SENT = PARTS[: PARTS.index("live")]


def mark_of(world: World) -> FenceMark:
    with closing(sqlite_values.connect(world.env.legacy.path, readonly=True)) as connection:
        return fence.mark(connection)


def settled(world: World, part: str) -> bool:
    """Return True if exactly the store that is to be open after a death at this part is."""
    expected = ("loading", "open") if part in BEFORE_SENT else ("live", "moved")
    return (world.phase(), mark_of(world).state) == expected


@pytest.mark.parametrize("part", [pytest.param(p, marks=pytest.mark.core) if p == PARTS[2] else p for p in PARTS])
def test_a_tool_that_is_killed_in_the_window_leaves_a_game_that_is_played(world: World, part: str) -> None:
    assert world.dies("at", part, run_cutover, offline=False) == -signal.SIGKILL
    wait_until(lambda: settled(world, part))
    assert world.act(0, "after").status_code == 200
    world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert world.act(0, "after").json()["replayed"]


@pytest.mark.parametrize("part", ["lock", "last round", "live"])
def test_a_tool_that_is_stopped_in_the_window_is_ended(world: World, part: str) -> None:
    tool = SPAWN.Process(target=_stops, args=(world.env, world.folder, world.server.handle(), part))
    tool.start()
    try:
        tool.join(LONGEST_SECONDS + 60)
        assert tool.exitcode == -signal.SIGKILL
    finally:
        tool.kill()  # This process waits for its children at its end, also for one that is stopped.
    wait_until(lambda: settled(world, part))
    assert world.act(0, "after").status_code == 200


def _stops(env: Any, folder: Any, handle: str, part: str) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", part):
            os.kill(os.getpid(), signal.SIGSTOP)

    tools = Server.attach(handle).tool
    run_cutover(env, folder=folder / "runs", smoke=quiet_smoke, tools=tools, observer=observer, offline=False)


def test_a_window_that_does_not_fit_its_budget_is_opened_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = iter([0.0, 0.0, 60.0])
    monkeypatch.setattr(window, "BUDGET_SECONDS", 0.0)

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "window"):
            assert mark_of(world).state == "open"
            monkeypatch.setattr(window, "BUDGET_SECONDS", next(budgets))

    report = world.cutover(offline=False, observer=observer)
    assert report.live is not None
    assert report.live.attempts == 3
    world.assert_open_on_postgres()


def test_a_window_that_never_fits_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "BUDGET_SECONDS", 0.0)
    with pytest.raises(Undone) as caught:
        world.cutover(offline=False)
    assert isinstance(caught.value.__cause__, WindowMissed)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")


def test_the_file_is_opened_at_once_where_the_last_round_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def last(_rounds: Rounds, file: sqlite3.Connection) -> None:
        assert fence.state(file) == "fenced"
        raise OSError("a disk that is full")

    monkeypatch.setattr(Rounds, "last", last)
    with pytest.raises(Undone, match="a disk that is full"):
        world.cutover(offline=False)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")


def test_a_writer_that_keeps_the_file_locked_puts_the_window_off(world: World) -> None:
    """It is tried again, and comes once the writer lets go; players of the service waited for that writer alone."""
    held: list[sqlite3.Connection] = []

    def observer(when: str, step: str) -> None:
        if (when, step) != ("at", "window"):
            return
        if not held:
            held.append(sqlite_values.connect(world.env.legacy.path))
            held[0].execute("BEGIN IMMEDIATE")
            Timer(window.LOCK_SECONDS * 3, held[0].rollback).start()

    report = world.cutover(offline=False, observer=observer)
    assert report.live is not None
    assert report.live.attempts > 1
    world.assert_open_on_postgres()


def test_no_window_begins_while_a_process_has_postgres_not_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    real = switch.offered
    monkeypatch.setattr(switch, "offered", lambda *of: real(*of) and next(answers, True))
    fenced: list[str] = []

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "fence"):
            fenced.append(step)

    report = world.cutover(offline=False, observer=observer)
    assert report.live is not None
    assert (report.live.attempts, fenced) == (2, ["fence"])


def test_a_point_of_no_return_that_postgres_refuses_opens_the_file_at_once(world: World) -> None:
    """It was sent, and the session that sent it knows that it failed: nobody has to wait for the watchdog."""

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "checks"):
            with ops.connect(world.owner) as conn:
                assert conn.execute("delete from ops.proven").rowcount == 1

    with pytest.raises(Undone):
        world.cutover(offline=False, observer=observer)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    (made,) = journal.runs(world.runs, "cutover", "test")
    closed = read_only_seconds(made)
    assert closed is not None
    assert closed < 5
    assert made.last("watchdog") is None
