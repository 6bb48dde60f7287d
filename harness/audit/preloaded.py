"""Runs pytest again and again in forks of one process that has loaded what the project depends on.

Loading that takes some 3 s of CPU, a fork some 10 ms. Nothing of the project is loaded before a fork, so each run reads
the files as they stand. `ForkedPytest` is the side of the audit; run as a script, this file is the process that forks.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

PRELOADED = (
    "alembic.command",
    "docker",
    "fastapi",
    "httpx",
    "hypothesis.strategies",
    "hypothesis.stateful",
    "pydantic_settings",
    "psycopg",
    "psycopg_pool",
    "rich.console",
    "ruamel.yaml",
    "schemathesis",
    "sqlalchemy.dialects.postgresql",
    "testcontainers.community.postgres",
    "xdist",
    "faker",
    "faker.providers",
)
"""Modules that a collection of tests loads and the project does not contain; one that is not installed is left out."""

LOOK_SECONDS = 0.25
LATE = -1
"""The code of a run that did not end in time."""


class _Request(TypedDict):
    """A run: pytest's arguments, settings added to the environment, where its output goes, and how long it may take."""

    arguments: list[str]
    settings: dict[str, str]
    output: str
    seconds: float


class Stopped(Exception):
    """Another thread asked for the end."""


class ForkedPytest:
    """The process that forks, as the audit sees it. Not safe for two threads at once."""

    def __init__(self, folder: Path, environment: Mapping[str, str], stopping: threading.Event) -> None:
        self._folder, self._environment, self._stopping = folder, environment, stopping
        self._process: subprocess.Popen[Any] | None = None
        self._stack = ExitStack()

    def run(self, arguments: Sequence[str], settings: Mapping[str, str], seconds: float) -> tuple[int, str]:
        """Return pytest's exit code (LATE: it did not end in time) and its output. Raises Stopped if asked to stop."""
        output = self._folder / ".pytest-output"
        process = self._started()
        request = _Request(arguments=[*arguments], settings={**settings}, output=str(output), seconds=seconds)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        while not select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
            if self._stopping.is_set():
                self.close()
                raise Stopped
        answer = process.stdout.readline()
        if not answer:
            raise ChildProcessError(f"the process that forks pytest ended: {process.wait()}")
        text = output.read_text("utf-8", errors="replace")
        output.unlink()
        return int(answer), text

    def close(self) -> None:
        """End the process and what it runs."""
        self._stack.close()
        self._process = None

    def _started(self) -> subprocess.Popen[Any]:
        from db.processes import children  # noqa: PLC0415  # not in the process that forks: it loads the project

        if self._process is None:
            self._process = self._stack.enter_context(
                children.started(
                    [sys.executable, "-P", str(self._folder / "harness/audit/preloaded.py")],
                    cwd=self._folder,
                    env={**self._environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
        return self._process


def _serve() -> None:
    """Answer each request with the exit code of its run; returns in a fork alone, which then runs pytest."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for line in sys.stdin.buffer:
        request: _Request = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _become(request)
            return
        print(_waited(child, time.monotonic() + request["seconds"]), flush=True)  # noqa: T201
    os._exit(0)


def _become(request: _Request) -> None:
    """Make the fork a pytest of its own: its output, its arguments, its environment."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(request["settings"])
    sys.argv = ["pytest", *request["arguments"]]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m pytest` has it


def _waited(child: int, until: float) -> int:
    pause = 0.005
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)
    _end_tree(child)
    os.waitpid(child, 0)
    return LATE


def _end_tree(child: int) -> None:
    import psutil  # noqa: PLC0415  # seldom needed

    for process in (*psutil.Process(child).children(recursive=True), psutil.Process(child)):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    _serve()
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)
