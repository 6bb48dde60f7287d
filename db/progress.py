"""Progress for people: bars with rate and time left on a terminal, plain lines elsewhere, silence for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

Advance = Callable[[int], None]

PLAIN_INTERVAL_SECONDS = 10.0


class Progress(Protocol):
    """Where long work says how far it is."""

    def bar(self, title: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A task of `total` units; the function that it yields is told how many more are done."""
        ...

    def say(self, line: str) -> None:
        """One line about what happens now."""
        ...


class Silent:
    """For tests and for callers that show their own."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        del title, total, unit
        yield lambda _more: None

    def say(self, line: str) -> None:
        del line


class Terminal:
    """Bars that redraw themselves, on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
            TextColumn("{task.fields[rate]}, after"), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn(),
        )  # fmt: skip
        with Bars(*columns, console=self._console) as bars:
            task = bars.add_task(title, total=total, rate="")
            began = time.monotonic()
            done = 0

            def advance(more: int) -> None:
                nonlocal done
                done += more
                bars.update(task, advance=more, rate=_rate(done, began, unit))

            yield advance

    @contextmanager
    def countdown(self, title: str, seconds: float) -> Iterator[Countdown]:
        """Show a bar of the time left, and beside it what was seen last."""
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=8),
            TextColumn("{task.fields[left]} left"), TextColumn("{task.fields[seen]}"),
        )  # fmt: skip
        with Bars(*columns, console=self._console) as bars:
            yield _BarOfSeconds(bars, title, seconds)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False)


class Plain:
    """Lines without a terminal: a beginning, one line each ten seconds, an end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        began = said = time.monotonic()
        done = 0

        def advance(more: int) -> None:
            nonlocal done, said
            done += more
            now = time.monotonic()
            if now - said >= PLAIN_INTERVAL_SECONDS:
                said = now
                left = (total - done) * (now - began) / done if done else 0.0
                self._write(f"{title}: {done:,} of {total:,} {unit}, {_rate(done, began, unit)}, {left:.0f} s left")

        yield advance
        self._write(f"{title}: {done:,} {unit} in {time.monotonic() - began:.1f} s, {_rate(done, began, unit)}")

    def say(self, line: str) -> None:
        self._write(line)


class Countdown(Protocol):
    """Shows the time left of a fixed number of seconds, and what was seen last."""

    def passed(self, seconds: float) -> None:
        """So many seconds have passed since the beginning."""
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
        self._bars.update(self._task, seen=text)


class _LinesOfSeconds:
    """Lines, ten seconds or more from one to the next; the last one always."""

    def __init__(self, progress: Progress, title: str, seconds: float) -> None:
        self._progress = progress
        self._title = title
        self._seconds = seconds
        self._passed = 0.0
        self._said = -PLAIN_INTERVAL_SECONDS

    def passed(self, seconds: float) -> None:
        self._passed = seconds

    def seen(self, text: str, *, last: bool = False) -> None:
        if last or self._passed - self._said >= PLAIN_INTERVAL_SECONDS:
            self._said = self._passed
            left = max(self._seconds - self._passed, 0.0)
            self._progress.say(f"     {self._title}, {_clock(left)} left: {text}")


@contextmanager
def countdown(progress: Progress, title: str, seconds: float) -> Iterator[Countdown]:
    """Show the time left and what was seen last: in a bar on a terminal, in lines elsewhere."""
    if isinstance(progress, Terminal):
        with progress.countdown(title, seconds) as shown:
            yield shown
    else:
        yield _LinesOfSeconds(progress, title, seconds)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def for_people(console: Console) -> Progress:
    """Bars where the console is a terminal, plain lines where it is not."""
    return (
        Terminal(console)
        if console.is_terminal
        else Plain(lambda line: console.print(line, highlight=False, markup=False))
    )


def _rate(done: int, began: float, unit: str) -> str:
    seconds = time.monotonic() - began
    return f"{done / seconds:,.0f} {unit}/s" if seconds > 0 else ""
