"""The supervisor: holds the ports, runs one process on each, and starts them anew on SIGHUP.

It holds the listening sockets itself, so a request that comes during a restart waits for the new process instead of
being refused; old and new never serve at the same time. It handles signals one at a time, where it waits for them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from game import settings
from game.errors import BadSettings, GameError
from game.service.watching import logger
from game.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)
BACKLOG = 2048
PATIENCE_SECONDS = 10.0
"""For a process to end by itself; it gives its requests in flight a little less."""

RESTART_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Before a process that died by itself is started again, the first time, the second …; a minute of life resets it."""

STEADY_SECONDS = 60.0


class CannotStart(GameError):
    """A port or the pidfile is not to be had."""


@dataclass(slots=True)
class Slot:
    """One port and the process on it; `due` is when to start one that died, by the monotonic clock."""

    listener: socket.socket
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    deaths: int = 0
    due: float | None = None


def run(first: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0. Raises CannotStart."""
    signal.signal(signal.SIGCHLD, _noted)  # Without a handler some systems drop it, blocked or not.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with _pidfile(first.pidfile):
        slots = _listen(first)
        try:
            _start(slots)
            return _mind(slots, first)
        finally:
            _stop(slots)


def _mind(slots: list[Slot], current: Settings) -> int:
    """Wait for signals, and do what each asks for."""
    while True:
        match signal.sigwait(SIGNALS):
            case signal.SIGHUP:
                current = _restart(slots, current)
            case signal.SIGCHLD:
                _note_deaths(slots)
            case signal.SIGALRM:
                _start([slot for slot in slots if slot.due is not None and slot.due <= time.monotonic()])
            case told:
                logger().info("stopping", signal=signal.Signals(told).name)
                return 0
        _set_alarm(slots)


def _restart(slots: list[Slot], current: Settings) -> Settings:
    """Every process anew, by the settings as they stand now; where those are wrong, everything stays as it is."""
    try:
        new = settings.load()
    except BadSettings as error:
        logger().error("restart_refused", detail=str(error))
        return current
    logger().info("restarting", processes=new.processes)
    _stop(slots, close=False)
    if (new.host, new.port, new.processes) != (current.host, current.port, current.processes):
        _close(slots)
        slots[:] = _listen(new)
    for slot in slots:
        slot.deaths = 0
    _start(slots)
    return new


def _listen(on: Settings) -> list[Slot]:
    family = socket.AF_INET6 if ":" in on.host else socket.AF_INET
    slots: list[Slot] = []
    for port in range(on.port, on.port + on.processes):
        try:
            slots.append(Slot(socket.create_server((on.host, port), family=family, backlog=BACKLOG)))
        except OSError as error:
            _close(slots)
            raise CannotStart(f"expected {on.host}:{port} to be free; found: {os.strerror(error.errno or 0)}") from None
    return slots


def _start(slots: list[Slot]) -> None:
    for slot in slots:
        number = slot.listener.fileno()
        slot.process = subprocess.Popen(
            [sys.executable, "-m", "game.service.child", str(number)], stdin=subprocess.PIPE, pass_fds=(number,)
        )
        slot.since, slot.due = time.monotonic(), None
        logger().info("started", child=slot.process.pid, port=slot.listener.getsockname()[1])


def _note_deaths(slots: list[Slot]) -> None:
    for slot in slots:
        if slot.process is None or slot.process.poll() is None:
            continue
        now = time.monotonic()
        slot.deaths = 0 if now - slot.since > STEADY_SECONDS else slot.deaths
        delay = RESTART_SECONDS[min(slot.deaths, len(RESTART_SECONDS) - 1)]
        logger().error("died", child=slot.process.pid, code=slot.process.returncode, restart_in_seconds=delay)
        _forget(slot)
        slot.deaths += 1
        slot.due = now + delay


def _set_alarm(slots: list[Slot]) -> None:
    waits = [slot.due - time.monotonic() for slot in slots if slot.due is not None]
    signal.setitimer(signal.ITIMER_REAL, max(0.01, min(waits)) if waits else 0)


def _stop(slots: list[Slot], *, close: bool = True) -> None:
    """End every process, kindly at first; all at once, so that it takes as long as the slowest."""
    running = [slot.process for slot in slots if slot.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger().error("killed", child=process.pid, after_seconds=PATIENCE_SECONDS)
            process.kill()
            process.wait()
    for slot in slots:
        _forget(slot)
    if close:
        _close(slots)


def _forget(slot: Slot) -> None:
    """Let go of an ended process, and of the pipe that told it that we live."""
    if slot.process is not None and slot.process.stdin is not None:
        slot.process.stdin.close()
    slot.process, slot.due = None, None


def _close(slots: list[Slot]) -> None:
    for slot in slots:
        slot.listener.close()


@contextmanager
def _pidfile(path: Path | None) -> Iterator[None]:
    """Our process id in the file for as long as we run; another's that took it over is left alone."""
    if path is None:
        yield
        return
    mine = f"{os.getpid()}\n"
    try:
        path.write_text(mine)
    except OSError as error:
        raise CannotStart(f"expected to write the pidfile {path}; found: {error.strerror}") from None
    try:
        yield
    finally:
        if path.is_file() and path.read_text() == mine:
            path.unlink()


def _noted(_number: int, _frame: object) -> None:
    """A child changed; `sigwait` tells."""
