"""Progress for people: bars with rate and time left on a terminal, plain lines elsewhere, silence for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from db.console import layout
from db.console.bars import Amount, TaskLine
from db.counts import counted
from game import printable

Advance = Callable[[int], None]

PLAIN_INTERVAL_SECONDS = 10.0
CI_INTERVAL_SECONDS = 60.0
"""A job's log is read afterwards, if at all; some CI ends a job that prints nothing for minutes."""


class Progress(Protocol):
    """Shows how far a long task is."""

    def bar(self, title: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Show a task of `total` units; the function that it yields is told how many more are done."""
        ...

    def say(self, line: str) -> None:
        """Print one line about what happens now."""
        ...


class Silent:
    """For tests and for callers that show their own."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        del title, total, unit
        yield lambda _more: None

    def say(self, line: str) -> None:
        del line


class TerminalBars:
    """Bars that redraw themselves, on standard error."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        began = time.monotonic()
        done = 0

        def line() -> TaskLine:
            return TaskLine(Amount(title, done, total, unit, time.monotonic() - began))

        def advance(more: int) -> None:
            nonlocal done
            done += more

        with Live(get_renderable=line, console=self.console):
            yield advance

    @contextmanager
    def countdown(self, title: str, seconds: float) -> Iterator[Countdown]:
        """Show a bar of the time left, and beside it what was seen last."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.fields[seen]}", markup=False),
        )
        with Bars(*columns, console=self.console) as bars:
            yield _BarOfSeconds(bars, title, seconds)

    def say(self, line: str) -> None:
        line = layout.fitted(printable.escaped(line), self.console)
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class Plain:
    """Prints lines where there is no terminal: one each interval, and one at the end.

    quiet: print at most one line a minute, and none for a task that takes less than ten seconds.
    """

    def __init__(self, write: Callable[[str], None], *, quiet: bool = False) -> None:
        self._write = write
        self.quiet = quiet

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        began = printed_at = time.monotonic()
        interval = CI_INTERVAL_SECONDS if self.quiet else PLAIN_INTERVAL_SECONDS
        done = 0

        def advance(more: int) -> None:
            nonlocal done, printed_at
            done += more
            now = time.monotonic()
            if now - printed_at >= interval:
                printed_at = now
                amount = Amount(title, done, total, unit, now - began)
                self._write(f"{title}: {amount.counts[0]}, {amount.rate}, {amount.left}")

        yield advance
        amount = Amount(title, done, total, unit, time.monotonic() - began)
        if not self.quiet or amount.seconds >= PLAIN_INTERVAL_SECONDS:
            self._write(f"{title}: {counted(done, unit)} in {amount.seconds:.1f} s, {amount.rate}")

    def say(self, line: str) -> None:
        self._write(line)


class Countdown(Protocol):
    """Shows the time left of a fixed number of seconds, and what was seen last."""

    def passed(self, seconds: float) -> None:
        """Show that so many seconds have passed since the beginning."""
        ...

    def seen(self, text: str, *, last: bool = False) -> None:
        """Show the text until the next one. last: show it in any case."""
        ...


class _BarOfSeconds:
    """A bar that fits 80 columns."""

    def __init__(self, bars: Bars, title: str, seconds: float) -> None:
        self._bars = bars
        self._seconds = seconds
        self._task = bars.add_task(title, total=seconds, left=_clock(seconds), seen="")

    def passed(self, seconds: float) -> None:
        left = max(self._seconds - seconds, 0.0)
        self._bars.update(self._task, completed=self._seconds - left, left=_clock(left))

    def seen(self, text: str, *, last: bool = False) -> None:
        del last
        self._bars.update(self._task, seen=printable.line(text))


class _LinesOfSeconds:
    """Lines, ten seconds or more from one to the next; the last one always."""

    def __init__(self, progress: Progress, title: str, seconds: float) -> None:
        self._progress = progress
        self._title = title
        self._seconds = seconds
        self._passed = 0.0
        self._printed_at = -PLAIN_INTERVAL_SECONDS

    def passed(self, seconds: float) -> None:
        self._passed = seconds

    def seen(self, text: str, *, last: bool = False) -> None:
        if last or self._passed - self._printed_at >= PLAIN_INTERVAL_SECONDS:
            self._printed_at = self._passed
            left = max(self._seconds - self._passed, 0.0)
            self._progress.say(f"     {self._title}, {_clock(left)} left: {text}")


@contextmanager
def countdown(progress: Progress, title: str, seconds: float) -> Iterator[Countdown]:
    """Show the time left and what was seen last: in a bar on a terminal, in lines elsewhere."""
    if isinstance(progress, TerminalBars):
        with progress.countdown(title, seconds) as shown:
            yield shown
    else:
        yield _LinesOfSeconds(progress, title, seconds)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def for_people(console: Console, *, quiet: bool = False) -> Progress:
    """Return bars for a terminal that can redraw a line, and plain lines for anything else.

    FORCE_COLOR makes Rich take a file for a terminal, so the stream itself is asked. quiet: see Plain.
    """
    if console.is_interactive and console.file.isatty():
        return TerminalBars(console)
    return Plain(lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), quiet=quiet)
