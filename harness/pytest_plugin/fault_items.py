"""pytest's side of faults: options, items, what was found in words, and a table of it all at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote

import pytest

from db.counts import count
from db.servers import KINDS, Server
from db.servers.vitals import lasting
from harness.databases import Databases
from harness.play.arena import LegacyStage
from harness.play.defects import Case, Raised
from harness.pytest_plugin.items import PlayFailed, found, raised_block, shown, whole
from harness.pytest_plugin.session import KEEP, OWN, keeps, note_kept, note_kept_database
from harness.scenarios import ScenarioFile
from harness.sweeps import fault_kinds, faults, legacy_faults
from harness.sweeps.coverage import Coverage
from harness.sweeps.fault_kinds import NO_FAULT, Crashed, Fault, Killed
from harness.sweeps.faults import Failure, Swept, Torn
from harness.sweeps.forkserver import CrashableWorker
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.wire import ONE_TRANSACTION

NAMES = (*fault_kinds.NAMES, *legacy_faults.NAMES)
FAULTS, FAULT_AT = "--faults", "--fault-at"
ALL, GATE = "all", "gate"

SEEN = pytest.StashKey[Coverage]()
"""The kinds of commands that the files collected before have."""

LEFT = pytest.StashKey[set[str]]()
"""Marks of the servers of crash tests that --keep left."""

UNIT = "round trip"
UNITS = {legacy_faults.KILLED: "statement", legacy_faults.BUSY: "command"}
PREFIX = "fault-"
PROPERTY = "sweep"
SHOWN_FAILURES = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the fault sweep."""
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
    """The faults that are asked for."""
    option = config.getoption(FAULTS)
    names = () if option is None else NAMES if option in (ALL, GATE) else tuple(option.split(","))
    for name in names:
        if name not in (*NAMES, NO_FAULT.name):
            known = ", ".join((*NAMES, NO_FAULT.name))
            raise pytest.UsageError(f"{FAULTS}: expected {ALL}, {GATE} or some of {known}; found {name}.")
    return names


def calls(config: pytest.Config, read: Callable[[], ScenarioFile]) -> Iterator[tuple[str, Callable[..., None]]]:
    """An item's name and function for each fault that is asked for; its parameters are the fixtures it needs."""
    wanted: Mapping[str, frozenset[int] | None] = dict.fromkeys(asked_for(config))
    if config.getoption(FAULTS) == GATE:
        wanted = config.stash.setdefault(SEEN, Coverage()).select_cases(read().scenario)
    for name, steps in wanted.items():
        where = UNHARMED if name == NO_FAULT.name else Where(config.getoption(FAULT_AT), steps)
        yield PREFIX + name, _call(name, where, read)


@dataclass(frozen=True)
class Where:
    """At which round trip (statement, command) a fault strikes, from 0, and in which commands; None: at all, in all."""

    at: int | None
    steps: frozenset[int] | None


UNHARMED = Where(None, frozenset())


def _call(name: str, where: Where, read: Callable[[], ScenarioFile]) -> Callable[..., None]:
    if name in OFF_THE_WIRE:
        return OFF_THE_WIRE[name](where, read)
    kind = NO_FAULT if name == NO_FAULT.name else fault_kinds.ON_THE_WIRE[name]

    def on_the_wire(proxied: ProxiedDatabase, request: pytest.FixtureRequest) -> None:
        _sweep(read(), kind.on(proxied), where, request.node)

    return on_the_wire


def _killed(where: Where, read: Callable[[], ScenarioFile]) -> Callable[..., None]:
    def killed(proxied: ProxiedDatabase, crashable: CrashableWorker, request: pytest.FixtureRequest) -> None:
        _sweep(read(), Killed(proxied, crashable), where, request.node)

    return killed


def _crashed(where: Where, read: Callable[[], ScenarioFile]) -> Callable[..., None]:
    def crashed(crash_ground: ProxiedDatabase, request: pytest.FixtureRequest) -> None:
        _sweep(read(), Crashed(crash_ground), where, request.node)

    return crashed


