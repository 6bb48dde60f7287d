"""pytest's side of faults: the options, an item of a scenario for each fault, and the fixtures that they need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

import pytest

from db.servers import KINDS, Server
from db.servers.vitals import lasting
from harness.databases import Databases
from harness.play.arena import LegacyStage
from harness.play.defects import Case
from harness.pytest_plugin import fault_report
from harness.pytest_plugin.fault_report import FAULT_AT, FAULTS, NAMES, PREFIX
from harness.pytest_plugin.items import PlayFailed, ScenarioItem, counts_of, whole
from harness.pytest_plugin.reading import read_once
from harness.pytest_plugin.session import KEEP, OWN, leave_after_failure, note_kept
from harness.scenarios import BadScenario, ScenarioFile
from harness.scenarios.model import Scenario
from harness.sweeps import crashes, fault_kinds, faults, legacy_faults
from harness.sweeps.coverage import select_cases
from harness.sweeps.fault_kinds import NO_FAULT, Fault, Killed
from harness.sweeps.faults import Clean, Selection, Swept
from harness.sweeps.forkserver import CrashableWorker
from harness.sweeps.proxied_database import ProxiedDatabase

ALL, GATE = "all", "gate"

SELECTED = pytest.StashKey[Mapping[Path, Mapping[str, frozenset[int]]]]()
"""Where a gate has each fault strike, by file."""

CLEAN = pytest.StashKey[tuple[Scenario, ProxiedDatabase, Clean]]()
"""The scenario, database and result of the last run without faults: the scenario's next faults use it again."""

LEFT = pytest.StashKey[set[str]]()
"""Marks of the servers of crash tests that --keep left."""

PROPERTY = "sweep"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the fault sweep."""
    group = parser.getgroup("harness")
    group.addoption(
        FAULTS,
        default=None,
        metavar="NAMES",
        help=f"run scenarios under faults at each round trip: {ALL} or some of {', '.join(NAMES)} on each scenario;"
        f" {GATE}: all of them on each action and each way in which it ends, once, those on the wire"
        f" on each kind of save too; {NO_FAULT.name}: no fault, is each command one transaction on the wire",
    )
    group.addoption(
        FAULT_AT,
        type=whole(0),
        default=None,
        metavar="K",
        help="only at the K-th round trip, statement or command, from 0; with " + FAULTS,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Raise UsageError, before anything runs, for a name that is no fault's, and for a place without a fault."""
    names = asked_for(config)
    if config.getoption(FAULT_AT) is not None and not set(names) & set(NAMES):
        raise pytest.UsageError(
            f"{FAULT_AT}: expected {FAULTS} with a fault that strikes; found {','.join(names) or f'no {FAULTS}'}."
            f" {FAULT_AT} alone would change nothing."
        )


def asked_for(config: pytest.Config) -> tuple[str, ...]:
    """Return the faults that --faults asks for. Raises UsageError for a name that is no fault's."""
    option = config.getoption(FAULTS)
    names = () if option is None else NAMES if option in (ALL, GATE) else tuple(option.split(","))
    for name in names:
        if name not in (*NAMES, NO_FAULT.name):
            known = ", ".join((*NAMES, NO_FAULT.name))
            raise pytest.UsageError(f"{FAULTS}: expected {ALL}, {GATE} or some of {known}; found {name}.")
    return names


NO_CASES = Selection(steps=frozenset())


