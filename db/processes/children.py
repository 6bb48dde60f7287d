"""Starts the programs that a tool needs while it runs. Each program ends with the tool, even after kill -9 of the tool.

Each program runs under `leash.py`, a process that holds one end of a pipe; the tool holds the other end. It costs some
20 ms a program. PR_SET_PDEATHSIG needs no process between, but only Linux has it, it does not reach grandchildren, and
it fires when the starting thread ends. The servers and services of tests use `db.servers.reaper_client` instead, which
also removes folders, containers and databases.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from db import environments
from db.processes.interruption import handled, write_line

SCRIPT = Path(__file__).with_name("leash.py")

LOOK_SECONDS = 0.25
"""How often it is looked whether a program is to stop."""

END_SECONDS = 4.0
"""How long a program may take to end after SIGTERM."""


@contextmanager
def started(
    argv: Sequence[str], *, may_go_on_seconds: float = 0.0, nicer: int = 0, pass_fds: Sequence[int] = (), **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """Start a program in a session of its own, and end its process group when the block is left.

    may_go_on_seconds: how long the program may run after this process has ended; with 0 it is ended at once.
    nicer: added to the program's nice value.
    pass_fds: stay open until the program has ended; the program itself does not inherit them.
    options: those of subprocess.Popen. Without `env`, the program gets this process's variables without secrets.
    """
    options.setdefault("env", environments.child_variables())
    alive, held = os.pipe()
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(alive), str(may_go_on_seconds), str(nicer), *argv]
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


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """The end of a program: its exit code, and the names of the signals that this process got meanwhile."""

    code: int
    signals: tuple[str, ...]


FORCED_AT = 3
"""The number of the signal at which a program that was asked to end is ended."""


def attended(argv: Sequence[str], *, ending: str, interrupt: int = signal.SIGINT, **options: Any) -> ProgramEnd:
    """Run a program whose output is this terminal's, and wait until it has ended, also after Ctrl-C.

    At the first signal that this process gets, the program is sent `interrupt`, so that it can say what it has found;
    at the third its process group is ended. ending: what the program does then, for standard error.
    """
    received: list[str] = []
    # The program is in a session of its own: a terminal's Ctrl-C reaches this process alone. It is passed on once, for
    # pytest drops its summary at a second one.
    with started(argv, **options) as process:

        def pass_on(number: int, _frame: FrameType | None) -> None:
            received.append(signal.Signals(number).name)
            if process.returncode is not None or len(received) > FORCED_AT:
                return
            if len(received) == FORCED_AT:
                write_line(f"{received[-1]}: it is ended now.")
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                return
            again = " Press Ctrl-C once more to end it at once." if len(received) == FORCED_AT - 1 else ""
            write_line(f"{received[-1]}: {ending}{again}")
            if len(received) == 1:
                process.send_signal(interrupt)

        with handled(pass_on):
            code = process.wait()
    return ProgramEnd(code if code >= 0 else 128 - code, tuple(received))


def run(
    argv: Sequence[str],
    *,
    input: str | bytes | None = None,  # noqa: A002  # as subprocess.run names it
    timeout: float | None = None,
    capture_output: bool = False,
    check: bool = False,
    stop: threading.Event | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as subprocess.run does. Raises TimeoutExpired once the program has been ended.

    stop: another thread sets it to end the program; raises Stopped then.
    check: raise CalledProcessError for another exit code than 0.
    """
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with started(argv, **options) as process:
        stdout, stderr = _communicate(process, input, timeout, stop)
    completed = subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
    if check:
        completed.check_returncode()
    return completed


class Stopped(Exception):
    """A program was ended because its `stop` was set."""


def _communicate(
    process: subprocess.Popen[Any], given: str | bytes | None, timeout: float | None, stop: threading.Event | None
) -> tuple[Any, Any]:
    if stop is None:
        return process.communicate(given, timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while not stop.is_set():
        try:
            return process.communicate(given, LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            if deadline is not None and time.monotonic() > deadline:
                raise
    raise Stopped


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
