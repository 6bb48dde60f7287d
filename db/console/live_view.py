"""The progress of a live move, as its steps report it, and the Protocol of what shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias


class MoveState(StrEnum):
    """The states of a live move, in their order; failed: a run left it, and none goes on yet.

    A cutover is copying and ends live; a rollback is copying back, if the change log does not lead on from the file,
    and ends returned.
    """

    COPYING = "copying"
    COPYING_BACK = "copying back"
    CATCHING_UP = "catching up"
    STANDING_BY = "standing by"
    HOLDING = "holding"
    PAUSED = "paused"
    GO_ORDERED = "go ordered"
    WAITING = "waiting because"
    IN_THE_WINDOW = "in the window"
    LIVE = "live"
    RETURNED = "returned"
    FAILED = "failed because"

    def explained(self, reason: str) -> str:
        """Return the state with the reason for it; without one, if it needs none."""
        if not reason:
            return str(self)
        return f"{self} {reason}" if self in (MoveState.WAITING, MoveState.FAILED) else f"{self}: {reason}"


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """The progress of a copy. players: of `total`, with those of an earlier attempt; rows, bytes: of all tables, by
    this process. share: the part of the time that the copy works; it pauses for the rest, where players want much.
    """

    players: int
    total: int
    rows: int
    bytes: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class RoundProgress:
    """One round. rows: changed by players since the round before; written: to Postgres; seconds: until it was
    committed; read_at: when its snapshot of the file was taken, monotonic seconds; left: changes that wait on the log
    then, None if nobody looked.
    """

    players: int
    rows: int
    written: int
    seconds: float
    read_at: float
    left: int | None = None


Dirty: TypeAlias = Callable[[], int | None]
"""Returns how many changes wait on the log, None if it can't be known. May be called from any thread."""


def unknown() -> int | None:
    """Return None: the number of changes is not known."""
    return None


class LiveView(Protocol):
    """Shows a live move while it is made. Each method returns at once, and draws nothing while players wait."""

    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> AbstractContextManager[None]:
        """Show this state while the block lasts; within it others may follow. reason: why, and the next command."""
        ...

    def copied(self, progress: CopyProgress) -> None:
        """Show a batch that was written."""
        ...

    def applied(self, progress: RoundProgress) -> None:
        """Show a round that was committed."""
        ...

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        """Show the figures of a window that is over. parts_ms: the end of each part, in ms since the window began."""
        ...


class Unseen:
    """A view that shows nothing."""

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        del state, dirty, reason
        yield

    def copied(self, progress: CopyProgress) -> None:
        del progress

    def applied(self, progress: RoundProgress) -> None:
        del progress

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        del parts_ms


def durations(parts_ms: Mapping[str, float]) -> dict[str, float]:
    """Return how long each part of a window took, in ms. parts_ms: the end of each part since the window began."""
    ends = list(parts_ms.values())
    return {name: round(end - before, 2) for (name, end), before in zip(parts_ms.items(), [0.0, *ends], strict=False)}