class FaultItem(ScenarioItem):
    """A scenario under one fault. A subclass has the fixtures that the fault needs, and makes the sweep."""

    def __init__(
        self, *, name: str, parent: pytest.Collector, file: ScenarioFile, fault: str, selection: Selection
    ) -> None:
        super().__init__(name=name, parent=parent, file=file)
        self.fault = fault
        # Up to the first failure, so that --keep leaves what that failure left.
        self.selection = replace(selection, to_first=bool(self.config.getoption(KEEP)))

    def repeated_by(self, case: Case) -> str:
        """Return the arguments that repeat a case; one without a fault is a play of the same store."""
        file = self.nodeid.rpartition("::")[0]
        if case.k is not None:
            return f"{quote(self.nodeid)} {FAULTS}={case.fault} {FAULT_AT}={case.k}"
        if case.fault == NO_FAULT.name:
            return f"{quote(f'{file}::{PREFIX}{NO_FAULT.name}')} {FAULTS}={NO_FAULT.name}"
        return quote(f"{file}::legacy")

    def sweep(self, make: Callable[[], Swept]) -> None:
        """Make the sweep and report its counts. Raises PlayFailed with its failures."""
        with self.failing_by_a_block():
            swept = make()
        self.user_properties.append((PROPERTY, json.dumps(fault_report.counts(swept))))
        if lines := list(fault_report.failures(self.file, swept, self.selection.at, self.nodeid)):
            raise PlayFailed("\n".join(lines))

    def sweep_wire(self, fault: Fault) -> None:
        """Sweep a fault on a database behind a proxy. Raises PlayFailed with its failures."""
        self.sweep(lambda: faults.sweep(self.file.scenario, fault, self._clean(fault.proxied), self.selection))

    def _clean(self, proxied: ProxiedDatabase) -> Clean:
        """Return the run without faults, which is made once for the items of a scenario that follow each other."""
        scenario, stash = self.file.scenario, self.config.stash
        if CLEAN not in stash or stash[CLEAN][0] is not scenario or stash[CLEAN][1] is not proxied:
            stash[CLEAN] = scenario, proxied, faults.run_clean(scenario, proxied)
        return stash[CLEAN][2]


class WireFaultItem(FaultItem):
    """A fault on the wire; or none, where only the transactions are looked at."""

    def play(self, proxied: ProxiedDatabase) -> None:
        """Sweep the fault that the item names."""
        kind = NO_FAULT if self.fault == NO_FAULT.name else fault_kinds.ON_THE_WIRE[self.fault]
        self.sweep_wire(kind.on(proxied))


class KilledItem(FaultItem):
    """The application killed, on Postgres; it runs in a process of its own."""

    def play(self, proxied: ProxiedDatabase, crashable: CrashableWorker) -> None:
        """Sweep the kill at each round trip."""
        self.sweep_wire(Killed(proxied, crashable))


class CrashedItem(FaultItem):
    """The server crashed, which takes a server of this worker's own."""

    def play(self, crashable_database: ProxiedDatabase) -> None:
        """Sweep the crash that the item names."""
        fault = next(each for each in crashes.FAULTS if each.name == self.fault)
        self.sweep_wire(fault(crashable_database))


class LegacyKilledItem(FaultItem):
    """The application killed, on the legacy file."""

    def play(self, legacy_stage: LegacyStage, crashable: CrashableWorker) -> None:
        """Sweep the kill at each statement."""
        scenario = self.file.scenario
        self.sweep(lambda: legacy_faults.sweep_killed(scenario, legacy_stage, crashable, self.selection))


class LegacyPowerCutItem(FaultItem):
    """The power cut after an answer, on the legacy file."""

    def play(self, legacy_stage: LegacyStage, crashable: CrashableWorker) -> None:
        """Sweep the cut at each command that is granted."""
        scenario = self.file.scenario
        self.sweep(lambda: legacy_faults.sweep_power_cut(scenario, legacy_stage, crashable, self.selection))


class LegacyBusyItem(FaultItem):
    """The legacy file locked by another writer."""

    def play(self, legacy_stage: LegacyStage) -> None:
        """Sweep the lock at each command."""
        self.sweep(lambda: legacy_faults.sweep_busy(self.file.scenario, legacy_stage, self.selection))


OFF_THE_WIRE: Mapping[str, type[FaultItem]] = {
    Killed.name: KilledItem,
    **dict.fromkeys(crashes.NAMES, CrashedItem),
    legacy_faults.KILLED: LegacyKilledItem,
    legacy_faults.BUSY: LegacyBusyItem,
    legacy_faults.POWER_CUT: LegacyPowerCutItem,
}
"""Items of the faults that need more than a database behind a proxy, by the fault's name."""


