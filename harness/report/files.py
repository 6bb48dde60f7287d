"""Reads a gate's report from a file, and writes its page and its other forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter

from db import environments
from db.errors import Refusal
from db.files import json_files, private
from db.signing import SIGNING_KEY
from harness.gate import certificate as certificates
from harness.gate.certificate import A_REPORT, MAKE_ONE
from harness.gate.report import Checked, GateReport, ItemKind, count_files, sweeps
from harness.report.junit import junit
from harness.report.page import page
from harness.report.summary import summary

_REPORTS = TypeAdapter(GateReport)


def checked(path: Path) -> Checked:
    """Return whether the signature of the gate's JSON fits the key that is exported, or in .env."""
    certificate, given, rest = certificates.read(path)
    key = environments.secret(SIGNING_KEY)
    if given is None:
        return Checked.UNSIGNED
    if not key:
        return Checked.UNCHECKED
    return Checked.FITS if certificates.fits(certificate, given, rest, key) else Checked.UNFIT


def read(path: Path) -> GateReport:
    """Return a gate's report from its JSON. Raises Refusal if there is none, or if it contradicts its certificate."""
    report = json_files.load_json(path, _REPORTS, A_REPORT, do=MAKE_ONE)
    if contradictions := ", ".join(_contradicted(report)):
        raise Refusal(
            "the JSON that a gate wrote, unchanged",
            f"its certificate says otherwise: {json_files.shown(contradictions, 200)}",
            where=str(path),
            do=f"The file was changed since. {MAKE_ONE}",
        )
    return report


def _contradicted(report: GateReport) -> Iterator[str]:
    """Return where the items contradict the certificate, which alone is signed."""
    faults, races = sweeps(report.items, ItemKind.FAULTS), sweeps(report.items, ItemKind.RACES)
    reported = {
        "verdict": str(report.verdict),
        "environment": report.environment,
        "scenarios": report.scenarios.count,
        "twins": report.twins.count,
        "faults_fired": report.faults.fired,
        "race_orders": report.races.orders,
    }
    yield from (f"{name} {value}" for name, value in reported.items() if report.certificate.get(name) != value)
    counted = (count_files(report.items, ItemKind.SCENARIOS), count_files(report.items, ItemKind.TWINS), faults, races)
    if counted != (report.scenarios, report.twins, report.faults, report.races):
        yield "the counts of the items"


def write(report: GateReport, into: Path, signature: Checked = Checked.MADE) -> list[Path]:
    """Write the page at `into` and JUnit XML beside it; under GitHub's runner also add to its summary.

    signature: what is known of it, for the page to say.
    """
    private.make_folder(into.parent)
    private.write(into, page(report, signature))
    beside = into.with_suffix(".xml")
    private.write(beside, junit(report))
    written = [into, beside]
    if (steps := add_to_summary(summary(report))) is not None:
        written.append(steps)
    return written


def add_to_summary(markdown: str) -> Path | None:
    """Add Markdown to the summary of the step that GitHub's runner carries out; return its file, None elsewhere."""
    steps = environments.step_summary()
    if steps is not None:
        with steps.open("a", encoding="utf-8") as file:
            file.write(markdown)
    return steps
