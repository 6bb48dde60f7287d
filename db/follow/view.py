"""Shows how the file follows: one table that renews itself on a terminal, lines elsewhere, objects for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from db.console import layout
from db.console.progress import PLAIN_INTERVAL_SECONDS, Plain, Progress, TerminalBars
from db.counts import counted
from db.follow.figures import RoundFigures
from db.ops.following import FollowState
from game.printable import escaped

LABELS = 10


class FollowView(Protocol):
    """Shows what the process does. Each method returns at once."""

    def state(self, state: FollowState, reason: str) -> None:
        """Show a state that began now."""
        ...

    def round(self, figures: RoundFigures) -> None:
        """Show a round that ended now."""
        ...


class Unseen:
    """A view that shows nothing."""

    def state(self, state: FollowState, reason: str) -> None:
        del state, reason

    def round(self, figures: RoundFigures) -> None:
        del figures


class Lines:
    """A line for each state, and one for rounds each ten seconds."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said_at = -PLAIN_INTERVAL_SECONDS

    def state(self, state: FollowState, reason: str) -> None:
        self._say(state.explained(reason))
        self._said_at = -PLAIN_INTERVAL_SECONDS if state is FollowState.FOLLOWING else time.monotonic()

    def round(self, figures: RoundFigures) -> None:
        if time.monotonic() - self._said_at >= PLAIN_INTERVAL_SECONDS:
            self._said_at = time.monotonic()
            self._say(f"following: {sentence(figures)}")


class Screen:
    """A table on a terminal: the state, and the figures of the last round."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._state = ""
        self._figures: RoundFigures | None = None

    def state(self, state: FollowState, reason: str) -> None:
        self._state = state.explained(reason)
        if state is not FollowState.FOLLOWING:
            self._figures = None
        self._draw()

    def round(self, figures: RoundFigures) -> None:
        self._figures = figures
        self._draw()

    def _draw(self) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=LABELS, no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        width = self._console.width - LABELS - 2
        table.add_row(Text("state"), Text(layout.fold(escaped(self._state), width), style="bold"))
        for name, value in () if self._figures is None else described(self._figures):
            table.add_row(Text(name), Text(value))
        table.add_row(Text(""), Text("Ctrl-C ends it at the end of a round", style="dim"))
        self._live.update(table, refresh=True)


class Objects:
    """An object on a line at each state, and one for rounds each ten seconds; shown by another view too."""

    def __init__(self, shown: FollowView, write: Callable[[Mapping[str, object]], None]) -> None:
        self._shown = shown
        self._write = write
        self._written_at = -PLAIN_INTERVAL_SECONDS

    def state(self, state: FollowState, reason: str) -> None:
        self._write({"at": round(time.time(), 3), "state": str(state), "reason": reason})
        self._written_at = -PLAIN_INTERVAL_SECONDS
        self._shown.state(state, reason)

    def round(self, figures: RoundFigures) -> None:
        if time.monotonic() - self._written_at >= PLAIN_INTERVAL_SECONDS:
            self._written_at = time.monotonic()
            self._write({"at": round(time.time(), 3), "state": str(FollowState.FOLLOWING), **asdict(figures)})
        self._shown.round(figures)


def described(figures: RoundFigures) -> list[tuple[str, str]]:
    """Return what a table shows of a round: names and values. The window is left out while it is not known."""
    shown = [
        ("lag", f"{figures.lag:.1f} s"),
        ("waiting", counted(figures.lines, "changes")),
        ("last round", _took(figures)),
    ]
    if figures.window_seconds is not None:
        shown.append(("window", f"about {figures.window_seconds * 1000:.0f} ms, if a rollback came now"))
    return shown


def sentence(figures: RoundFigures) -> str:
    """Return the same in one line."""
    waiting = f"{counted(figures.lines, 'changes')} {'waits' if figures.lines == 1 else 'wait'}"
    parts = [f"lag {figures.lag:.1f} s", waiting, f"the last round took {_took(figures)}"]
    if figures.window_seconds is not None:
        parts.append(f"a rollback's window would take about {figures.window_seconds * 1000:.0f} ms")
    return "; ".join(parts)


def _took(figures: RoundFigures) -> str:
    return f"{figures.seconds * 1000:.0f} ms for {counted(figures.applied, 'changes')}"


@contextmanager
def shown_by(progress: Progress, write: Callable[[Mapping[str, object]], None] | None = None) -> Iterator[FollowView]:
    """Give the view that goes with this progress. write: prints an object on a line of its own, for machines."""
    with _shown(progress) as shown:
        yield shown if write is None else Objects(shown, write)


@contextmanager
def _shown(progress: Progress) -> Iterator[FollowView]:
    if isinstance(progress, TerminalBars):
        with Live(console=progress.console, auto_refresh=False, transient=True) as live:
            yield Screen(progress.console, live)
    elif isinstance(progress, Plain):
        yield Lines(progress.say)
    else:
        yield Unseen()