def items(parent: pytest.Collector, file: ScenarioFile) -> Iterator[FaultItem]:
    """Yield an item of the scenario for each fault that is asked for; in a gate for each that it adds to those before.

    A gate's choice depends on all files of the run.
    """
    config = parent.config
    wanted: Mapping[str, frozenset[int] | None] = dict.fromkeys(asked_for(config))
    if config.getoption(FAULTS) == GATE:
        if SELECTED not in config.stash:
            config.stash[SELECTED] = select_cases(dict(_scenarios(config)))
        # A file that was not found by the arguments is taken by itself: all of its kinds are tried.
        path = parent.path.resolve()
        wanted = config.stash[SELECTED].get(path) or select_cases({path: file.scenario})[path]
    for fault, steps in wanted.items():
        selection = NO_CASES if fault == NO_FAULT.name else Selection(config.getoption(FAULT_AT), steps)
        kind = OFF_THE_WIRE.get(fault, WireFaultItem)
        yield kind.from_parent(parent, name=PREFIX + fault, file=file, fault=fault, selection=selection)


def _scenarios(config: pytest.Config) -> Iterator[tuple[Path, Scenario]]:
    """Yield the scenarios of the run, in the order in which they are collected; what can't be read is said there."""
    asked = [(config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args]
    files = {file for path in asked for file in (path.rglob("*.yaml") if path.is_dir() else [path])}
    for file in sorted(files, key=lambda path: path.parts):
        if file.suffix == ".yaml" and file.is_relative_to(config.rootpath.resolve() / "scenarios"):
            with suppress(BadScenario):
                yield file, read_once(config, file).scenario


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how often each fault was tried, struck, and struck at a COMMIT; workers report it."""
    if counted := counts_of(terminalreporter, PROPERTY):
        fault_report.write_table(terminalreporter, counted)


@pytest.fixture(scope="session")
def worker_proxied_database(server: Server, databases: Databases) -> Iterator[ProxiedDatabase]:
    """Provide this worker's database and the proxy before it."""
    with ProxiedDatabase(server, databases) as proxied:
        yield proxied


@pytest.fixture
def proxied(worker_proxied_database: ProxiedDatabase, request: pytest.FixtureRequest) -> Iterator[ProxiedDatabase]:
    """Provide a database and the proxy before it; with --keep, one on which a sweep failed is left as it is."""
    yield worker_proxied_database
    leave_after_failure(request, worker_proxied_database)


@pytest.fixture(scope="session")
def crashable() -> Iterator[CrashableWorker]:
    """Provide the forkserver of this worker's applications."""
    with CrashableWorker() as crashable:
        yield crashable


@pytest.fixture(scope="session")
def worker_crashable_database(
    server: Server, request: pytest.FixtureRequest
) -> Iterator[tuple[Server, ProxiedDatabase]]:
    """Provide the same on a server of this worker's own: a crash takes every session of its server."""
    kind = server.kind if server.kind in KINDS else None
    with lasting(kind) as (own, _), Databases(own) as databases, ProxiedDatabase(own, databases) as proxied:
        request.config.stash.setdefault(OWN, []).append(own)
        yield own, proxied


@pytest.fixture
def crashable_database(
    worker_crashable_database: tuple[Server, ProxiedDatabase], request: pytest.FixtureRequest
) -> Iterator[ProxiedDatabase]:
    """Provide a database on a server that may crash; with --keep, that server is left too where a sweep failed."""
    own, proxied = worker_crashable_database
    yield proxied
    # The server is left once, however many sweeps fail.
    if leave_after_failure(request, proxied) and own.mark not in request.config.stash.setdefault(LEFT, set()):
        request.config.stash[LEFT].add(own.mark)
        note_kept(request, "its server, to remove it all", own.keep())
