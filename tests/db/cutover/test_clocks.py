"""Clocks that jump while a move is under way, of this machine and of Postgres's: what is due is neither early nor late.

Budgets, pauses and waits go by the monotonic clock. What compares two times of day is tried here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from db import ops, snapshots
from db.confirmation import unasked
from db.cutover import holding, journal, ordering, services
from db.cutover.services import Ready
from db.snapshots import Label, Side, manifest
from tests.db.cutover.cutover_world import World, world

__all__ = ["world"]

HOUR = 3600.0


@dataclass
class Clock:
    """The time of day of this process, which a test sets. ahead: seconds before the true one."""

    ahead: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    seconds, nanoseconds, began = time.time, time.time_ns, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: seconds() + clock.ahead)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(clock.ahead * 1e9))
    monkeypatch.setattr(journal, "_now", clock.now)
    monkeypatch.setattr(manifest, "now", clock.now)
    # The system counts a process's start from its own, which it moves when the clock is set.
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + clock.ahead)
    return clock


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
@pytest.mark.parametrize("moment", ["before copy", "at window", "at lock", "before switch", "before final dump"])
def test_a_live_cutover_under_way_ends_as_if_no_clock_had_jumped(
    world: World, clock: Clock, moment: str, jump: float
) -> None:
    def observer(when: str, step: str) -> None:
        if f"{when} {step}" == moment:
            clock.ahead = jump

    report = world.cutover(offline=False, observer=observer)
    world.assert_whole_on_postgres()
    assert report.read_only_seconds is not None
    assert 0 <= report.read_only_seconds < 5
    assert report.live is not None
    assert report.live.attempts == 1
    world.cutover(offline=False)
    world.assert_whole_on_postgres()


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
def test_a_window_that_fails_after_a_jump_is_told_with_its_true_length(world: World, clock: Clock, jump: float) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "last round") and not clock.ahead:
            clock.ahead = jump
            raise OSError("a disk that is full")

    with pytest.raises(Exception, match="a disk that is full"):
        world.cutover(offline=False, observer=observer)
    assert world.phase() == "aborted"
    (made,) = journal.runs(world.runs, "cutover", "test")
    ends = [entry.at for entry in made.entries() if entry.event in ("read-only begins", "read-only ends")]
    assert len(ends) == 2
    assert 0 <= ends[1] - ends[0] < 5


def test_a_snapshot_stays_though_older_ones_bear_later_times(world: World, clock: Clock) -> None:
    """A clock that was wrong took some from the future; what an attempt takes now is kept for it."""
    clock.ahead = HOUR
    for _ in range(world.env.snapshots.keep + 1):
        snapshots.take_verified(world.env, Side.LEGACY, label=Label.BEFORE)
    clock.ahead = 0.0
    taken = snapshots.take_verified(world.env, Side.LEGACY, label=Label.BEFORE)
    assert taken.folder.is_dir()
    world.cutover(offline=False)
    world.assert_whole_on_postgres()


@pytest.mark.parametrize("same", [True, False], ids=["by this process", "by an earlier one"])
def test_a_proof_grows_old_though_postgres_sets_its_clock_back(
    world: World, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Postgres's clock an hour back makes the proof an hour younger than none; a go waits for a new one."""
    proofs: list[str] = []
    passed = 0.0

    def observer(when: str, step: str) -> None:
        nonlocal passed
        if (when, step) == ("at", "hold") and not passed:
            passed = 2 * holding.PROOF_SECONDS
            set_back(world)
            assert ordering.go(world.env, unasked).outcome == "ordered"
        elif (when, step) == ("at", "proven again"):
            proofs.append(step)

    real = time.monotonic
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 0.0)
    if same:
        monkeypatch.setattr(holding, "monotonic", lambda: real() + passed)
    else:
        monkeypatch.setattr(holding, "_own_age", lambda _context: None)
    world.cutover(offline=False, hold=True, observer=observer)
    assert proofs == ["proven again"]
    world.assert_whole_on_postgres()


def set_back(world: World) -> None:
    """Have the time of the proof be what it is to a server whose clock was set back by an hour since."""
    with ops.connect(world.owner) as conn:
        assert conn.execute("update ops.proven set at = at + interval '1 hour'").rowcount == 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
def test_an_old_process_is_known_by_more_than_the_time_of_day(clock: Clock, jump: float) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ready = Ready("", 200, "legacy", "", "open", process.pid, datetime.now(UTC).isoformat())
        seen = services.process_of(ready)
        assert seen is not None
        clock.ahead = jump
        assert seen.is_running()
        process.kill()
        process.wait()
        assert not seen.is_running()
