"""The README is run: its commands exist, and CI calls the one that it gives for the tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    return [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.strip().splitlines()]


def test_the_first_two_commands_set_up_rehearse_and_test() -> None:
    first, second = commands()[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith(".venv/bin/invoke rehearse")
    assert second == ".venv/bin/invoke test"


def test_ci_installs_and_tests_as_the_readme_says() -> None:
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    first, second = commands()[:2]
    for step in [*first.split(" && ")[:-1], second]:
        assert step in ci


def test_every_task_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`invoke ([a-z.]+)", README))
    for task in sorted(named):
        done = subprocess.run(
            [Path(sys.executable).parent / "invoke", "--help", task],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, task
    assert len(named) > 8


def test_every_file_that_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
