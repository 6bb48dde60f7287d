"""One process of the service as its supervisor sees it: started, loaded, told to serve, told to end.

It loads everything first and says so through a pipe, then waits to be told: so a restart stops the old process only
when the new one needs no more than to listen. Both have the listener for a while: the old one finishes its requests.
The pipe that tells it stays open; that it closes means that we are gone.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress

LOAD_SECONDS = 30.0
END_SECONDS = 10.0
"""For a process to end by itself; it gives its requests in flight a little less."""

WAITING = 1024
"""How many connections wait in the kernel to be accepted, also while one process follows another on the port."""

LOADED = b"L"
SERVE = b"S"


class Process:
    """A process that will serve on the two listeners, public and private, which stay the supervisor's.

    digests: memory that all its processes share; see `DigestSet`. beside: other processes serve while it loads; it
    loads at a lower priority.
    """

    def __init__(self, listeners: tuple[socket.socket, socket.socket], digests: int, *, beside: bool = False) -> None:
        self.since = time.monotonic()
        self._message, says = os.pipe()
        given = [*(listener.fileno() for listener in listeners), says]
        command = [sys.executable, "-m", "game.service.child", *map(str, (*given, int(beside), digests))]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[*given, digests], bufsize=0)
        finally:
            os.close(says)

    @property
    def pid(self) -> int:
        """Return the process id of the child."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Return its exit code (negative: the signal that ended it); None while it runs."""
        return self._process.poll()

    def loaded(self) -> bool:
        """Wait until the child has loaded; False if it ended instead, or takes too long."""
        readable, _, _ = select.select([self._message], [], [], max(0.0, self.since + LOAD_SECONDS - time.monotonic()))
        return bool(readable) and os.read(self._message, 1) == LOADED

    def serve(self) -> None:
        """Let it listen. One that has died meanwhile is found dead like any other."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(SERVE)

    def terminate(self) -> None:
        """Ask it to end after its requests in flight."""
        self._process.terminate()

    def wait(self, deadline: float) -> bool:
        """Wait until it has ended. Return False if it had to be killed at the deadline, by the monotonic clock."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def close(self) -> None:
        """Close our ends of its pipes. Waits for nothing: call it after `wait`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.close(self._message)


def end(processes: list[Process]) -> list[Process]:
    """End them all at once, so that it takes as long as the slowest; those that had to be killed."""
    for process in processes:
        process.terminate()
    return ended(processes)


def ended(processes: list[Process]) -> list[Process]:
    """Wait for those that were told to end. Return those that had to be killed."""
    deadline = time.monotonic() + END_SECONDS
    killed = [process for process in processes if not process.wait(deadline)]
    for process in processes:
        process.close()
    return killed
