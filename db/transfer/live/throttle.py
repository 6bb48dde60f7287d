"""Slows a copy down where players want what it takes: the longer a batch took than it needs, the longer the pause.

A batch by itself needs the processor for a while, and waits for Postgres. Both are seen, not assumed: the processor
time of the thread, and the least that a batch has waited by the byte. To be ready and find no processor free is no part
of it; Linux tells how long that was. A batch that takes three times as long as it needs had a third of the machine, for
others wanted processor, disk or Postgres; then the copy works a third of the time.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from db.transfer.live.leeway import LEAST_SHARE

RECENT = 5
"""Batches of which the median counts: one that met a checkpoint of Postgres says nothing of the next."""


QUEUED = Path("/proc/thread-self/schedstat")
"""Of the thread that reads it: nanoseconds on a processor, nanoseconds ready for one, and how often it got one."""


def queued() -> float:
    """Return how many seconds this thread has been ready for a processor that others had; 0 where no system tells."""
    try:
        return int(QUEUED.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


@dataclass(slots=True)
class Throttle:
    """The throttle of one copy, used by its thread alone. share: the part of the time that the copy works.

    most: asked for the part that players leave. now, processor, queued: clocks, in seconds: time, and of the thread its
    processor time, and how long it was ready.
    """

    now: Callable[[], float] = time.monotonic
    processor: Callable[[], float] = time.thread_time
    queued: Callable[[], float] = queued
    most: Callable[[], float] = lambda: 1.0
    share: float = 1.0
    _least_waited: float | None = None
    _shares: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _began: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def begin(self) -> None:
        """Start the clocks of the next batch."""
        self._began = self._clocks()

    def end(self, size: int) -> float:
        """Take note of a batch of so many bytes, which has ended, and return how many seconds to pause after it."""
        took, worked, ready = (now - began for now, began in zip(self._clocks(), self._began, strict=True))
        if took <= 0 or size <= 0:
            return 0.0
        waited = max(0.0, took - worked - ready) / size
        self._least_waited = waited if self._least_waited is None else min(waited, self._least_waited)
        self._shares.append((worked + self._least_waited * size) / took)
        self.share = min(1.0, self.most(), max(LEAST_SHARE, statistics.median(self._shares)))
        return took * (1 / self.share - 1)

    def _clocks(self) -> tuple[float, float, float]:
        return self.now(), self.processor(), self.queued()
