"""Collects the project's scenarios: a file is read and checked once, and each way to run it is an item.

Items are `file::postgres`, `file::legacy`, `file::twins`, and those of the sweeps that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from harness.pytest_plugin import fault_items, race_items, scenario_items
from harness.pytest_plugin.reading import read_once, shown_name
from harness.scenarios import BadScenario, ScenarioFile
from harness.sweeps.pairs import FILE as PAIRS

OF_EDITORS = ("*~", ".*.sw?", ".#*", "#*#", ".DS_Store")
"""Files that an editor or a file manager leaves beside another while somebody works on it."""


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over no folder of scenarios for its name, as pytest does with `build` or a hidden one."""
    skipped = any(fnmatch(collection_path.name, pattern) for pattern in config.getini("norecursedirs"))
    return False if skipped and _is_of_scenarios(collection_path, config) and collection_path.is_dir() else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect each YAML file under the project's `scenarios`; what else lies there is refused."""
    if not _is_of_scenarios(file_path, parent.config):
        return None
    return collect_file(file_path, parent)


def _is_of_scenarios(path: Path, config: pytest.Config) -> bool:
    return path.is_relative_to(config.rootpath / "scenarios")


def collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return the collector of a file that lies among scenarios: one, the table of pairs, or what has no place there."""
    if file_path.suffix == ".yaml":
        return ScenarioCollector.from_parent(parent, path=file_path)
    if file_path == parent.config.rootpath / "scenarios" / PAIRS:
        return race_items.collect_file(file_path, parent)
    if file_path.name == "README.md" or any(fnmatch(file_path.name, pattern) for pattern in OF_EDITORS):
        return None
    return Stray.from_parent(parent, path=file_path)


class Stray(pytest.File):
    """A file that nothing would run, and nobody would miss: it is refused."""

    def collect(self) -> Iterable[pytest.Item]:
        """Refuse the file by its name, whatever it holds."""
        raise self.CollectError(
            f"{shown_name(self.config, self.path)}: expected a scenario, <behaviour>.yaml; found a file that would"
            " never be run. Rename it, or keep it elsewhere."
        )


class ScenarioCollector(pytest.File):
    """One file; what is wrong with it is said at collection."""

    def collect(self) -> Iterable[pytest.Item]:
        """Read the file, this once, and yield an item for each way to run it. Raises CollectError for a bad file."""
        file = self._read()
        for name, kind in scenario_items.ITEMS.items():
            yield kind.from_parent(self, name=name, file=file)
        yield from fault_items.items(self, file)
        yield from race_items.items(self, file)

    def _read(self) -> ScenarioFile:
        try:
            return read_once(self.config, self.path)
        except BadScenario as error:
            raise self.CollectError(str(error)) from None