def _legacy_killed(where: Where, read: Callable[[], ScenarioFile]) -> Callable[..., None]:
    def legacy_killed(legacy_stage: LegacyStage, crashable: CrashableWorker, request: pytest.FixtureRequest) -> None:
        file = read()
        with _raised(file, request.node):
            swept = legacy_faults.sweep_killed(
                file.scenario, legacy_stage, crashable, where.at, where.steps, to_first=request.config.getoption(KEEP)
            )
        _judge(file, swept, where.at, request.node)

    return legacy_killed


def _legacy_busy(where: Where, read: Callable[[], ScenarioFile]) -> Callable[..., None]:
    def legacy_busy(legacy_stage: LegacyStage, request: pytest.FixtureRequest) -> None:
        file = read()
        with _raised(file, request.node):
            swept = legacy_faults.sweep_busy(
                file.scenario, legacy_stage, where.at, where.steps, to_first=request.config.getoption(KEEP)
            )
        _judge(file, swept, where.at, request.node)

    return legacy_busy


OFF_THE_WIRE = {
    Killed.name: _killed,
    Crashed.name: _crashed,
    legacy_faults.KILLED: _legacy_killed,
    legacy_faults.BUSY: _legacy_busy,
}
"""Faults that need more than a database behind a proxy: what makes the item's function, by name."""


def _sweep(file: ScenarioFile, fault: Fault, where: Where, item: pytest.Item) -> None:
    with _raised(file, item):
        swept = faults.sweep(file.scenario, fault, where.at, where.steps, to_first=item.config.getoption(KEEP))
    _judge(file, swept, where.at, item)


@contextmanager
def _raised(file: ScenarioFile, item: pytest.Item) -> Iterator[None]:
    """Fail the item by a block where the game raises, with the command that repeats the case alone."""
    try:
        yield
    except Raised as raised:
        mark = file.document.mark(raised.path)
        where = f"{file.name}:{mark.line}: {'.'.join(str(part) for part in raised.path)}"
        raise PlayFailed(raised_block(where, raised, _again(item.nodeid, raised.case))) from None


def _again(nodeid: str, case: Case) -> str:
    """Without a fault, the same store is played on in a run without any."""
    file = nodeid.rpartition("::")[0]
    if case.k is not None:
        return f"{quote(nodeid)} {FAULTS}={case.fault} {FAULT_AT}={case.k}"
    if case.fault == NO_FAULT.name:
        return f"{quote(f'{file}::{PREFIX}{NO_FAULT.name}')} {FAULTS}={NO_FAULT.name}"
    return quote(f"{file}::legacy")


def _judge(file: ScenarioFile, swept: Swept, at: int | None, item: pytest.Item) -> None:
    item.user_properties.append((PROPERTY, json.dumps(_counted(swept))))
    if said := list(_said(file, swept, at, item.nodeid)):
        raise PlayFailed("\n".join(said))


def _counted(swept: Swept) -> dict[str, object]:
    return {
        "fault": swept.fault,
        "cases": swept.cases,
        "fired": swept.fired,
        "fired_at_commit": swept.fired_at_commit,
        "failures": len(swept.failures) + len(swept.torn) + swept.missed_commit,
        "seconds": round(swept.seconds, 3),
    }


def _said(file: ScenarioFile, swept: Swept, at: int | None, nodeid: str) -> Iterator[str]:
    unit = UNITS.get(swept.fault, UNIT)
    for torn in swept.torn:
        yield from _torn(file, torn, nodeid)
    for failure in swept.failures[:SHOWN_FAILURES]:
        yield from _block(file, failure, nodeid)
    if (more := len(swept.failures) - SHOWN_FAILURES) > 0:
        yield f"and {more} more of {count(swept.cases, 'case')}, at {unit}s {_places(swept.failures[SHOWN_FAILURES:])}"
    if swept.missed_commit:
        yield f"{file.name}: {swept.fault}\n    expected  one of {swept.commits} COMMITs struck\n    found     none"
    if at is not None and not swept.cases:
        yield f"{file.name}: {swept.fault}\n    expected  a {unit} {at}\n    found     that there are fewer"


