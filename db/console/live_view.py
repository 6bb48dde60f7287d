"""The progress of a live move, as its steps report it, and the Protocol of whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias


class MoveState(StrEnum):
    """The state of a live move, in the order in which it comes to them."""

    COPYING = "copying"
    CATCHING_UP = "catching up"
    STANDING_BY = "standing by"
    IN_THE_WINDOW = "in the window"
    LIVE = "live"


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
    """Return that the number of changes is not known."""
    return None


class LiveView(Protocol):
    """Shows a live move while it is made. Each method returns at once, and draws nothing while players wait."""

    def doing(self, state: MoveState, dirty: Dirty = unknown) -> AbstractContextManager[None]:
        """Show this state while the block lasts; within it others may follow."""
        ...

    def copied(self, progress: CopyProgress) -> None:
        """Take note of a batch that was written."""
        ...

    def applied(self, progress: RoundProgress) -> None:
        """Take note of a round that was committed."""
        ...

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        """Show the window, which is over. parts_ms: when each part of it had ended, since it began."""
        ...


class Unseen:
    """A view that shows nothing."""

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown) -> Iterator[None]:
        del state, dirty
        yield

    def copied(self, progress: CopyProgress) -> None:
        del progress

    def applied(self, progress: RoundProgress) -> None:
        del progress

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        del parts_ms


def durations(parts_ms: Mapping[str, float]) -> dict[str, float]:
    """Return how long each part of a window took, in ms, from when each had ended."""
    ends = list(parts_ms.values())
    return {name: round(end - before, 2) for (name, end), before in zip(parts_ms.items(), [0.0, *ends], strict=False)}
