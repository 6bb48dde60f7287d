"""The bases of all our items: what they are made of is data, they run on a store and fail by differences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import psycopg
import pytest
from _pytest._code.code import TerminalRepr, TracebackStyle

from harness import scenarios
from harness.play.defects import Case, Raised
from harness.play.differences import Difference
from harness.pytest_plugin.session import SERVER, UPDATE
from harness.scenarios import BadScenario, ScenarioFile

SHOWN_DIFFERENCES = 12
MOST = 1_000_000
"""The largest number of a round trip or sequence: a larger one is a typing error."""


class PlayFailed(Exception):
    """A scenario or a sweep does not hold; its text is all that is to be read."""


class PlayItem(pytest.Function):
    """An item that is run on a store and fails by a difference. A subclass names in `play` the fixtures that it needs.

    The rest of what it needs are attributes, so that an item can be looked at without being run.
    """

    def __init__(self, *, name: str, parent: pytest.Collector) -> None:
        # pytest takes the names of the fixtures from the signature of what it is to call, here of a bound method.
        super().__init__(name=name, parent=parent, callobj=self.play)

    def play(self, *fixtures: Any, **named: Any) -> None:
        """Run the item on the fixtures that the parameters name. Raises PlayFailed with all that is to be read."""
        raise NotImplementedError

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file itself, not the function that runs it."""
        return self.path, 0, f"{self.parent.name if self.parent else ''}::{self.name}"

    def setup(self) -> None:
        """Set up the fixtures that the item asks for."""
        with self._blaming_the_server():
            super().setup()

    def runtest(self) -> None:
        """Play the item. Raises PlayFailed with its differences."""
        with self._blaming_the_server():
            super().runtest()

    @contextmanager
    def _blaming_the_server(self) -> Iterator[None]:
        """Replace the failure of an item by the loss of the run's server, if that is gone."""
        try:
            yield
        except Exception:
            if "server" in self.fixturenames and (cause := _silence(self.config)) is not None:
                pytest.fail(f"the server is gone: {cause}", pytrace=False)
            raise

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: TracebackStyle | None = None
    ) -> str | TerminalRepr:
        """Show only what the scenario says; a defect of ours keeps its traceback."""
        del style  # pytest's own items have no use for it either
        if isinstance(excinfo.value, PlayFailed | BadScenario):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class ScenarioItem(PlayItem):
    """One way to run a scenario, which was read and checked when its file was collected.

    With --update-scenarios the file is read again before each item: an item before this one may have rewritten it.
    """

    def __init__(self, *, name: str, parent: pytest.Collector, file: ScenarioFile) -> None:
        super().__init__(name=name, parent=parent)
        self.file = file

    def runtest(self) -> None:
        """Play the item; with --update-scenarios read the file first. Raises BadScenario if it holds none."""
        if self.config.getoption(UPDATE):
            self.read_again()
        super().runtest()

    def read_again(self) -> None:
        """Take the file as it stands now. Raises BadScenario if it holds no scenario."""
        self.file = scenarios.read_file(self.path, self.file.name)

    def repeated_by(self, case: Case) -> str:
        """Return the arguments with which pytest repeats the case alone."""
        del case  # a play without faults is repeated by its name
        return quote(self.nodeid)

    @contextmanager
    def failing_by_a_block(self) -> Iterator[None]:
        """Fail the item by one block where a command of the file makes the game raise."""
        try:
            yield
        except Raised as raised:
            where, again = self.file.place(raised.path), self.repeated_by(raised.case)
            raise PlayFailed(raised_block(where, raised, again)) from None


def whole(least: int, most: int = MOST) -> Callable[[str], int]:
    """Return the `type` of a numeric option: pytest ends with 4 and names the option if the number is out of range."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least:,} to {most:,}; found {text[:40]!r}")
        return number

    return read


def _silence(config: pytest.Config) -> str | None:
    """Return why the run's server does not answer; None if it does, or if there is none yet."""
    if SERVER not in config.stash:
        return None
    try:
        psycopg.connect(config.stash[SERVER].maintenance.conninfo, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())
    return None


def pair(expected: str, found: str) -> str:
    """Return the two lines in which every failure of ours says what was expected and what was found."""
    return f"    expected  {expected}\n    found     {found}"


def raised_block(where: str, raised: Raised, again: str) -> str:
    """Return what is said of a defect: where in the scenario, under what, what was raised and where, the traceback."""
    case = raised.case
    under = f", {case.fault} at {case.k}: {case.statement}" if case.k is not None else ""
    return (
        f"{where}: {raised.label}{under}\n{pair('an answer or a refusal', raised.defect.what)}"
        f"\n    raised at {raised.defect.where}\n  again: pytest {again}\n\n{raised.defect.trace}"
    )


def shown(differences: Sequence[Difference]) -> Iterator[str]:
    """Yield each difference: what, expected, found; beyond a dozen, how many more there are."""
    for difference in differences[:SHOWN_DIFFERENCES]:
        yield f"  {difference.what}\n{pair(difference.expected, difference.found)}"
    if (more := len(differences) - SHOWN_DIFFERENCES) > 0:
        yield f"  and {more} more differences"


def counts_of(terminalreporter: pytest.TerminalReporter, wanted: str) -> list[dict[str, Any]]:
    """Return the counts of the items of this run and of all its workers, under the name of a property."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    calls = (report for report in reports if getattr(report, "when", None) == "call")
    return [json.loads(text) for report in calls for name, text in report.user_properties if name == wanted]
