"""The supervisor: holds the ports, runs one process on each, and replaces them all on SIGHUP.

It holds the listening sockets itself, so no request is refused between the old process and the new one: each connection
is taken by one of them. It handles signals one at a time, where it waits for them.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from game import paths, settings
from game.errors import BadSettings, GameError
from game.legacy.digests import shared_memory
from game.service.logs import logger
from game.service.process import WAITING, Process, end, ended
from game.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)
RESTART_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Before a process that died by itself is started again, the first time, the second …; a minute of life resets it."""

STEADY_SECONDS = 60.0

Address = tuple[str, int]


class CannotStart(GameError):
    """A port or the pidfile is not to be had, or a process does not load."""


@dataclass(slots=True)
class WorkerSlot:
    """Two ports, public and private, and the process on them.

    digests: memory that all processes share; see `DigestSet`. due: when to start one that died, by the monotonic clock.
    """

    addresses: tuple[Address, Address]
    listeners: tuple[socket.socket, socket.socket]
    digests: int
    process: Process | None = None
    deaths: int = 0
    due: float | None = None


def run(first: Settings) -> int:
    """Serve until SIGTERM or SIGINT; 0. Raises CannotStart."""
    signal.signal(signal.SIGCHLD, _noted)  # Without a handler some systems drop it, blocked or not.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with _pidfile(first.pidfile):
        digests = shared_memory()
        slots = _listen(first, [], digests)
        try:
            _renew(slots)
            return _mind(slots, digests)
        finally:
            _end([slot.process for slot in slots if slot.process is not None])
            _close(slots)


def _mind(slots: list[WorkerSlot], digests: int) -> int:
    """Wait for signals, and do what each asks for."""
    while True:
        match signal.sigwait(SIGNALS):
            case signal.SIGHUP:
                slots[:] = _restart(slots, digests)
            case signal.SIGCHLD:
                _note_deaths(slots)
            case signal.SIGALRM:
                _revive(slots)
            case told:
                logger().info("stopping", signal=signal.Signals(told).name)
                return 0
        _set_alarm(slots)


def _restart(slots: list[WorkerSlot], digests: int) -> list[WorkerSlot]:
    """Restart every process by the settings as they stand now; where those won't do, everything stays as it is."""
    logger().info("restarting")
    fresh: list[WorkerSlot] = []
    try:
        fresh = _listen(settings.load(), slots, digests)
        _renew(fresh)
    except (BadSettings, CannotStart) as error:
        logger().error("restart_refused", detail=str(error))
        _close([slot for slot in fresh if slot not in slots])
        return slots
    left = [slot for slot in slots if slot not in fresh]
    _end([slot.process for slot in left if slot.process is not None])
    _close(left)
    return fresh


def _listen(on: Settings, have: list[WorkerSlot], digests: int) -> list[WorkerSlot]:
    """Return a slot for each pair of ports: the one that we have, or a new one. Raises CannotStart."""
    slots_by_address = {slot.addresses: slot for slot in have}
    first = settings.private_port(on)
    slots: list[WorkerSlot] = []
    with ExitStack() as failed:
        for n in range(on.processes):
            addresses = ((on.host, on.port + n), (on.private_host, first + n))
            slot = slots_by_address.get(addresses)
            if slot is None:
                public = failed.enter_context(_listener(addresses[0], "PORT (invoke serve: --port)"))
                private = failed.enter_context(_listener(addresses[1], "PRIVATE_PORT"))
                slot = WorkerSlot(addresses, (public, private), digests)
            slots.append(slot)
        failed.pop_all()
    return slots


def _listener(address: Address, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=WAITING)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotStart(
            f"expected {address[0]}:{address[1]} to be free; found: {reason}."
            f" End what listens there (ss -ltnp 'sport = :{address[1]}' names it), or choose another {setting}"
        ) from None


