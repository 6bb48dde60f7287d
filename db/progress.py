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


@contextmanager
def countdown(progress: Progress, title: str, seconds: int) -> Iterator[Advance]:
    """Show a bar of seconds with the time left.

    Shows nothing where `progress` is no terminal: a log would keep a line for each second.
    """
    if not isinstance(progress, Terminal):
        yield lambda _more: None
        return
    with progress.bar(title, seconds, "s") as advance:
        yield advance


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
