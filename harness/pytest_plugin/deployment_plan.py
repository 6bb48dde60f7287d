"""Reports which lines of the deployment plan no test proved in a run of all tests.

`tests/plan.toml` has the lines. A test marked `plan(24)` proves line 24 if it passes; one that is skipped or left out
proves nothing. With `cases`, only the cases of those ids do. The scenarios that a line names have to pass besides.
"""

from __future__ import annotations

import tomllib
from dataclasses import field
from pathlib import Path

import pytest
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from harness.pytest_plugin.durations import QUICK

FILE = Path("tests") / "plan.toml"
PLAN = "--plan"
MARKER = "plan"
_SHAPE = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_SHAPE)
class PlanLine:
    """A line of the plan: which commands do it, and which scenarios have to pass."""

    number: int
    text: str
    commands: tuple[str, ...]
    scenarios: tuple[str, ...] = ()


@dataclass(frozen=True, config=_SHAPE)
class MissingProof:
    """A part of a line that no test proves, and what would prove it. part: empty for the whole line."""

    line: int
    proof: str
    part: str = ""


@dataclass(frozen=True, config=_SHAPE)
class Plan:
    """All lines, what no test proves of them, and of each service that no test asks what it asks instead."""

    line: tuple[PlanLine, ...]
    missing: tuple[MissingProof, ...] = ()
    not_run: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Plan:
    """Read the plan. Raises ValueError if a key is unknown or lacking."""
    return TypeAdapter(Plan).validate_python(tomllib.loads(path.read_text("utf-8")))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that makes a line without a proof a failure of the run."""
    parser.getgroup("harness").addoption(
        PLAN, action="store_true", help=f"fail if no test proves a line of {FILE.as_posix()}; docs/plan.md has them"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and judge in the process that sees all reports."""
    config.addinivalue_line("markers", f"{MARKER}(*lines, cases=()): proves these lines of {FILE.as_posix()}")
    path = config.rootpath / FILE
    if path.exists() and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proofs(config, read(path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note on each item which lines it proves; its reports carry that from a worker to the controller."""
    for item in items:
        case = item.callspec.id if hasattr(item, "callspec") else ""
        marks = [mark for mark in item.iter_markers(MARKER) if case in mark.kwargs.get("cases", (case,))]
        if marks:
            item.user_properties.append((MARKER, [line for mark in marks for line in mark.args]))


class Proofs:
    """Adds up what passed, and names at the end of a run of all tests the lines that nothing proved."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config, self._plan = config, plan
        self._lines: set[int] = set()
        self._files: set[str] = set()
        self._unproven: list[PlanLine] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test that passed."""
        if report.when == "call" and report.passed:
            for name, lines in report.user_properties:
                self._lines |= set(lines) if name == MARKER else set()  # type: ignore[call-overload]  # a list, of an item
            self._files.add(report.nodeid.partition("::")[0])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that was to prove the plan and did not; one that was interrupted is not judged."""
        option, required = self._config.option, self._config.getoption(PLAN)
        chosen = option.keyword or option.markexpr or option.deselect or self._config.getoption(QUICK, default=False)
        whole = not chosen and self._config.args_source is not pytest.Config.ArgsSource.ARGS
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if ended and not option.collectonly and (whole or required):
            self._unproven = [line for line in self._plan.line if not self._is_proven(line)]
        if self._unproven and required:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _is_proven(self, line: PlanLine) -> bool:
        """Return True also for a line that docs/plan.md has among those that are not proven yet."""
        known = any(each.line == line.number and not each.part for each in self._plan.missing)
        return known or (line.number in self._lines and self._files.issuperset(line.scenarios))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the lines that nothing proved."""
        for line in self._unproven:
            terminalreporter.write_line(f"plan, line {line.number}: none of its tests ran and passed: {line.text}")
