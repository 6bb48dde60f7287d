"""The gate's page: one HTML file that needs nothing else; verdict, certificate, matrix, and what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from db.counts import count
from harness.gate.report import RACES, Checked, Ended, GateReport, Item
from harness.report.templating import rendered

FIRST_WAYS = ("postgres", "legacy", "twins")
COMMIT_LENGTH = 12


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One item in the matrix. mark: what is shown; said: the same for those who hear it; anchor: its drill-down."""

    state: str
    mark: str
    label: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A scenario: its folder, its name as a sentence, and a cell a way."""

    area: str
    name: str
    file: str
    cells: tuple[MatrixCell, ...]
    failed: bool


WAYS = {
    "postgres": "every step on Postgres",
    "legacy": "every step on the legacy SQLite file",
    "twins": "the same steps on both stores, compared side by side",
    "fault-cut": "the connection is lost before the server sees the statement",
    "fault-lost": "the connection is lost before the answer arrives; the statement was carried out",
    "fault-outage": "an answer is lost, and the server can't be reached for a while",
    "fault-40001": "SQLSTATE 40001: the server can't serialize the transaction",
    "fault-40P01": "SQLSTATE 40P01: the server ends a deadlock",
    "fault-55P03": "SQLSTATE 55P03: a lock can't be had in time",
    "fault-57014": "SQLSTATE 57014: the server cancels the statement",
    "fault-57P01": "SQLSTATE 57P01: an administrator ends the session",
    "fault-killed": "the service's process is killed",
    "fault-crashed": "a process of the server is killed, and the server recovers",
    "fault-crashed-answered": "the server is killed right after a grant was answered, and recovers",
    "fault-legacy-killed": "the service's process is killed while it plays on the legacy file",
    "fault-legacy-busy": "another process keeps the legacy file locked",
    "fault-legacy-power-cut": "right after a grant was answered, what the legacy file did not sync is lost",
    "fault-none": "no fault: every command is one transaction on the wire",
    RACES: "two sessions at once, in every order of their statements",
}
"""The way in which each column of the matrix plays a scenario, for its tooltip and the legend."""

UNTRUSTED = {
    Checked.UNSIGNED: "Unsigned: anyone can have written or changed it. Staging and production refuse it.",
    Checked.UNCHECKED: "The signature was not checked: there was no GATE_SIGNING_KEY where this page was made, so"
    " anything on it may have been changed.",
    Checked.UNFIT: "The signature does not fit: the JSON was changed after the gate, or another key signed it. Trust"
    " nothing on this page.",
}
"""The first line of the page where it was made again from JSON that nobody vouches for."""


def page(report: GateReport, signature: Checked = Checked.MADE) -> str:
    """Return the whole page; every text in it is escaped, control and bidirectional characters too."""
    ways = _ways(report)
    return rendered(
        "page.html",
        report=report,
        ways=ways,
        rows=_rows(report, ways),
        failures=_failures(report),
        facts=_certificate_lines(report),
        figures=_figures(report),
        about=[(way, WAYS.get(way, "")) for way in ways],
        untrusted=UNTRUSTED.get(signature, ""),
    )


def _ways(report: GateReport) -> list[str]:
    """Return the columns: the stores, twins, each fault, races."""
    tried = dict.fromkeys(_place(item)[1] for item in report.items)
    first = [way for way in FIRST_WAYS if way in tried]
    rest = sorted((way for way in tried if way not in FIRST_WAYS), key=lambda way: (way == RACES, way))
    return first + rest


def _place(item: Item) -> tuple[str, str]:
    """Return the row and the column: a pair of the table has a row of its own, and is a race."""
    return (item.name, RACES) if item.is_pair else (item.file, item.way)


def _rows(report: GateReport, ways: list[str]) -> list[MatrixRow]:
    by_row: dict[str, dict[str, Item]] = {}
    for item in report.items:
        row, column = _place(item)
        by_row.setdefault(row, {})[column] = item
    anchors = {id(item): f"failure-{n}" for n, item in enumerate(_failures(report), start=1)}
    return [
        MatrixRow(*_named(row), row, tuple(_cell(items.get(way), anchors) for way in ways), not _all_passed(items))
        for row, items in sorted(by_row.items(), key=lambda pair: ("::" in pair[0], pair[0]))
    ]


def _named(row: str) -> tuple[str, str]:
    """Return the area and the name of an item."""
    file, _, pair = row.partition("::")
    path = PurePosixPath(file)
    return ("pair", pair.replace("+", " + ")) if pair else (path.parent.name, path.stem.replace("_", " "))


def _all_passed(items: Mapping[str, Item]) -> bool:
    return all(item.passed for item in items.values())


def _cell(item: Item | None, anchors: Mapping[int, str]) -> MatrixCell:
    if item is None:
        return MatrixCell("none", "·", "nothing to try")
    count = item.figure("fired") or item.figure("orders")
    if item.passed:
        return MatrixCell("pass", f"✓ {count}" if count else "✓", f"passed, {count} tried" if count else "passed")
    return MatrixCell("fail", "✗", "failed", anchors[id(item)])


def _failures(report: GateReport) -> list[Item]:
    return [item for item in report.items if not item.passed]


def _certificate_lines(report: GateReport) -> list[tuple[str, str]]:
    """Return the certificate as names and values, line by line."""
    certificate = report.certificate
    shown = {name: value for name, value in certificate.items() if name not in {"signature", "commit", "clean"}}
    signed = certificate.get("signature")
    tree = "clean tree" if certificate.get("clean") else "with uncommitted changes"
    return [
        ("commit", f"{str(certificate.get('commit', ''))[:COMMIT_LENGTH]}, {tree}"),
        *((name.replace("_", " "), _text(value)) for name, value in shown.items()),
        ("signature", str(signed) if signed else "none: staging and production refuse it"),
    ]


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {one}" for name, one in value.items())
    return str(value)


def _figures(report: GateReport) -> list[tuple[str, str, str, str]]:
    """Return the tiles: (what, how much, how that came about, state)."""
    scenarios, twins, faults, races = report.scenarios, report.twins, report.faults, report.races
    counted = [
        ("scenarios", scenarios.count, f"on both stores, {scenarios.failures} failed", scenarios.failures),
        ("twins", twins.count, f"side by side, {twins.failures} failed", twins.failures),
        (
            "faults fired",
            faults.fired,
            f"in {count(faults.cases, 'case')}, {count(faults.failures, 'sweep')} failed",
            faults.failures,
        ),
        ("orders", races.orders, f"of {count(races.count, 'race')}, {races.failures} failed", races.failures),
    ]
    states = {Ended.PASS: "pass", Ended.FAIL: "fail", Ended.INCONCLUSIVE: "none"}
    return [
        *((what, f"{count:,}", how, _state(count, failures)) for what, count, how, failures in counted),
        *((part.name, str(part.verdict), f"{part.seconds:.1f} s", states[part.verdict]) for part in report.parts),
    ]


def _state(count: int, failures: int) -> str:
    return "fail" if failures else "pass" if count else "none"
