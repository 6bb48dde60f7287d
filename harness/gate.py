"""The gate: proves a commit on throwaway servers, and says with a certificate what that proof is worth.

Every scenario on both stores and side by side, then the whole move and the way back under load. Three-valued: pass,
fail, inconclusive; nothing run is never a pass.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from db import environments, migrate
from db.errors import Failure, Refusal
from db.progress import Progress
from harness import certificate, rehearsal
from harness.certificate import Certificate, Standing

if TYPE_CHECKING:
    from db.console import Outcome

SIGNING_KEY = "GATE_SIGNING_KEY"
SCENARIO_TIMEOUT_SECONDS = 900
MAJOR = 15
"""The major version of every environment's Postgres; a pass on another one proves nothing about it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Test items run, and those of them that failed."""

    count: int
    failures: int


def run(
    environment: str, legacy: Path | None, players: int, postgres: str | None, root: Path, progress: Progress
) -> dict[str, object]:
    """The gate's report as JSON values, its certificate included. Refusal where nothing can be proven at all."""
    environments.check_name(environment)
    began = time.monotonic()
    here = standing(root)
    progress.say(f"1 of 2: every scenario on both stores and side by side (for {environment})")
    tallies = scenarios(root, postgres)
    progress.say("2 of 2: the whole move and the way back, under load, on a throwaway server")
    rehearsed = rehearsal.rehearse(players, legacy, postgres, progress=progress)
    verdict = _verdict(tallies, rehearsed.verdict)
    made = Certificate(
        environment=environment, verdict=verdict, commit=here.commit, clean=here.clean, schema_head=here.schema_head,
        scenario_digest=here.scenario_digest, scenarios=tallies["scenarios"].count, twins=tallies["twins"].count,
        rehearsed_players=players, freeze_seconds=rehearsed.read_only_seconds, server_kind=rehearsed.engine["kind"],
        server_version=rehearsed.engine["version"], made_at=certificate.now().isoformat(timespec="seconds"),
    )  # fmt: skip
    return {
        "verdict": verdict,
        "scenarios": tallies["scenarios"],
        "twins": tallies["twins"],
        "rehearsal": rehearsed,
        "seconds": round(time.monotonic() - began, 3),
        "certificate": made.signed(environments.secret(SIGNING_KEY)),
    }


def verify(environment: str, path: Path, root: Path) -> Certificate:
    """The certificate at `path`, if it admits this commit to the environment; else a Refusal naming what does not."""
    environments.check_name(environment)
    key = environments.secret(SIGNING_KEY)
    return certificate.verify(path, environment, standing(root), key=key, now=certificate.now(), major=MAJOR)


def standing(root: Path) -> Standing:
    """What is true of this checkout."""
    return Standing(
        commit=_git(root, "rev-parse", "HEAD"),
        clean=not _git(root, "status", "--porcelain"),
        schema_head=migrate.head(),
        scenario_digest=certificate.digest_of(root / "scenarios"),
    )


def scenarios(root: Path, postgres: str | None) -> dict[str, Tally]:
    """Runs every scenario in a pytest of its own; counts by kind: scenarios (each store) and twins."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "scenarios.xml"
        options = [f"--postgres={postgres}"] if postgres else []
        command = [sys.executable, "-m", "pytest", "scenarios", "-n", "2", "-q", f"--junitxml={report}", *options]
        done = subprocess.run(
            command, cwd=root, check=False, capture_output=True, text=True, timeout=SCENARIO_TIMEOUT_SECONDS
        )
        if not report.exists() or done.returncode not in {0, 1}:
            raise Failure("a run of the scenarios", f"pytest's exit code {done.returncode}: {_last(done.stdout)}")
        return _tallies(report)


def _tallies(report: Path) -> dict[str, Tally]:
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest, a moment ago
        kind = "twins" if case.get("name", "").endswith("twins") else "scenarios"
        counts[kind] += 1
        failures[kind] += case.find("failure") is not None or case.find("error") is not None
    return {kind: Tally(counts[kind], failures[kind]) for kind in ("scenarios", "twins")}


def _verdict(tallies: dict[str, Tally], rehearsed: str) -> str:
    if any(tally.failures for tally in tallies.values()) or rehearsed == "fail":
        return "fail"
    return "pass" if rehearsed == "pass" and all(tally.count for tally in tallies.values()) else "inconclusive"


def show(report: dict[str, object], speaks: Outcome) -> None:
    """The report for people."""
    rehearsed = report["rehearsal"]
    rows: list[tuple[str, object]] = []
    for kind in ("scenarios", "twins"):
        tally = report[kind]
        if isinstance(tally, Tally):
            rows.append((kind, f"{tally.count} run, {tally.failures} failed"))
    if isinstance(rehearsed, rehearsal.RehearsalReport):
        rows.append(("rehearsal", f"{rehearsed.verdict}; read-only for {rehearsed.read_only_seconds:.1f} s"))
    rows.append(("verdict", report["verdict"]))
    speaks.table("gate", ("what", "found"), rows)


def _last(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "no output"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refusal("a git checkout, to name the commit", done.stderr.strip() or "git failed", where=str(root))
    return done.stdout.strip()
