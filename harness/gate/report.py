"""The report of a gate: each item of the suite, each other part, and the verdict of all. Pure.

Pass, fail or inconclusive; what was not run is never a pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from db.counts import count, few
from harness.sweeps import pairs

RACES = "races"
NAMED = 5
"""So many of what was not run are named; the page of a run has hundreds."""


class Ended(StrEnum):
    """The ending of a part. Inconclusive: no fault was found, and not all that it should prove was tried."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class ItemKind(StrEnum):
    """The kind of an item of the suite."""

    SCENARIOS = "scenarios"
    TWINS = "twins"
    FAULTS = "faults"
    RACES = "races"


@dataclass(frozen=True, slots=True)
class Item:
    """One way to run one scenario: `file` is its path, `way` what follows `::`. found: why it failed, whole.

    sweep: what a fault or race sweep says of itself (cases, fired, orders …); empty for other items.
    """

    file: str
    way: str
    passed: bool
    seconds: float
    found: str = ""
    sweep: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the item's name as pytest writes it."""
        return f"{self.file}::{self.way}"

    @property
    def kind(self) -> ItemKind:
        """Return the kind by the way's name, such as `postgres` or `fault-cut`; a pair of the table is a race."""
        if self.way.startswith("fault-"):
            return ItemKind.FAULTS
        if self.way == RACES or self.is_pair:
            return ItemKind.RACES
        return ItemKind.TWINS if self.way == "twins" else ItemKind.SCENARIOS

    @property
    def is_pair(self) -> bool:
        """Return True if it is of the table of pairs; then the way is the pair, `equip+disassemble`."""
        return self.file.endswith(pairs.FILE)

    def figure(self, name: str) -> int:
        """Return a whole number of the sweep by its name; 0 if it has none."""
        value = self.sweep.get(name)
        return value if isinstance(value, int) else 0


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Counts of what was run, and of what failed. Of scenarios and twins, files; of sweeps, items."""

    count: int
    failures: int


@dataclass(frozen=True, slots=True)
class Sweeps(RunCounts):
    """Of fault sweeps: cases tried and faults that really fired. Of race sweeps: orders tried."""

    cases: int = 0
    fired: int = 0
    orders: int = 0


@dataclass(frozen=True, slots=True)
class GatePart:
    """Something else that the gate tries: what it found, by name, and what is wrong or missing, a sentence each."""

    name: str
    verdict: Ended
    seconds: float
    found: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateReport:
    """The whole finding; `certificate` as JSON values, with its signature."""

    verdict: Ended
    environment: str
    seconds: float
    scenarios: RunCounts
    twins: RunCounts
    faults: Sweeps
    races: Sweeps
    doubts: tuple[str, ...]
    parts: tuple[GatePart, ...]
    items: tuple[Item, ...]
    rehearsal: object
    certificate: Mapping[str, object]


class Checked(StrEnum):
    """The result of checking a report's signature."""

    MADE = "made"
    FITS = "fits"
    UNFIT = "does not fit"
    UNCHECKED = "not checked"
    UNSIGNED = "unsigned"


def count_files(items: Sequence[Item], kind: ItemKind) -> RunCounts:
    """Count the files of that kind, and those that failed in any way of that kind."""
    files = {item.file for item in items if item.kind is kind}
    failed = {item.file for item in items if item.kind is kind and not item.passed}
    return RunCounts(len(files), len(failed))


def sweeps(items: Sequence[Item], kind: ItemKind) -> Sweeps:
    """Count the items of that kind, and sum what they counted."""
    mine = [item for item in items if item.kind is kind]
    return Sweeps(
        count=len(mine),
        failures=sum(not item.passed for item in mine),
        cases=sum(item.figure("cases") for item in mine),
        fired=sum(item.figure("fired") for item in mine),
        orders=sum(item.figure("orders") for item in mine),
    )


def doubts(items: Sequence[Item], parts: Iterable[GatePart], due: Collection[str]) -> Iterator[str]:
    """Return what a pass needs and was not run. due: the names of the items that there must be."""
    for part in parts:
        if part.verdict is Ended.INCONCLUSIVE:
            yield f"{part.name}: {'; '.join(part.problems) or 'not tried'}"
    if missing := sorted(set(due) - {item.name for item in items}):
        yield f"of {count(len(due), 'item')} {len(missing)} were not run: {few(missing, NAMED)}"
    scenarios, twins = count_files(items, ItemKind.SCENARIOS), count_files(items, ItemKind.TWINS)
    if not scenarios.count:
        yield "no scenario was run"
    if twins.count != scenarios.count:
        yield f"of {count(scenarios.count, 'scenario')} {twins.count} were run side by side on both stores"
    if not sweeps(items, ItemKind.FAULTS).fired:
        yield "no fault fired"
    if not sweeps(items, ItemKind.RACES).orders:
        yield "no order of two sessions was tried"


def judge(items: Sequence[Item], parts: Iterable[GatePart], doubted: Sequence[str]) -> Ended:
    """Fail where anything failed; pass where nothing did and nothing is in doubt."""
    if any(not item.passed for item in items) or any(part.verdict is Ended.FAIL for part in parts):
        return Ended.FAIL
    return Ended.INCONCLUSIVE if doubted else Ended.PASS
