"""Lists what a gate has to run, from the files alone: what a setting, a plugin or a mark left out is missed by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from harness import scenarios
from harness.gate.report import RACES
from harness.scenarios import BadScenario
from harness.scenarios.model import Scenario
from harness.sweeps import pairs
from harness.sweeps.coverage import select_cases

WAYS = ("postgres", "legacy", "twins")


def items(root: Path) -> frozenset[str]:
    """Return every `file::way` of the scenarios under `root`. An unreadable file is no item: it fails as a whole."""
    folder = root / "scenarios"
    files = sorted(folder.rglob("*.yaml"), key=lambda path: path.relative_to(folder).parts)
    read = dict(_scenarios(files))
    faults = select_cases(read)
    ways = [(path, way) for path, scenario in read.items() for way in _ways(scenario, faults[path])]
    table = folder / pairs.FILE
    ways += [(table, way) for way in _pairs(table)] if table.exists() else []
    return frozenset(f"{path.relative_to(root).as_posix()}::{way}" for path, way in ways)


def _scenarios(files: Iterable[Path]) -> Iterator[tuple[Path, Scenario]]:
    for path in files:
        with suppress(BadScenario):
            yield path, scenarios.read_file(path).scenario


def _ways(scenario: Scenario, faults: Iterable[str]) -> Iterator[str]:
    yield from WAYS
    yield from (f"fault-{name}" for name in faults)
    yield from (RACES,) if scenario.race is not None else ()


def _pairs(table: Path) -> Iterator[str]:
    try:
        read = pairs.read(table)
        yield from ("+".join(names) for names in (*read.pairs(every=False), *read.threes))
    except pairs.BadPairs:
        return
