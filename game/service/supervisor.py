"""The supervisor: holds the ports, runs one process on each, and replaces them all on SIGHUP.

It holds the listening sockets itself, so a request that comes between the old process and the new one waits instead of
being refused; the two never serve at the same time. It handles signals one at a time, where it waits for them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from game import paths, settings
from game.errors import BadSettings, GameError
from game.service.logs import logger
from game.service.process import Process, end
from game.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)
BACKLOG = 2048
RESTART_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Before a process that died by itself is started again, the first time, the second …; a minute of life resets it."""

STEADY_SECONDS = 60.0

Address = tuple[str, int]


class CannotStart(GameError):
    """A port or the pidfile is not to be had, or a process does not load."""


@dataclass(slots=True)
class Slot:
    """One port and the process on it; `due` is when to start one that died, by the monotonic clock."""

    address: Address
    listener: socket.socket
    process: Process | None = None
    deaths: int = 0
    due: float | None = None


def run(first: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0. Raises CannotStart."""
    signal.signal(signal.SIGCHLD, _noted)  # Without a handler some systems drop it, blocked or not.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with _pidfile(first.pidfile):
        slots = _listen(first, [])
        try:
            _renew(slots)
            return _mind(slots)
        finally:
            _end([slot.process for slot in slots if slot.process is not None])
            _close(slots)


def _mind(slots: list[Slot]) -> int:
    """Wait for signals, and do what each asks for."""
    while True:
        match signal.sigwait(SIGNALS):
            case signal.SIGHUP:
                slots[:] = _restart(slots)
            case signal.SIGCHLD:
                _note_deaths(slots)
            case signal.SIGALRM:
                _revive(slots)
            case told:
                logger().info("stopping", signal=signal.Signals(told).name)
                return 0
        _set_alarm(slots)


def _restart(slots: list[Slot]) -> list[Slot]:
    """Every process anew, by the settings as they stand now; where those won't do, everything stays as it is."""
    logger().info("restarting")
    fresh: list[Slot] = []
    try:
        fresh = _listen(settings.load(), slots)
        _renew(fresh)
    except (BadSettings, CannotStart) as error:
        logger().error("restart_refused", detail=str(error))
        _close([slot for slot in fresh if slot not in slots])
        return slots
    left = [slot for slot in slots if slot not in fresh]
    _end([slot.process for slot in left if slot.process is not None])
    _close(left)
    return fresh


def _listen(on: Settings, have: list[Slot]) -> list[Slot]:
    """A slot for each port: the one that we have, or a new one. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in on.host else socket.AF_INET
    ours = {slot.address: slot for slot in have}
    slots: list[Slot] = []
    for address in [(on.host, on.port + n) for n in range(on.processes)]:
        try:
            slots.append(
                ours.get(address) or Slot(address, socket.create_server(address, family=family, backlog=BACKLOG))
            )
        except OSError as error:
            _close([slot for slot in slots if slot not in have])
            found = os.strerror(error.errno) if error.errno else str(error)
            raise CannotStart(f"expected {address[0]}:{address[1]} to be free; found: {found}") from None
    return slots


def _renew(slots: list[Slot]) -> None:
    """A new process for each slot: all load while the old ones serve, then those end, then the new ones begin."""
    fresh = [Process(slot.listener) for slot in slots]
    if not all(process.loaded() for process in fresh):
        codes = [process.code for process in fresh]
        _end(fresh)
        raise CannotStart(f"expected every process to load; found exit codes {codes} (None: too slow)")
    _end([slot.process for slot in slots if slot.process is not None])
    for slot, process in zip(slots, fresh, strict=True):
        slot.process, slot.deaths, slot.due = process, 0, None
        process.serve()
        logger().info("started", child=process.pid, port=slot.address[1])


def _revive(slots: list[Slot]) -> None:
    """Start what has been dead for long enough; one that does not even load is a death like any other."""
    for slot in slots:
        if slot.due is not None and slot.due <= time.monotonic():
            slot.process, slot.due = Process(slot.listener), None
            slot.process.serve()
            logger().info("started", child=slot.process.pid, port=slot.address[1])


def _note_deaths(slots: list[Slot]) -> None:
    for slot in slots:
        if slot.process is None or slot.process.code is None:
            continue
        now = time.monotonic()
        slot.deaths = 0 if now - slot.process.since > STEADY_SECONDS else slot.deaths
        delay = RESTART_SECONDS[min(slot.deaths, len(RESTART_SECONDS) - 1)]
        logger().error("died", child=slot.process.pid, code=slot.process.code, restart_in_seconds=delay)
        slot.process.close()
        slot.process, slot.deaths, slot.due = None, slot.deaths + 1, now + delay


def _set_alarm(slots: list[Slot]) -> None:
    waits = [slot.due - time.monotonic() for slot in slots if slot.due is not None]
    signal.setitimer(signal.ITIMER_REAL, max(0.01, min(waits)) if waits else 0)


def _end(processes: list[Process]) -> None:
    for process in end(processes):
        logger().error("killed", child=process.pid)


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
        raise CannotStart(
            f"expected to write the pidfile {path}; found {paths.found(path)}: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        if path.is_file() and path.read_text() == mine:
            path.unlink()


def _noted(_number: int, _frame: object) -> None:
    """A child changed; `sigwait` tells."""
