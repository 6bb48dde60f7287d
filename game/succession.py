"""The rule by which a process that has two stores open serves one of them. It reads no store: it judges their fences.

An open store is served. A fenced or moved store is left for the other one only if that is open and both name each
other: a fence that names nobody could be anybody's, and an open store could be a copy, or of yesterday's attempt. For
the same reason a store that does not answer is never left. The rule is the same in both directions, so a process
follows a rollback as it followed the cutover.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum

from game.rows import Rows
from game.unit_of_work import Engine, FenceView, PairedStore, StoreStatus, Unit


class StoreChoice(StrEnum):
    """The choice of a process, by the fences of the served store and of the other one.

    STAY: the served store is open. FOLLOW: serve the other one. WAIT: the served store was closed for the other one,
    which is not open yet or does not answer. REFUSE: it was closed, and not for the other one. UNKNOWN: the served
    store does not answer.
    """

    STAY = "stay"
    FOLLOW = "follow"
    WAIT = "wait"
    REFUSE = "refuse"
    UNKNOWN = "unknown"


def judge(served: FenceView | None, other: FenceView | None) -> StoreChoice:
    """Return the choice. None: the store does not answer. served must have been read before other."""
    if served is None:
        return StoreChoice.UNKNOWN
    if served.state == "open":
        return StoreChoice.STAY
    if served.peer is None or served.peer == served.identity:
        return StoreChoice.REFUSE
    if other is None:
        return StoreChoice.WAIT
    if not names(served, other):
        return StoreChoice.REFUSE
    return StoreChoice.FOLLOW if other.state == "open" else StoreChoice.WAIT


def names(served: FenceView, other: FenceView) -> bool:
    """Return True if the served store's fence names the other store, and the other one names no third store.

    A file that was opened names nobody: its fence is gone.
    """
    return served.peer is not None and served.peer == other.identity and other.peer in (None, served.identity)


@dataclass(frozen=True, slots=True)
class Hurried:
    """A store for a request that has waited already: it waits for locks until an instant, by the monotonic clock."""

    store: PairedStore
    until: float

    @property
    def engine(self) -> Engine:
        """Return the engine of the wrapped store."""
        return self.store.engine

    def begin(self, fence_pass: str | None = None) -> AbstractContextManager[Unit]:
        """Begin a unit that waits for no lock longer than what is left."""
        return self.store.begin(fence_pass, patience_seconds=max(0.001, self.until - time.monotonic()))

    def state(self, player: str) -> Rows | None:
        """Return a player's rows from the wrapped store; see `Store.state`."""
        return self.store.state(player)

    def read(self, player: str) -> Rows | None:
        """Return a player's rows from the wrapped store; see `Store.read`."""
        return self.store.read(player)

    def status(self) -> StoreStatus:
        """Return the status of the wrapped store; see `Store.status`."""
        return self.store.status()

    def close(self) -> None:
        """Close the wrapped store and its connections."""
        self.store.close()
