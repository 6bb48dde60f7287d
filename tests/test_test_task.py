"""`invoke test` in a project of a few tests: its exit codes are a task's, a selection is checked first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import Refusal
from harness.pytest_plugin import selecting

ROOT = Path(__file__).parents[1]
SETTINGS = '[tool.pytest.ini_options]\naddopts = "-p harness.pytest_plugin.plugin -p no:cacheprovider"\n'
PASSES, FAILS = "def test_passes():\n    pass\n", "def test_fails():\n    assert False\n"
BREAKS = "def pytest_collection_finish():\n    raise RuntimeError('of pytest itself')\n"


class Project:
    """A folder with the tasks, and with tests of its own."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self._kind = folder, kind
        shutil.copy(ROOT / "tasks.py", folder)
        self.write("pyproject.toml", SETTINGS)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def test(self, *options: str) -> tuple[int, str]:
        """Run `invoke test`, and return its exit code and all that it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "test", "--postgres", self._kind, *options],
            cwd=self.folder,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "PYTEST_ADDOPTS": ""},
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, "local")


def test_the_exit_codes_are_those_of_a_task(project: Project) -> None:
    project.write("test_a.py", PASSES + FAILS)
    assert project.test("--select", "passes", "--workers", "0")[0] == 0
    code, printed = project.test("--workers", "1", "--select", "such and not such")
    assert (code, "expected a test to run; found none whose name matches 'such and not such'" in printed) == (2, True)
    assert "$ pytest -n 1 --dist worksteal --postgres=local -k 'such and not such'" in printed
    project.write("conftest.py", BREAKS)
    code, printed = project.test("--workers", "0")
    assert (code, "of pytest itself" in printed) == (1, True), printed


@pytest.mark.parametrize(("pytests", "ours"), [(0, 0), (1, 1), (2, 2), (3, 1), (4, 2), (130, 130), (143, 143)])
def test_each_code_of_pytest_has_a_meaning(pytests: int, ours: int) -> None:
    assert selecting.exit_code(pytests, "forge") == ours


@pytest.mark.parametrize("select", ["w2 and (", "a b", "not", "'x'", "password=hidden ("])
def test_a_selection_that_can_not_be_read_is_refused(select: str) -> None:
    with pytest.raises(Refusal, match="--select: expected words of tests' names") as refused:
        selecting.check(select)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("select", ["w2 and (", ""])
def test_it_is_refused_before_anything_is_collected(project: Project, select: str) -> None:
    code, printed = project.test("--select", select)
    assert code == 2
    assert "--select" in printed
    assert [word for word in ("$ pytest", "-k", "Traceback") if word in printed] == []
    assert len(printed.strip().splitlines()) <= 2, printed
