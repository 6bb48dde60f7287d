"""Ctrl-C at a terminal: the command waits for what it runs, whose findings are printed, and nothing stays behind."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[1]
CTRL_C = b"\x03"
SECONDS = 300.0

SETTINGS = """
[tool.pytest.ini_options]
addopts = "-p harness.pytest_plugin.plugin -p no:cacheprovider"
testpaths = ["tests"]
"""

TESTS = """
import pathlib, threading, pytest

def test_fails():
    assert 1 == 2, "the first failure"

@pytest.mark.parametrize("n", range(2))
def test_goes_on(n):
    pathlib.Path(f"reached-{n}").touch()
    threading.Event().wait(120)
"""


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, python: Path = Path(sys.executable)) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # A run in the background ignores it, and hands that on.
            os.chdir(folder)
            os.environ |= {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1", "PYTEST_ADDOPTS": ""}
            os.execv(python, [str(python), "-m", "invoke", *arguments])
        self._process = psutil.Process(self.pid)
        self._started: set[psutil.Process] = set()
        self._printed = b""

    def read_until(self, reached: Callable[[], bool]) -> None:
        """Read what is printed until the condition holds. Fails after some minutes: xdist starts slowly."""
        deadline = time.monotonic() + SECONDS
        while not reached():
            assert time.monotonic() < deadline, self._printed.decode(errors="replace")
            if select.select([self._terminal], [], [], 0.05)[0]:
                chunk = self._read()
                assert chunk, self._printed.decode(errors="replace")
                self._printed += chunk

    def saw(self, pattern: bytes) -> bool:
        """Return True if this was printed: a worker tells its failure a little later than it has it."""
        return re.search(pattern, self._printed, re.MULTILINE) is not None

    def press(self, key: bytes) -> None:
        self._started |= set(self._process.children(recursive=True))
        os.write(self._terminal, key)

    def end(self) -> tuple[str, int]:
        """Return what was printed, and the exit code. Asserts that nothing that it started is left."""
        printed = b""
        while chunk := self._read():
            printed += chunk
        os.close(self._terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        until(lambda: [str(each) for each in self._started if each.is_running()])
        return (self._printed + printed).decode(errors="replace").replace("\r\n", "\n"), code

    def _read(self) -> bytes:
        try:
            return os.read(self._terminal, 65536)
        except OSError:  # EIO: the last process of the terminal has ended.
            return b""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tasks.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_tiny.py").write_text(TESTS)
    return tmp_path


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_failures_so_far_are_printed_and_the_exit_code_is_pytests(
    project: Path, workers: int, presses: int, pytestconfig: pytest.Config
) -> None:
    kind = pytestconfig.getoption("--postgres") or "local"
    terminal = Terminal(project, "test", "--postgres", kind, "--workers", str(workers))
    terminal.read_until(lambda: any(project.glob("reached-*")) and terminal.saw(rb"(^|[\s.])F(?![a-z])"))
    for _ in range(presses):
        terminal.press(CTRL_C)
    printed, code = terminal.end()
    assert code == pytest.ExitCode.INTERRUPTED, printed
    assert "SIGINT: the tests end; the failures so far follow." in printed
    assert "FAILED tests/test_tiny.py::test_fails - AssertionError: the first failure" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("presses", [1, 2])
@pytest.mark.parametrize(
    "command",
    [
        ("rehearse", "--players", "5"),
        ("bench.databases", "--rounds", "1", "--containers", "0"),
        ("bench.actions", "--rounds", "1"),
        ("audit",),
        ("gate", "--env", "test", "--players", "5"),
    ],
    ids=lambda command: command[0],
)
def test_what_runs_for_long_ends_with_130_and_names_the_command_again(
    command: tuple[str, ...], presses: int, pytestconfig: pytest.Config
) -> None:
    given = (*command, "--postgres", pytestconfig.getoption("--postgres") or "local")
    terminal = Terminal(ROOT, *given)
    terminal.read_until(lambda: terminal.saw(rb"Postgres|1 of 3"))
    for _ in range(presses):
        terminal.press(CTRL_C)
    printed, code = terminal.end()
    assert code == 130, printed
    assert "Traceback" not in printed
    assert "Popen" not in printed
    ended = [line for line in printed.replace("^C", "").splitlines() if line.startswith(("interrupted", "next"))]
    assert ended == ["interrupted by SIGINT", f"next: invoke {' '.join(given)}"], printed


LINTED = """
#!/bin/sh
touch reached-$$
exec sleep 120
"""


def test_lint_ends_at_the_check_that_runs_with_130(project: Path) -> None:
    programs = project / "environment" / "bin"
    shutil.copytree(Path(sys.executable).parent, programs, symlinks=True)
    (project / "environment" / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", project / "environment")
    (programs / "ruff").write_text(LINTED.lstrip())
    terminal = Terminal(project, "lint", python=programs / Path(sys.executable).name)
    terminal.read_until(lambda: any(project.glob("reached-*")))
    terminal.press(CTRL_C)
    printed, code = terminal.end()
    assert code == 130, printed
    assert printed.strip().splitlines()[-2:] == ["interrupted by SIGINT", "next: invoke lint"]
    assert printed.count("$ ruff") == 1
