"""Runs one program in a process group of its own, and ends the group when the tool that started it is gone.

`db.processes.children` runs it as a script in an isolated interpreter, which starts in milliseconds and imports
nothing of the project. Arguments: the descriptor of a pipe that the kernel closes when the tool ends, for whatever
reason; how many seconds the program may run after that; how much nicer it runs; then the program and its arguments.
Works on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

END_SECONDS = 5.0
"""How long a group may take to end after SIGTERM, before SIGKILL."""

ENDING = (signal.SIGTERM, signal.SIGHUP)
NOT_FOUND = 127


def main() -> int:
    """Run the program to its end and return its exit code."""
    alive, may_go_on_seconds, nicer, *argv = sys.argv[1:]
    os.nice(int(nicer))
    over = threading.Event()  # Set when the group must end: the tool has ended, or has sent a signal.
    signal.signal(signal.SIGINT, lambda _number, _frame: over.set())
    for number in ENDING:
        # The tool signals the whole group, so the program gets the signal too. The program inherits no handler.
        signal.signal(number, lambda _number, _frame: over.set())
    try:
        process = subprocess.Popen(argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        return NOT_FOUND
    # Ctrl-C asks the program to end by itself: only the program gets it, and its exit code is kept.
    signal.signal(signal.SIGINT, lambda number, _frame: process.send_signal(number))
    watch = threading.Thread(target=_end_with_the_tool, args=(int(alive), float(may_go_on_seconds), over))
    watch.daemon = True
    watch.start()
    code = process.wait()
    if over.is_set():
        os.killpg(0, signal.SIGKILL)  # Ends this process too: no process of the group may outlive the tool.
    return code


def _end_with_the_tool(alive: int, may_go_on_seconds: float, over: threading.Event) -> None:
    """Wait until the tool has ended and the program's time is up, then end the group."""
    while os.read(alive, 1):
        pass
    time.sleep(may_go_on_seconds)
    over.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(0, signal.SIGTERM)
    time.sleep(END_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _end_as(code: int) -> int:
    """End by the signal that ended the program, so that the tool sees the same exit status."""
    if code >= 0:
        return code
    with contextlib.suppress(OSError):  # SIGKILL has no handler to reset.
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    return 128 - code


if __name__ == "__main__":
    sys.exit(_end_as(main()))
