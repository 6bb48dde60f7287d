"""docs/upkeep.md has the jobs in their order, and the units run tasks that there are."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from db.upkeep import jobs

DOCS = Path(__file__).parents[3] / "docs"
UNITS = sorted((DOCS / "systemd").iterdir())


def test_the_page_lists_the_jobs_in_their_order() -> None:
    page = (DOCS / "upkeep.md").read_text("utf-8")
    assert re.findall(r"(?m)^\| ([^|]+?) \| (?!due)[^-]", page) == list(jobs.NAMES)


def test_a_unit_runs_a_task_of_the_instances_environment() -> None:
    commands = re.findall(r"(?m)^ExecStart=(.*)$", "\n".join(path.read_text("utf-8") for path in UNITS))
    assert sorted(commands) == [
        f"/opt/sudamr/.venv/bin/invoke {task}"
        for task in ("follow --env %i --yes --confirm %i", "upkeep --env %i", "watch --env %i")
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_in_systemds_form(unit: Path, tmp_path: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(unit)
    assert parser.sections()[0] == "Unit"
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here, so systemd itself was not asked")
    named = tmp_path / unit.name.replace("@", "@production")
    text = unit.read_text("utf-8").replace("/opt/sudamr/.venv/bin/invoke", "/bin/true").replace("User=sudamr\n", "")
    named.write_text(text.replace("WorkingDirectory=/opt/sudamr\n", ""))
    if unit.suffix == ".timer":
        service = (DOCS / "systemd" / "sudamr-upkeep@.service").read_text("utf-8")
        (tmp_path / "sudamr-upkeep@production.service").write_text(
            service.replace("/opt/sudamr/.venv/bin/invoke", "/bin/true").replace("User=sudamr\n", "")
        )
    done = subprocess.run(
        [program, "verify", str(named)], capture_output=True, text=True, check=False, env={**os.environ, "LANG": "C"}
    )
    assert done.returncode == 0, done.stderr