def _renew(slots: list[WorkerSlot]) -> None:
    """Start a new process for each slot. When all have loaded, tell each old one to end and its successor to serve.

    The old one finishes its requests, and waits half a second for one on its way. Beside old ones the new ones load one
    after the other: each needs a processor for most of a second, and players want it.
    """
    fresh: list[Process] = []

    def started(slot: WorkerSlot) -> Process:
        fresh.append(Process(slot.listeners, slot.digests, beside=beside))
        return fresh[-1]

    beside = any(slot.process is not None for slot in slots)
    loading = (started(slot) for slot in slots) if beside else [started(slot) for slot in slots]
    if not all(process.loaded() for process in loading):
        codes = [process.code for process in fresh]
        _end(fresh)
        raise CannotStart(f"expected every process to load; found exit codes {codes} (None: too slow)")
    old = [slot.process for slot in slots if slot.process is not None]
    for slot, process in zip(slots, fresh, strict=True):
        if slot.process is not None:
            slot.process.terminate()
        slot.process, slot.deaths, slot.due = process, 0, None
        process.serve()
        logger().info("started", child=process.pid, port=slot.addresses[0][1], private=slot.addresses[1][1])
    _log_killed(ended(old))


def _revive(slots: list[WorkerSlot]) -> None:
    """Start what has been dead for long enough; one that does not even load is a death like any other."""
    for slot in slots:
        if slot.due is not None and slot.due <= time.monotonic():
            slot.process, slot.due = Process(slot.listeners, slot.digests), None
            slot.process.serve()
            logger().info("started", child=slot.process.pid, port=slot.addresses[0][1])


def _note_deaths(slots: list[WorkerSlot]) -> None:
    for slot in slots:
        if slot.process is None or slot.process.code is None:
            continue
        now = time.monotonic()
        slot.deaths = 0 if now - slot.process.since > STEADY_SECONDS else slot.deaths
        delay = RESTART_SECONDS[min(slot.deaths, len(RESTART_SECONDS) - 1)]
        logger().error("died", child=slot.process.pid, code=slot.process.code, restart_in_seconds=delay)
        slot.process.close()
        slot.process, slot.deaths, slot.due = None, slot.deaths + 1, now + delay


def _set_alarm(slots: list[WorkerSlot]) -> None:
    waits = [slot.due - time.monotonic() for slot in slots if slot.due is not None]
    signal.setitimer(signal.ITIMER_REAL, max(0.01, min(waits)) if waits else 0)


def _end(processes: list[Process]) -> None:
    _log_killed(end(processes))


def _log_killed(processes: list[Process]) -> None:
    for process in processes:
        logger().error("killed", child=process.pid)


def _close(slots: list[WorkerSlot]) -> None:
    for slot in slots:
        for listener in slot.listeners:
            listener.close()


@contextmanager
def _pidfile(path: Path | None) -> Iterator[None]:
    """Keep our process id in the file for as long as we run. Raises CannotStart if another supervisor holds it.

    The lock ends with the process: the file of one that was killed is taken over.
    """
    if path is None:
        yield
        return
    try:
        file = _locked(path)
    except BlockingIOError:
        holder = path.read_text().strip() if path.is_file() else ""
        who = f"process {holder}" if holder.isdecimal() else "another process"
        raise CannotStart(
            f"expected no other supervisor with the pidfile {path}; found that {who} runs with it."
            " End that one, or name another file in PIDFILE"
        ) from None
    except OSError as error:
        raise CannotStart(
            f"expected to write the pidfile {path}; found {paths.describe(path)}: {error.strerror}"
        ) from None
    try:
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        if _is_at(file, path):
            path.unlink()
        os.close(file)


def _locked(path: Path) -> int:
    """Return a descriptor of the file, locked. Raises BlockingIOError if another process holds the lock, or OSError."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
        if _is_at(file, path):
            return file
        os.close(file)  # The supervisor that held it has removed it since we opened it.


def _is_at(file: int, path: Path) -> bool:
    """Return True if the path names this open file."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: `sigwait` returns the signal of a child that ended."""
