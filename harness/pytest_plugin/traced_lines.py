"""A pytest plugin of the audit: tells the tracer which test runs, and writes how each ended and how long it took."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SECONDS: dict[str, float] = {}
_PASSED: dict[str, bool] = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count what is run from here on for this test, its fixtures too."""
    tracer: Any = sys.modules["sitecustomize"]
    tracer.RECORDER.begin(item.nodeid)
    tracer.RECORDER.start()
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add a phase; the last one writes the test's line."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    _SECONDS[report.nodeid] = _SECONDS.get(report.nodeid, 0.0) + report.duration
    _PASSED[report.nodeid] = _PASSED.get(report.nodeid, True) and report.passed
    if report.when == "teardown":
        line = [report.nodeid, round(_SECONDS[report.nodeid], 3), _PASSED[report.nodeid]]
        folder: Any = sys.modules["sitecustomize"]
        with Path(os.environ[folder.FOLDER], "tests.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