def _block(file: ScenarioFile, failure: Failure, nodeid: str) -> Iterator[str]:
    mark = file.document.mark(failure.path)
    where = ".".join(str(part) for part in failure.path)
    when = "after" if failure.moment.after else "at"
    unit = UNITS.get(failure.fault, UNIT)
    yield f"{file.name}:{mark.line}: {where}: {failure.fault} {when} {unit} {failure.moment.k}: {failure.statement}"
    yield from shown(failure.differences)
    yield f"  again: pytest {quote(nodeid)} {FAULTS}={failure.fault} {FAULT_AT}={failure.moment.k}"


def _torn(file: ScenarioFile, torn: Torn, nodeid: str) -> Iterator[str]:
    where = ".".join(str(part) for part in torn.path)
    yield f"{file.name}:{file.document.mark(torn.path).line}: {where}: {torn.label} without a fault, on the wire"
    yield from (f"      {statement}" for statement in torn.statements)
    yield f"    expected  {ONE_TRANSACTION}\n    found     {torn.found}"
    yield f"  again: pytest {quote(f'{nodeid.partition(PREFIX)[0]}{PREFIX}{NO_FAULT.name}')} {FAULTS}={NO_FAULT.name}"


def _places(failures: Iterable[Failure]) -> str:
    return ", ".join(str(k) for k in dict.fromkeys(failure.moment.k for failure in failures))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how often each fault was tried, struck, and struck at a COMMIT; workers report it."""
    counted = found(terminalreporter, PROPERTY)
    if not counted:
        return
    totals: dict[str, Counter[str]] = {}
    for one in counted:
        totals.setdefault(str(one.pop("fault")), Counter()).update(one)
    terminalreporter.write_sep("-", "faults")
    terminalreporter.write_line(f"{'':14}{'cases':>8}{'fired':>8}{'at COMMIT':>11}{'failures':>10}{'ms a case':>11}")
    for name in (each for each in (*NAMES, NO_FAULT.name) if each in totals):
        total = totals[name]
        per_case = 1000 * total["seconds"] / max(1, total["cases"])
        terminalreporter.write_line(
            f"{name:14}{total['cases']:8}{total['fired']:8}{total['fired_at_commit']:11}"
            f"{total['failures']:10}{per_case:11.0f}"
        )


@pytest.fixture(scope="session")
def worker_ground(server: Server, databases: Databases) -> Iterator[ProxiedDatabase]:
    """This worker's database and the proxy before it."""
    with ProxiedDatabase(server, databases) as proxied:
        yield proxied


@pytest.fixture
def proxied(worker_ground: ProxiedDatabase, request: pytest.FixtureRequest) -> Iterator[ProxiedDatabase]:
    """A database and the proxy before it; with --keep, one on which a sweep failed is left as it is."""
    yield worker_ground
    if keeps(request):
        left = worker_ground.leave()
        note_kept_database(request, left)


@pytest.fixture(scope="session")
def crashable() -> Iterator[CrashableWorker]:
    """Provide the forkserver of this worker's applications."""
    with CrashableWorker() as crashable:
        yield crashable


@pytest.fixture(scope="session")
def worker_crash_ground(server: Server, request: pytest.FixtureRequest) -> Iterator[tuple[Server, ProxiedDatabase]]:
    """The same on a server of this worker's own: a crash takes every session of its server."""
    kind = server.kind if server.kind in KINDS else None
    with lasting(kind) as (own, _), Databases(own) as databases, ProxiedDatabase(own, databases) as proxied:
        request.config.stash.setdefault(OWN, []).append(own)
        yield own, proxied


@pytest.fixture
def crash_ground(
    worker_crash_ground: tuple[Server, ProxiedDatabase], request: pytest.FixtureRequest
) -> Iterator[ProxiedDatabase]:
    """A database on a server that may crash; with --keep, that server is left too where a sweep failed."""
    own, proxied = worker_crash_ground
    yield proxied
    if keeps(request):
        left = proxied.leave()
        note_kept_database(request, left)
        if own.mark not in request.config.stash.setdefault(LEFT, set()):  # It is left once, however many sweeps fail.
            request.config.stash[LEFT].add(own.mark)
            note_kept(request, "its server, to remove it all", own.keep())
