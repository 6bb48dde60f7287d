"""One process of the service: `python -m game.service.child LISTENER PRIVATE SAYS BESIDE [DIGESTS]`.

All but BESIDE are descriptors from its supervisor; BESIDE is 1 if another process serves meanwhile, else 0. It loads,
says so on SAYS, and serves on LISTENER and PRIVATE as soon as its standard input tells it to. What it learns of
documents it shares with the other processes in DIGESTS, which an earlier version's supervisor does not give. When its
standard input closes, however the supervisor died, the process ends too.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

Serve: TypeAlias = Callable[[], int]

SWITCH_SECONDS = 0.0005
"""The interpreter's switch interval. A thread whose database call has returned waits this long for the thread that
computes. Python's default is ten times as long, and a command waits once for each call.
"""

NICENESS = 5
"""Added to the nice value of the thread that loads while other processes serve. Each serving thread then gets some
three times its share of a processor.
"""


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.disable()  # Nothing of what is loaded is garbage; to look for some takes a fifth of the time.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # The supervisor waits with its signals blocked; that is inherited.
    *listeners, says, beside = map(int, sys.argv[1:5])
    digests = int(sys.argv[5]) if sys.argv[5:] else None
    public, private = (socket.socket(fileno=listener) for listener in listeners)

    def load() -> Serve | None:
        from game.service import serving  # noqa: PLC0415  # collection is off by now, and this thread's priority lower

        return serving.load(public, private, says, warm=bool(beside), digests=digests)

    serve = behind_others(load) if beside else load()
    return 2 if serve is None else serve()


def behind_others(load: Callable[[], Serve | None]) -> Serve | None:
    """Return what the function returns; it runs on a thread of its own, whose lower priority ends with it.

    Of a process it could not be raised again without rights. Only Linux has priorities of threads.
    """
    loaded: list[Serve | None] = []

    def perform() -> None:
        if sys.platform == "linux":
            with suppress(OSError):  # A sandbox may forbid it: it is loaded all the same.
                thread = threading.get_native_id()
                os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
        loaded.append(load())

    loading = threading.Thread(target=perform, name="loading")
    loading.start()
    loading.join()
    return loaded[0] if loaded else None


if __name__ == "__main__":
    sys.exit(main())
