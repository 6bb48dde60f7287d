"""A copy works the less of the time, the longer its batches take beyond what they need; nothing is slept in a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.transfer.live import throttle
from db.transfer.live.throttle import LEAST_SHARE, QUEUED, RECENT, Throttle, queued

BATCH = 1_000


class Machine:
    """Clocks that go on when a batch or a pause does."""

    def __init__(self) -> None:
        self.at = 0.0
        self.worked = 0.0
        self.queued = 0.0
        self.pauses: list[float] = []
        self.most = 1.0
        self.throttle = Throttle(lambda: self.at, lambda: self.worked, lambda: self.queued, lambda: self.most)

    def batch(self, *, works: float, waits: float, queues: float = 0.0, size: int = BATCH) -> float:
        """Make a batch and the pause after it, and return the share of the time that the copy works from then on."""
        self.throttle.begin()
        self.worked += works
        self.queued += queues
        self.at += works + waits + queues
        self.pauses.append(self.throttle.end(size))
        self.at += self.pauses[-1]
        return self.throttle.share


def test_a_copy_that_nobody_disturbs_never_pauses() -> None:
    machine = Machine()
    assert [machine.batch(works=3, waits=1) for _ in range(20)] == [1.0] * 20
    assert set(machine.pauses) == {0.0}


@pytest.mark.parametrize(("longer", "share"), [(2, 0.5), (4, 0.25), (8, 0.125), (80, LEAST_SHARE)])
def test_batches_that_take_longer_than_they_need_are_followed_by_pauses_in_proportion(
    longer: int, share: float
) -> None:
    machine = Machine()
    machine.batch(works=3, waits=1)
    for _ in range(RECENT):
        machine.batch(works=3, waits=4 * longer - 3)
    assert machine.throttle.share == pytest.approx(share)
    assert machine.pauses[-1] == pytest.approx(4 * longer * (1 / share - 1))
    worked = 4 * longer
    assert worked / (worked + machine.pauses[-1]) == pytest.approx(share)


def test_a_batch_of_half_the_size_needs_half_the_time() -> None:
    machine = Machine()
    machine.batch(works=3, waits=1)
    assert machine.batch(works=1.5, waits=0.5, size=BATCH // 2) == 1.0


def test_the_copy_goes_on_at_full_speed_when_players_are_gone() -> None:
    machine = Machine()
    machine.batch(works=3, waits=1)
    assert [machine.batch(works=3, waits=13) for _ in range(RECENT)][-1] == pytest.approx(0.25)
    assert [machine.batch(works=3, waits=1) for _ in range(RECENT)][-1] == 1.0


def test_a_copy_works_no_more_than_players_leave_and_it_is_asked_at_each_batch() -> None:
    machine = Machine()
    machine.most = 0.25
    assert machine.batch(works=3, waits=1) == 0.25
    assert machine.pauses == [pytest.approx(4 * 3)]
    machine.most = 0.5
    assert machine.batch(works=3, waits=1) == 0.5
    machine.most = 1.0
    assert machine.batch(works=3, waits=1) == 1.0
    machine.most = 0.5
    assert [machine.batch(works=3, waits=13) for _ in range(RECENT)][-1] == pytest.approx(0.25), "it bounds, no more"


def test_one_slow_batch_throttles_nothing() -> None:
    machine = Machine()
    for _ in range(RECENT):
        machine.batch(works=3, waits=1)
    assert machine.batch(works=3, waits=50) == 1.0


def test_a_machine_that_is_busy_from_the_first_batch_on_is_seen() -> None:
    """No batch shows what one needs by itself; that others had the processor shows by itself."""
    machine = Machine()
    assert [machine.batch(works=3, waits=1, queues=12) for _ in range(RECENT)] == [pytest.approx(0.25)] * RECENT


@pytest.mark.skipif(not QUEUED.exists(), reason="another system tells not how long a thread was ready")
def test_the_system_tells_how_long_a_thread_was_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = queued()
    assert queued() >= before >= 0
    monkeypatch.setattr(throttle, "QUEUED", tmp_path / "none")
    assert queued() == 0
