"""A gate's finding as Markdown, for GitHub's step summary: short, failures first."""

from __future__ import annotations

import html

from db.counts import count, lines_of
from game.printable import escaped
from harness.gate.report import GateReport, Item

MOST_FAILURES = 20
MOST_LINES = 40
"""The lines of each failure: GitHub cuts a summary off at a megabyte, and the page has it whole."""


def summary(report: GateReport) -> str:
    """Return Markdown: a heading, a table of counts, and what failed."""
    races = report.races
    lines = [f"## Gate for {report.environment}: {report.verdict}", "", "| what | run | failed |", "|---|---|---|"]
    lines += [
        f"| scenarios | {report.scenarios.count} | {report.scenarios.failures} |",
        f"| twins | {report.twins.count} | {report.twins.failures} |",
        f"| faults | {count(report.faults.cases, 'case')}, {report.faults.fired} fired | {report.faults.failures} |",
        f"| races | {count(races.orders, 'order')} of {count(races.count, 'race')} | {races.failures} |",
        *(f"| {part.name} | {part.seconds:.1f} s | {part.verdict} |" for part in report.parts),
        "",
    ]
    lines += [f"- in doubt: {_plain(doubt)}" for doubt in report.doubts]
    lines += [f"- {part.name}: {_plain(problem)}" for part in report.parts for problem in part.problems]
    failed = [item for item in report.items if not item.passed]
    lines += lines_of([_failure(item) for item in failed], MOST_FAILURES, "failures", see="the page has them all")
    return "\n".join(lines) + "\n"


def _failure(item: Item) -> str:
    """Return an item that failed as HTML, for a text can hold any run of backticks."""
    shown = escaped("\n".join(lines_of(item.found.splitlines(), MOST_LINES)))
    name = html.escape(escaped(item.name))
    parts = ["", f"<details><summary>{name}</summary>", "", f"<pre>{html.escape(shown)}</pre>", "", "</details>"]
    return "\n".join(parts)


def _plain(text: str) -> str:
    return html.escape(escaped(" ".join(text.split()))).replace("|", "&#124;")
