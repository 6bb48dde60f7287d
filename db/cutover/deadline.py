"""The freeze budget: how long players may be kept read-only before the run undoes itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from db.console.progress import Advance, Progress
from db.errors import Failure

now = time.monotonic
"""The clock, in seconds."""


class DeadlinePassed(Failure):
    """The budget is used up and the point of no return was not reached."""


class Deadline:
    """Starts when the game becomes read-only. A run that goes on after a kill has the whole budget again."""

    def __init__(self, budget_seconds: float) -> None:
        self._budget = budget_seconds
        self._began: float | None = None

    def start(self) -> None:
        """Note that read-only has begun, here or in the run that this one goes on with. Later calls change nothing."""
        if self._began is None:
            self._began = now()

    def check(self) -> None:
        """Raise DeadlinePassed if the budget is used up."""
        if self.left() <= 0:
            raise DeadlinePassed(
                f"the point of no return within {self._budget:g} s of read-only",
                f"{self._spent():.1f} s",
                do="The journal says how long each step took. Choose a quieter hour, or raise"
                " policy.freeze_budget_seconds where it is set (invoke status --env NAME: settings).",
            )

    def left(self, at_most: float = float("inf")) -> float:
        """Return the seconds left, and no more than `at_most`: the timeout of something that runs under the fence."""
        return min(at_most, self._budget - self._spent())

    @contextmanager
    def watching(self, progress: Progress) -> Iterator[Progress]:
        """Yield a progress that checks the deadline at every advance, so that long work stops in time."""
        yield _Watched(progress, self)

    def _spent(self) -> float:
        return 0.0 if self._began is None else now() - self._began


class _Watched:
    def __init__(self, progress: Progress, deadline: Deadline) -> None:
        self._progress = progress
        self._deadline = deadline

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        with self._progress.bar(title, total, unit) as advance:

            def checked(more: int) -> None:
                self._deadline.check()
                advance(more)

            yield checked

    def say(self, line: str) -> None:
        self._progress.say(line)
