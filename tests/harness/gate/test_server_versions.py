"""The newer versions of Postgres: migrations, snapshots by that version's programs, scenarios, the move and back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from db import environments, servers
from db.console.progress import Silent
from db.errors import Refusal
from harness import rehearsal
from harness.gate import parts
from harness.gate.report import Ended

ROOT = Path(__file__).parents[3]
VERSIONS = {"embedded": "16.", "embedded18": "18."}
SLICE = ("scenarios/forge", "tests/db/transfer/test_transfer_round_trip.py", "tests/db/snapshots/test_snapshots.py")


@pytest.fixture(params=VERSIONS)
def kind(request: pytest.FixtureRequest) -> str:
    asked = str(request.param)
    try:
        chosen = servers.plan(asked)
    except Refusal as error:
        pytest.skip(f"PostgreSQL {VERSIONS[asked]}x is not tested: {error.found}")
    assert chosen.provider.version().startswith(VERSIONS[asked])
    return asked


@pytest.mark.core
@pytest.mark.plan(31)
def test_migrations_and_a_backup_pass_on_it(kind: str) -> None:
    tried, _ = parts.run(kind, 3, Silent())
    assert [(part.name, part.verdict, part.problems) for part in tried] == [
        ("migrations", Ended.PASS, ()),
        ("backup", Ended.PASS, ()),
    ]


def test_a_rehearsal_passes_on_it_and_names_the_server_and_its_programs(kind: str) -> None:
    report = rehearsal.rehearse(40, None, kind, progress=Silent())
    assert (report.verdict, report.rollback.verdict, report.every_problem) == ("pass", "pass", ())
    assert report.engine["kind"] == kind
    assert report.engine["version"].startswith(VERSIONS[kind])
    assert report.engine["programs"] == f"pg_dump {report.engine['version']}"


def test_scenarios_transfer_and_snapshots_pass_on_it(kind: str) -> None:
    command = [sys.executable, "-m", "pytest", *SLICE, "-q", "-n0", "-p", "no:cacheprovider", f"--postgres={kind}"]
    variables = environments.child_variables({"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""})
    done = subprocess.run(command, cwd=ROOT, env=variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"postgres: {kind} {VERSIONS[kind]}" in done.stdout
