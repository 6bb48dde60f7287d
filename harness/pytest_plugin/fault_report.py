"""Tells of a sweep of faults: the failures of one item in words, its counts, and the table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from shlex import quote
from typing import Any

import pytest

from db.counts import count
from harness.pytest_plugin.items import pair, shown
from harness.scenarios import ScenarioFile
from harness.sweeps import crashes, fault_kinds, legacy_faults
from harness.sweeps.fault_kinds import NO_FAULT
from harness.sweeps.faults import FailedCase, Swept, Torn
from harness.wire import ONE_TRANSACTION

NAMES = (*fault_kinds.NAMES, *crashes.NAMES, *legacy_faults.NAMES)
FAULTS, FAULT_AT = "--faults", "--fault-at"
UNIT = "round trip"
UNITS = {legacy_faults.KILLED: "statement", legacy_faults.BUSY: "command", legacy_faults.POWER_CUT: "command"}
PREFIX = "fault-"
SHOWN_FAILURES = 3


def counts(swept: Swept) -> dict[str, object]:
    """Return the figures of a sweep as an item reports them."""
    return {
        "fault": swept.fault,
        "cases": swept.cases,
        "fired": swept.fired,
        "fired_at_commit": swept.fired_at_commit,
        "failures": len(swept.failures) + len(swept.torn) + swept.missed_commit,
        "seconds": round(swept.seconds, 3),
    }


def failures(file: ScenarioFile, swept: Swept, at: int | None, nodeid: str) -> Iterator[str]:
    """Yield the lines that say how a sweep failed; none if it did not.

    at: the only place that was asked for, so that a sweep without any case is a failure.
    """
    unit = UNITS.get(swept.fault, UNIT)
    for torn in swept.torn:
        yield from _torn(file, torn, nodeid)
    for failure in swept.failures[:SHOWN_FAILURES]:
        yield from _block(file, failure, nodeid)
    if (more := len(swept.failures) - SHOWN_FAILURES) > 0:
        yield f"and {more} more of {count(swept.cases, 'case')}, at {unit}s {_places(swept.failures[SHOWN_FAILURES:])}"
    if swept.missed_commit:
        yield f"{file.name}: {swept.fault}\n{pair(f'one of {swept.commits} COMMITs struck', 'none')}"
    if at is not None and not swept.cases:
        yield f"{file.name}: {swept.fault}\n{pair(f'a {unit} {at}', 'that there are fewer')}"


def _block(file: ScenarioFile, failure: FailedCase, nodeid: str) -> Iterator[str]:
    when = "after" if failure.moment.after else "at"
    unit = UNITS.get(failure.fault, UNIT)
    yield f"{file.place(failure.path)}: {failure.fault} {when} {unit} {failure.moment.k}: {failure.statement}"
    yield from shown(failure.differences)
    yield f"  again: pytest {quote(nodeid)} {FAULTS}={failure.fault} {FAULT_AT}={failure.moment.k}"


def _torn(file: ScenarioFile, torn: Torn, nodeid: str) -> Iterator[str]:
    yield f"{file.place(torn.path)}: {torn.label} without a fault, on the wire"
    yield from (f"      {statement}" for statement in torn.statements)
    yield pair(ONE_TRANSACTION, torn.found)
    yield f"  again: pytest {quote(f'{nodeid.partition(PREFIX)[0]}{PREFIX}{NO_FAULT.name}')} {FAULTS}={NO_FAULT.name}"


def _places(failures: Iterable[FailedCase]) -> str:
    return ", ".join(str(k) for k in dict.fromkeys(failure.moment.k for failure in failures))


def write_table(terminalreporter: pytest.TerminalReporter, counted: Sequence[dict[str, Any]]) -> None:
    """Show how often each fault was tried, struck, and struck at a COMMIT. counted: of each item, as of `counts`."""
    totals: dict[str, Counter[str]] = {}
    for one in counted:
        totals.setdefault(str(one.pop("fault")), Counter()).update(one)
    terminalreporter.write_sep("-", "faults")
    terminalreporter.write_line(f"{'':17}{'cases':>8}{'fired':>8}{'at COMMIT':>11}{'failures':>10}{'ms a case':>11}")
    for name in (each for each in (*NAMES, NO_FAULT.name) if each in totals):
        total = totals[name]
        per_case = 1000 * total["seconds"] / max(1, total["cases"])
        terminalreporter.write_line(
            f"{name:17}{total['cases']:8}{total['fired']:8}{total['fired_at_commit']:11}"
            f"{total['failures']:10}{per_case:11.0f}"
        )
