"""Lays out one line of a progress bar for a terminal of any width. Count and time left are never cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from db.counts import singular

LEAST_BAR, MOST_BAR = 6, 40
LEAST_TITLE = 8
GAP = "  "
DAY = 86_400
LONGEST_SECONDS = 99 * DAY


@dataclass(frozen=True, slots=True)
class Amount:
    """The progress of a task. seconds: since it began."""

    title: str
    done: int
    total: int
    unit: str
    seconds: float

    @property
    def rate(self) -> str:
        """Return the units a second or minute as text; "" where no time has passed."""
        return pace(self.done / self.seconds, self.unit) if self.seconds > 0 else ""

    @property
    def left(self) -> str:
        """Return the time left at this rate, such as `0:01:10 left`."""
        if self.done >= self.total:
            return "0:00:00 left"
        seconds = self.seconds * (self.total - self.done) / self.done if self.done > 0 else math.inf
        if math.isinf(seconds):
            return "-:--:-- left"
        return f"{clock(seconds)} left" if seconds <= LONGEST_SECONDS else "over 99 days left"

    @property
    def counts(self) -> tuple[str, ...]:
        """Return the count in three lengths, the longest first."""
        percent = 100 if self.done >= self.total else 100 * self.done // self.total
        unit = self.unit if self.total != 1 else singular(self.unit)
        return f"{self.done:,} of {self.total:,} {unit}", f"{self.done:,}/{self.total:,}", f"{percent} %"


def pace(per_second: float, unit: str) -> str:
    """Write a rate by the second, and by the minute where fewer than one pass in a second."""
    return f"{per_second:,.0f} {unit}/s" if per_second >= 1 or not per_second else f"{per_second * 60:,.0f} {unit}/min"


def clock(seconds: float) -> str:
    """Write seconds as h:mm:ss, and from two days on as days."""
    return str(timedelta(seconds=int(seconds))) if seconds < 2 * DAY else f"{int(seconds // DAY)} days"


@dataclass(frozen=True, slots=True)
class TaskLine:
    """The line of a task, for Rich: laid out anew for the width at each drawing, so it follows a resize."""

    amount: Amount

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw title, bar and figures."""
        title, bar, figures = layout(self.amount, options.max_width, "..." if options.ascii_only else "…")
        if title:
            yield Text(title + " ", end="")
        if bar:
            yield ProgressBar(total=max(self.amount.total, 1), completed=self.amount.done, width=bar)
            yield Text(GAP, end="")
        yield Text(figures, end="")


def layout(amount: Amount, width: int, ellipsis: str = "…") -> tuple[str, int, str]:
    """Return the title, the columns of the bar (0: none) and the figures, which fit into the width together.

    Room is given to the count and the time left first, then to the title, the rate, the elapsed time and the bar.
    """
    wish = min(cell_len(amount.title), max(LEAST_TITLE, width // 3))
    figures = _figures(amount, width, wish)
    room = width - cell_len(figures)
    title = _shortened(amount.title, min(room - 1, wish), ellipsis)
    room -= cell_len(title) + 1 if title else 0
    for more in (amount.rate, f"after {clock(min(amount.seconds, LONGEST_SECONDS))}"):
        if more and room - len(GAP) - cell_len(more) >= LEAST_BAR + len(GAP):
            figures = f"{figures}{GAP}{more}"
            room -= len(GAP) + cell_len(more)
    spare = cell_len(amount.title) - cell_len(title)
    if title and spare and room - spare >= LEAST_BAR + len(GAP):
        title, room = amount.title, room - spare
    bar = min(MOST_BAR, room - len(GAP))
    return title, bar if bar >= LEAST_BAR else 0, figures


def _figures(amount: Amount, width: int, title: int) -> str:
    """Return the longest count that leaves room for the time left and the title, else the shortest one."""
    lines = [f"{count}{GAP}{amount.left}" for count in amount.counts]
    fitting = (line for line in lines if cell_len(line) + 1 + title <= width)
    return next(fitting, next((line for line in lines if cell_len(line) <= width), lines[-1]))


def _shortened(title: str, width: int, ellipsis: str) -> str:
    if cell_len(title) <= width:
        return title
    return set_cell_size(title, width - len(ellipsis)).rstrip() + ellipsis if width > len(ellipsis) + 1 else ""
