"""The base of all our items: run on a store, failing by differences; and the counts of the items of a run."""

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

from harness.play.defects import Raised
from harness.play.requests import Apart
from harness.pytest_plugin.session import SERVER
from harness.scenarios import ScenarioFile

SHOWN_DIFFERENCES = 12
MOST = 1_000_000
"""Of round trips or sequences: what is more than this was mistyped."""


class PlayFailed(Exception):
    """A scenario or a sweep does not hold; its text is all that is to be read."""


class PlayItem(pytest.Function):
    """An item that is run on a store and fails by a difference."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """The file itself, not the function that runs it."""
        return self.path, 0, f"{self.parent.name if self.parent else ''}::{self.name}"

    def setup(self) -> None:
        """Set up the fixtures that the item asks for."""
        with self._blaming_the_server():
            super().setup()

    def runtest(self) -> None:
        """Play the item. Raises AssertionError with its differences."""
        with self._blaming_the_server():
            super().runtest()

    @contextmanager
    def _blaming_the_server(self) -> Iterator[None]:
        """Replace the failure of an item by the loss of the run's server, if that is gone."""
        try:
            yield
        except Exception:
            if "server" in self.fixturenames and (said := _silent(self.config)) is not None:
                pytest.fail(f"the server is gone: {said}", pytrace=False)
            raise

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: TracebackStyle | None = None
    ) -> str | TerminalRepr:
        """Only what the scenario says; a defect of ours keeps its traceback."""
        del style  # pytest's own items have no use for it either
        # A file may be deleted or half saved while the tests run: it is read again by each of its items.
        is_told = isinstance(excinfo.value, (PlayFailed, pytest.Collector.CollectError))
        return str(excinfo.value) if is_told else super().repr_failure(excinfo)


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


def _silent(config: pytest.Config) -> str | None:
    """Return why the run's server does not answer; None if it does, or if there is none yet."""
    if SERVER not in config.stash:
        return None
    try:
        psycopg.connect(config.stash[SERVER].maintenance.conninfo, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return " ".join(str(error).split())
    return None


@contextmanager
def raised_in(file: ScenarioFile, again: str) -> Iterator[None]:
    """Fail the item by one block where a command of the file makes the game raise. again: what pytest is to repeat."""
    try:
        yield
    except Raised as raised:
        mark = file.document.mark(raised.path)
        where = ".".join(str(part) for part in raised.path)
        raise PlayFailed(raised_block(f"{file.name}:{mark.line}: {where}", raised, quote(again))) from None


def raised_block(where: str, raised: Raised, again: str) -> str:
    """Return what is said of a defect: where in the scenario, under what, what was raised and where, the traceback."""
    case = raised.case
    under = f", {case.fault} at {case.k}: {case.statement}" if case.k is not None else ""
    return (
        f"{where}: {raised.label}{under}\n    expected  an answer or a refusal\n    found     {raised.defect.what}"
        f"\n    raised at {raised.defect.where}\n  again: pytest {again}\n\n{raised.defect.trace}"
    )


def shown(differences: Sequence[Apart]) -> Iterator[str]:
    """Each difference: what, expected, found."""
    for difference in differences[:SHOWN_DIFFERENCES]:
        yield f"  {difference.what}\n    expected  {difference.expected}\n    found     {difference.found}"
    if (more := len(differences) - SHOWN_DIFFERENCES) > 0:
        yield f"  and {more} more differences"


def found(terminalreporter: pytest.TerminalReporter, wanted: str) -> list[dict[str, Any]]:
    """Return the counts of the items of this run and of all its workers, under the name of a property."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    calls = (report for report in reports if getattr(report, "when", None) == "call")
    return [json.loads(text) for report in calls for name, text in report.user_properties if name == wanted]
