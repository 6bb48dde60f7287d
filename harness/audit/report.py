"""The result of an audit: for each mutation the test that caught it, or that nothing did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.counts import count

if TYPE_CHECKING:
    from db.console.output import Output


@dataclass(frozen=True, slots=True)
class Result:
    """One mutation. caught_by: the test that failed, the expected one or another; empty where it survived.

    broken: why it could not be judged, such as a module that no longer loads; that is no catch.
    """

    name: str
    file: str
    catcher: str
    caught_by: str
    seconds: float
    broken: str = ""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Counts of mutations: all, caught, and survived (what could not be judged among them)."""

    mutations: int
    caught: int
    survived: int
    results: tuple[Result, ...]
    seconds: float
    verdict: str


def judged(results: list[Result], seconds: float) -> AuditReport:
    """Return the report: it passes where each mutation was caught; nothing tried is no pass."""
    caught = sum(bool(result.caught_by) for result in results)
    verdict = "pass" if results and caught == len(results) else "fail"
    ordered = tuple(sorted(results, key=lambda result: (bool(result.caught_by), result.file, result.name)))
    return AuditReport(len(results), caught, len(results) - caught, ordered, round(seconds, 1), verdict)


def show(report: AuditReport, out: Output) -> None:
    """Print the report for people: what survived first."""
    rows = [(result.name, _sentence(result), result.seconds) for result in report.results]
    out.table(f"audit of {count(report.mutations, 'mutation')}", ("mutation", "caught by", "seconds"), rows)
    for result in report.results:
        if result.broken:
            out.say(f"{result.name}: {result.broken}")
    out.say(f"{report.verdict}: {report.caught} caught, {report.survived} survived, in {report.seconds:.0f} s")


def _sentence(result: Result) -> str:
    caught = result.caught_by.rpartition("/")[2]
    if result.caught_by == result.catcher:
        return caught
    return f"{caught}, not {result.catcher.rpartition('/')[2]}" if caught else f"NOTHING, not {result.catcher}"
