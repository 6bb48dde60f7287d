"""Shows a live move: one table that renews itself on a terminal, a line each ten seconds elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from db.console import layout
from db.console.bars import LONGEST_SECONDS, Amount, TaskLine, clock, pace
from db.console.live_figures import MoveFigures
from db.console.live_view import CopyProgress, Dirty, LiveView, MoveState, RoundProgress, Unseen, unknown
from db.console.progress import CI_INTERVAL_SECONDS, PLAIN_INTERVAL_SECONDS, Plain, Progress, TerminalBars

REFRESH_SECONDS = 0.25
DIRTY_SECONDS = 1.0
"""How often the changes on the log are counted: each count opens the file."""

THREAD = "live screen"
LABELS = 14


@dataclass(frozen=True, slots=True)
class RecentAmount(Amount):
    """The progress of a task whose rate is that of the last seconds. per_second: None while it is not known."""

    per_second: float | None = None

    @property
    def rate(self) -> str:
        """Return the recent units a second as text; "" while they are not known."""
        return "" if self.per_second is None else pace(self.per_second, self.unit)

    @property
    def left(self) -> str:
        """Return the time left at this rate."""
        if self.done >= self.total:
            return "0:00:00 left"
        if not self.per_second:
            return "-:--:-- left"
        return f"{clock(min((self.total - self.done) / self.per_second, LONGEST_SECONDS))} left"


class LiveScreen:
    """A table on a terminal, beneath the lines that are printed meanwhile."""

    def __init__(self, console: Console) -> None:
        self.figures = MoveFigures()
        self._console = console
        self._dirty: Dirty = unknown
        self._looked_at = 0.0
        self._began = time.monotonic()
        self._live: Live | None = None
        self._still = threading.Event()

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        before = self.figures.state, self.figures.reason
        self.figures.state, self.figures.reason = state, reason
        if state is MoveState.COPYING:
            self._began = time.monotonic()
        if dirty is not unknown:
            self._dirty = dirty
        try:
            if self._live is None:
                with self._shown():
                    yield
            elif state is MoveState.IN_THE_WINDOW:
                with self._drawn_once(self._live):
                    yield
            else:
                yield
        finally:
            if self._live is not None:
                self.figures.state, self.figures.reason = before

    def copied(self, progress: CopyProgress) -> None:
        self.figures.copied(progress)

    def applied(self, progress: RoundProgress) -> None:
        self.figures.applied(progress)

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        self.figures.parts_ms = parts_ms
        for name, text in self.figures.window():
            self._console.print(Text(f"     {name:<{LABELS}}{text}"), highlight=False)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show the table in the block, drawn again and again by a thread. If the block raises, the table stays."""
        ended = threading.Event()
        with Live(get_renderable=self._table, console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            thread = threading.Thread(target=self._renew, args=(live, ended), name=THREAD, daemon=True)
            thread.start()
            try:
                yield
            except BaseException:  # Ctrl-C too: the last figures stay to be read.
                live.transient = False
                raise
            finally:
                ended.set()
                thread.join()
                self._live = None

    @contextmanager
    def _drawn_once(self, live: Live) -> Iterator[None]:
        """Draw nothing while players wait: it would take the interpreter from the window."""
        live.refresh()
        self._still.set()
        try:
            yield
        finally:
            self._still.clear()

    def _renew(self, live: Live, ended: threading.Event) -> None:
        while not ended.wait(REFRESH_SECONDS):
            if not self._still.is_set():
                self._look()
            if not self._still.is_set():
                live.refresh()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= DIRTY_SECONDS:
            self._looked_at = now
            self.figures.dirty = self._dirty()

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=LABELS, no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        copy, state = self.figures.copy, self.figures.state
        for name, value in self.figures.rows():
            table.add_row(Text(name), Text(value))
        if state is MoveState.COPYING and copy is not None:
            return Group(Text(""), TaskLine(self._amount(copy)), Text(""), table)
        # A command in the reason stays whole: people copy it.
        explained = layout.fold(state.explained(self.figures.reason), self._console.width)
        return Group(Text(""), Text(explained, style="bold"), table)

    def _amount(self, copy: CopyProgress) -> Amount:
        """Return the bar of the copy, with the recent rate and the time left at it."""
        seconds = time.monotonic() - self._began
        rates = self.figures.rates
        per_second = None if rates is None else rates[0]
        return RecentAmount(str(MoveState.COPYING), copy.players, copy.total, "players", seconds, per_second)


class LiveLines:
    """Shows lines where there is no terminal. quiet: one a minute at most."""

    def __init__(self, progress: Progress, *, quiet: bool) -> None:
        self.figures = MoveFigures()
        self._progress = progress
        self._interval = CI_INTERVAL_SECONDS if quiet else PLAIN_INTERVAL_SECONDS
        self._printed_at = self.figures.now()
        self._dirty: Dirty = unknown

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        if dirty is not unknown:
            self._dirty = dirty
        with self.figures.within(state, reason):
            yield

    def copied(self, progress: CopyProgress) -> None:
        self.figures.copied(progress)
        self._print()

    def applied(self, progress: RoundProgress) -> None:
        self.figures.applied(progress)
        self._print()

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        self.figures.parts_ms = parts_ms
        for name, text in self.figures.window():
            self._progress.say(f"     {name:<{LABELS}}{text}")

    def _print(self) -> None:
        now = self.figures.now()
        if now - self._printed_at >= self._interval:
            self._printed_at = now
            self.figures.dirty = self._dirty()
            self._progress.say(f"     {self.figures.line()}")


def shown_by(progress: Progress) -> LiveView:
    """Return the view that goes with this progress: on its terminal, in its lines, or none."""
    if isinstance(progress, TerminalBars):
        return LiveScreen(progress.console)
    if isinstance(progress, Plain):
        return LiveLines(progress, quiet=progress.quiet)
    return Unseen()
