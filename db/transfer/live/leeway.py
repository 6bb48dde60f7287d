"""How much of the time a move may work beside players, so that they wait little longer for it.

The service tells how long requests take. A move begins with little; while requests take hardly longer than then, it
works more, and where they do, it works less. Requests may take longer for other reasons: what they take while the move
works as little as it may is, by and by, what they take without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.console.progress import Advance, Progress

LEAST_SHARE = 0.1
"""A copy that pauses more would not end in a night, and the change log grows as long as it lasts."""

LEAST_REQUESTS = 20
"""Fewer say nothing: one that met a checkpoint counts for too much."""

MOST_SECONDS = 5.0
"""So long they are waited for. On a game that is hardly played nobody is held up."""

LONGER, MUCH_LONGER = 1.2, 1.5
"""Times what requests took without the move: up to here it may work more; beyond, it must work less."""

MORE = 0.05
LESS = 0.6
FORGETTING = 0.1

LEAST_PAUSE_SECONDS = 0.005
MOST_PAUSE_SECONDS = 0.5

MOST_LOG_BYTES = 256 << 20
"""A file's write-ahead log grows while a reader keeps a snapshot. One that has kept it for so long no longer pauses."""


@dataclass(slots=True)
class Leeway:
    """share: the part of the time that a move may work. usual: seconds that a request takes without it; 0: unknown.

    is_calm: requests take hardly longer than usual, as far as is known. is_resting: nobody is to be asked.
    """

    share: float = 1.0
    usual: float = 0.0
    is_calm: bool = True
    is_resting: bool = False
    _was_used: bool = False
    _requests: float = 0.0
    _seconds: float = 0.0
    _heard_for: float = 0.0

    def begin(self) -> None:
        """Begin with little, until it is known how long requests take."""
        self.share, self.usual = LEAST_SHARE, 0.0
        self._requests = self._seconds = self._heard_for = 0.0

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Have nobody asked for the block: what it does is over in moments, and players wait for it."""
        self.is_resting = True
        try:
            yield
        finally:
            self.is_resting = False
            self.is_calm = not self.usual  # Until requests were heard of again.

    def for_work(self) -> float:
        """Return the share, for work that is done by it now."""
        self._was_used = True
        return self.share

    def note(self, requests: float, seconds: float, during: float) -> None:
        """Take note of requests that ended in so many seconds, and how long they took, all together."""
        self._requests += requests
        self._seconds += seconds
        self._heard_for += during
        if self._requests >= LEAST_REQUESTS:
            self._judge(self._seconds / self._requests)
        elif self._heard_for < MOST_SECONDS:
            return
        else:
            self.share, self.is_calm = 1.0, True
        self._requests = self._seconds = self._heard_for = 0.0

    def _judge(self, took: float) -> None:
        if not self.usual:
            self.usual, self.is_calm = took, True
            return
        self.is_calm = took <= self.usual * MUCH_LONGER
        if not self.is_calm:
            if self.share == LEAST_SHARE:
                self.usual += (took - self.usual) * FORGETTING
            self.share = max(LEAST_SHARE, self.share * LESS)
        elif took < self.usual * LONGER and self._was_used:
            self.share = min(1.0, self.share + MORE)
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
            since, owed = time.monotonic(), 0.0

            def advanced(more: int) -> None:
                nonlocal since, owed
                advance(more)
                owed += (time.monotonic() - since) * (1 / self._share() - 1)
                if owed >= LEAST_PAUSE_SECONDS:
                    time.sleep(min(owed, MOST_PAUSE_SECONDS))  # Others have the machine for so long.
                    owed = 0.0
                since = time.monotonic()

            yield advanced

    def say(self, line: str) -> None:
        """See `Progress`."""
        self._progress.say(line)


def of_reader(path: Path, leeway: Leeway) -> Callable[[], float]:
    """Return what tells the share of one who keeps a snapshot of the file: all of the time once its log has grown."""
    log = Path(f"{path}-wal")

    def share() -> float:
        try:
            grown = log.stat().st_size > MOST_LOG_BYTES
        except FileNotFoundError:
            grown = False
        return 1.0 if grown else leeway.for_work()

    return share
