"""Streams a live move to machines: a JSON object on a line at each change of its state, and every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from db.console.live_figures import MoveFigures
from db.console.live_view import CopyProgress, Dirty, LiveView, MoveState, RoundProgress, unknown
from db.console.progress import PLAIN_INTERVAL_SECONDS


class LiveJson:
    """Shows a move by another view too. write: prints an object on a line of its own."""

    def __init__(self, shown: LiveView, write: Callable[[Mapping[str, object]], None]) -> None:
        self.figures = MoveFigures()
        self._shown = shown
        self._write = write
        self._written_at = self.figures.now()
        self._dirty: Dirty = unknown

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        if dirty is not unknown:
            self._dirty = dirty
        with self.figures.within(state, reason):
            if state is not MoveState.IN_THE_WINDOW:  # Who reads the lines may be slow, and players would wait for him.
                self._line()
            with self._shown.doing(state, dirty, reason):
                yield

    def copied(self, progress: CopyProgress) -> None:
        self.figures.copied(progress)
        self._shown.copied(progress)
        self._line_if_due()

    def applied(self, progress: RoundProgress) -> None:
        self.figures.applied(progress)
        self._shown.applied(progress)
        self._line_if_due()

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        self.figures.parts_ms = parts_ms
        self._shown.passed(parts_ms)
        self._line()

    def _line_if_due(self) -> None:
        if self.figures.now() - self._written_at >= PLAIN_INTERVAL_SECONDS:
            self.figures.dirty = self._dirty()
            self._line()

    def _line(self) -> None:
        self._written_at = self.figures.now()
        self._write({"at": round(time.time(), 3), **self.figures.values()})
