"""Leaves long tests out of a quick run, by the durations of an earlier run of all tests.

`tests/durations.json` has {function: [seconds of all its cases together, cases]} for the functions that took longer
than a quick run gives one. A quick run takes as many cases of such a function, evenly spaced, as fit: none if a single
case takes longer. A test marked `core` always runs; a function that the file does not name is new, and runs too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from db.files import private

DURATIONS = Path("tests") / "durations.json"
SECONDS_OF_A_FUNCTION = 0.35
QUICK = "--quick"
WRITE = "--write-durations"

_FILE = TypeAdapter(dict[str, tuple[float, int]])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a quick run."""
    group = parser.getgroup("harness")
    group.addoption(QUICK, action="store_true", help="leave out the tests that are long; `invoke nightly` runs them")
    group.addoption(WRITE, action="store_true", help=f"write into {DURATIONS} how long the tests of this run took")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and measure in the process that sees all reports."""
    config.addinivalue_line("markers", "core: runs in every quick run, however long it takes")
    if config.getoption(WRITE) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(DurationRecorder(config.rootpath / DURATIONS))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a quick run has no time for."""
    if not config.getoption(QUICK):
        return
    known = read(config.rootpath / DURATIONS)
    cases = defaultdict(list)
    for item in items:
        if function_of(item.nodeid) in known and item.get_closest_marker("core") is None:
            cases[function_of(item.nodeid)].append(item)
    left_out = {id(item) for name, all_of in cases.items() for item in _beyond(all_of, *known[name])}
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if id(item) in left_out])
        items[:] = [item for item in items if id(item) not in left_out]


def function_of(nodeid: str) -> str:
    """Return the id of a test without its parameters."""
    return nodeid.partition("[")[0]


def read(path: Path) -> dict[str, tuple[float, int]]:
    """Read the durations; none where the file is missing."""
    return _FILE.validate_json(path.read_bytes()) if path.exists() else {}


def fitting(seconds: float, cases: int) -> int:
    """Return how many cases of a function fit into a quick run; seconds: of all its cases together."""
    return cases if seconds <= SECONDS_OF_A_FUNCTION else int(SECONDS_OF_A_FUNCTION * cases / seconds)


def _beyond(items: list[pytest.Item], seconds: float, cases: int) -> list[pytest.Item]:
    fit = min(fitting(seconds, cases), len(items))
    kept = {number * len(items) // fit for number in range(fit)}
    return [item for number, item in enumerate(items) if number not in kept]


class DurationRecorder:
    """Adds up how long each function's cases took, set-up included, and writes the long ones at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = defaultdict(float)
        self._cases: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase of a test."""
        self._seconds[function_of(report.nodeid)] += report.duration
        self._cases[function_of(report.nodeid)] += report.when == "call"

    def pytest_sessionfinish(self) -> None:
        """Write the functions that take longer than a quick run gives one; one that ran in part keeps its figure."""
        ran = {name: (seconds, max(1, self._cases[name])) for name, seconds in self._seconds.items()}
        in_part = {name: known for name, known in read(self._path).items() if ran.get(name, (0, 0))[1] < known[1]}
        long = {
            name: (round(seconds, 1), cases)
            for name, (seconds, cases) in sorted({**ran, **in_part}.items())
            if seconds > SECONDS_OF_A_FUNCTION and name.startswith("tests/")
        }
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in long.items())
        private.write(self._path, f"{{\n{lines}\n}}\n")
