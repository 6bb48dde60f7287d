"""Reads each scenario file once a process, however many items and choices are made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import scenarios
from harness.scenarios import BadScenario, ScenarioFile

READ = pytest.StashKey[dict[Path, ScenarioFile | BadScenario]]()
"""The contents of each file, by its path without links."""


def read_once(config: pytest.Config, path: Path) -> ScenarioFile:
    """Return the scenario in the file. Raises BadScenario if it holds none."""
    known = config.stash.setdefault(READ, {})
    key = path.resolve()
    if key not in known:
        try:
            known[key] = scenarios.read_file(path, shown_name(config, path))
        except BadScenario as error:
            known[key] = error
    scenario = known[key]
    if isinstance(scenario, BadScenario):
        raise scenario
    return scenario


def shown_name(config: pytest.Config, path: Path) -> str:
    """Return the path as a failure shows it: from the folder in which pytest was called, if it lies there."""
    root = config.invocation_params.dir
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
