"""Decides what part of the time a live move works, from how long the service's requests take.

The service tells how long requests take. A move begins with little; while requests take hardly longer than then, it
works more, and where they do, it works less. If requests stay slow at the least share, the move is not the cause, and
`usual` rises slowly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.console.progress import Advance, Progress
from db.transfer.live.rounds import Transaction
from game.legacy import sidecars

LEAST_SHARE = 0.1
"""A copy that pauses more would not end in a night, and the change log grows as long as it lasts."""

LEAST_ROUND_SHARE = 0.5
"""A round that paused more would not keep up with what players write meanwhile."""

LEAST_REQUESTS = 20
"""Fewer say nothing: one that met a checkpoint counts for too much."""

MOST_SECONDS = 3.0
"""Seconds to wait for LEAST_REQUESTS. After them the move works all the time, unless those few took long."""

LONGER, MUCH_LONGER = 1.15, 1.4
"""Times what requests took without the move: up to here it may work more; beyond, it must work less."""

MORE = 0.05
LESS = 0.6
FORGETTING = 0.1
LEARNING = 0.3
"""The parts of a difference by which `usual` rises and falls in one judgement. What has just started is slow."""

LEAST_PAUSE_SECONDS = 0.005
MOST_PAUSE_SECONDS = 5.0
MOST_PACED_SECONDS = 120.0
"""A task keeps a snapshot of a store, in which nothing is cleaned up meanwhile. After so long it pauses no more."""

MOST_LOG_BYTES = 256 << 20
"""A file's write-ahead log grows while a reader keeps a snapshot. It stops pausing once the log has grown by this."""


@dataclass(slots=True)
class Leeway:
    """share: the part of the time that a move may work. usual: seconds that a request takes without it; 0: unknown.

    is_calm: requests take hardly longer than usual, as far as is known. is_resting: the service is not asked.
    """

    share: float = 1.0
    usual: float = 0.0
    is_calm: bool = True
    is_resting: bool = False
    _was_used: bool = False
    _requests: float = 0.0
    _seconds: float = 0.0
    _heard_for: float = 0.0

    def free(self) -> None:
        """Work all the time: how long requests take is not known any more."""
        self.share, self.usual, self.is_calm = 1.0, 0.0, True

    def begin(self) -> None:
        """Begin with little, until it is known how long requests take."""
        self.share, self.usual = LEAST_SHARE, 0.0
        self._requests = self._seconds = self._heard_for = 0.0

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Pause the questions to the service during the block, which is a window."""
        self.is_resting = True
        try:
            yield
        finally:
            self.is_resting = False
            self.is_calm = not self.usual  # Until requests were heard of again.

    def for_work(self) -> float:
        """Return the share, and note that the move is working."""
        self._was_used = True
        return self.share

    def note(self, requests: float, seconds: float, during: float) -> None:
        """Take note of requests that ended in so many seconds, and how long they took, all together."""
        self._requests += requests
        self._seconds += seconds
        self._heard_for += during
        took = self._seconds / self._requests if self._requests else 0.0
        if self._requests >= LEAST_REQUESTS:
            self._judge(took)
        elif self._heard_for < MOST_SECONDS:
            return
        elif self.usual and took > self.usual * MUCH_LONGER:  # So few because they take long.
            self._judge(took)
        else:
            self.share, self.is_calm = 1.0, True
        self._requests = self._seconds = self._heard_for = 0.0

    def _judge(self, took: float) -> None:
        if not self.usual:
            # Where nobody played before, the move worked all the time.
            self.usual, self.is_calm, self._was_used, self.share = took, True, False, LEAST_SHARE
            return
        self.usual -= max(0.0, self.usual - took) * LEARNING
        self.is_calm = took <= self.usual * MUCH_LONGER
        if took < self.usual * LONGER:
            self.share = min(1.0, self.share + MORE) if self._was_used else self.share
        elif self.share == LEAST_SHARE:  # It is hardly the move: other reasons, which may stay.
            self.usual += (took - self.usual) * FORGETTING if self._was_used else 0.0
        elif not self.is_calm:
            self.share = max(LEAST_SHARE, self.share * LESS)
        self._was_used = False


class Paced:
    """A progress whose tasks pause each time that they tell of some, so that they work for their share of the time.

    share: asked each time.
    """

    def __init__(self, progress: Progress, share: Callable[[], float]) -> None:
        self._progress = progress
        self._share = share

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        """See `Progress`."""
        with self._progress.bar(title, total, unit) as advance:
            began = since = time.monotonic()
            owed = 0.0

            def advanced(more: int) -> None:
                nonlocal since, owed
                advance(more)
                now = time.monotonic()
                share = self._share() if now - began < MOST_PACED_SECONDS else 1.0
                owed += (now - since) * (1 / share - 1)
                if owed >= LEAST_PAUSE_SECONDS:
                    time.sleep(min(owed, MOST_PAUSE_SECONDS))  # The pause itself: players have the processor meanwhile.
                    owed = 0.0
                since = time.monotonic()

            yield advanced

    def say(self, line: str) -> None:
        """See `Progress`."""
        self._progress.say(line)


@contextmanager
def pausing_after(transaction: Transaction, leeway: Leeway) -> Iterator[None]:
    """Be in a transaction during the block, and pause after it as long as the leeway wants, but for LEAST_ROUND_SHARE.

    transaction: begins one.
    """
    began = time.monotonic()
    with transaction():
        yield
    took = time.monotonic() - began
    time.sleep(took * (1 / max(LEAST_ROUND_SHARE, leeway.for_work()) - 1))  # Players have the processor meanwhile.


def of_reader(path: Path, leeway: Leeway) -> Callable[[], float]:
    """Return a function that gives the share of a reader of the file: 1.0 once the log has grown by MOST_LOG_BYTES.

    Without a log writers wait for a reader, so it never pauses.
    """
    log = sidecars.log_of(path.resolve())
    began: int | None = None

    def share() -> float:
        nonlocal began
        try:
            size = log.stat().st_size
        except FileNotFoundError:
            return 1.0
        began = size if began is None else began
        return 1.0 if size - began > MOST_LOG_BYTES else leeway.for_work()

    return share
