"""Starts the programs that a tool needs while it runs. Each program ends with the tool, even after kill -9 of the tool.

Each program runs under `leash.py`, a process that holds one end of a pipe; the tool holds the other end. It costs some
20 ms a program. PR_SET_PDEATHSIG needs no process between, but only Linux has it, it does not reach grandchildren, and
it fires when the starting thread ends. The servers and services of tests use `db.servers.guard` instead, which also
removes folders, containers and databases.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("leash.py")

END_SECONDS = 4.0
"""How long a program may take to end after SIGTERM."""


@contextmanager
def started(
    argv: Sequence[str], *, may_go_on_seconds: float = 0.0, pass_fds: Sequence[int] = (), **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Start a program in a session of its own, and end its process group when the block is left.

    may_go_on_seconds: how long the program may run after this process has ended; with 0 it is ended at once.
    pass_fds: stay open until the program has ended; the program itself does not inherit them.
    options: those of subprocess.Popen.
    """
    alive, held = os.pipe()
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(alive), str(may_go_on_seconds), *argv]
    try:
        try:
            process = subprocess.Popen(command, pass_fds=(alive, *pass_fds), start_new_session=True, **options)
        finally:
            os.close(alive)
        with process:
            try:
                yield process
            finally:
                end(process)
    finally:
        os.close(held)


def run(
    argv: Sequence[str],
    *,
    input: str | bytes | None = None,  # noqa: A002  # as subprocess.run names it
    timeout: float | None = None,
    capture_output: bool = False,
    check: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as subprocess.run does. Raises TimeoutExpired once the program has been ended.

    check: raise CalledProcessError for another exit code than 0.
    """
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with started(argv, **options) as process:
        stdout, stderr = process.communicate(input, timeout)
    completed = subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
    if check:
        completed.check_returncode()
    return completed


def end(process: subprocess.Popen[Any], *, patience_seconds: float = END_SECONDS) -> None:
    """Send SIGTERM to the program's process group, and kill it when the patience is used up. Safe to call again."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill the program's process group at once. Safe to call again."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
