"""Handles SIGINT, SIGTERM and SIGHUP while a command moves the game.

The first signal raises Interrupted, and the command undoes what it began. A later signal only prints a line on standard
error: an undo that is interrupted would leave the game read-only.

An exception out of a handler can vanish: where it strikes a destructor or another callback, Python prints and drops it.
So a signal stays pending, and `check` raises it again before the command begins anything more.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


AGAIN_SECONDS = 1.0
"""An exception that was raised this long ago and came to nothing has vanished: the next signal raises one anew."""


class Interrupted(KeyboardInterrupt):
    """Raised by the first signal. The message is the signal's name."""


class Signals:
    """The signal handlers of a command, installed by `with`. Installs none outside the main thread."""

    def __init__(
        self,
        answer: str = "It is ending; please wait.",
        force: str = "kill -9 is safe: run the same command again afterwards, or look with invoke status.",
    ) -> None:
        self._handled = handled(self._handle)
        self._received = 0
        self._pending = ""
        self._raised = -AGAIN_SECONDS
        self._answer, self._force = answer, force
        self._held = False
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> Self:
        self._handled.__enter__()
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._dropped
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        sys.unraisablehook = self._unraisable
        self._handled.__exit__(None, None, None)
        if self._received and isinstance(error, SystemExit):
            # The process ends. Another Ctrl-C would end it with a traceback, or with another exit code.
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _dropped(self, dropped: sys.UnraisableHookArgs) -> None:
        """Say in a line, instead of Python's traceback, that a destructor dropped the interruption."""
        if isinstance(dropped.exc_value, Interrupted):
            write_line(f"{dropped.exc_value}: it is heard; the command ends at the next step.")
        else:
            self._unraisable(dropped)

    def hold(self, answer: str = "", force: str = "") -> None:
        """Raise no more: print `answer` at each signal, and from the third on also `force`, which says how to kill.

        Without them, what was printed before.
        """
        self._answer, self._force = answer or self._answer, force or self._force
        self._held = True

    @contextmanager
    def holding(self, answer: str, force: str) -> Iterator[None]:
        """Hold while the block runs. Where the block raises they stay held, for then the command ends."""
        before = self._answer, self._force, self._held
        self.hold(answer, force)
        yield
        self._answer, self._force, self._held = before

    def check(self) -> None:
        """Raise Interrupted where a signal is pending: the command is about to begin something more."""
        if self._pending and not self._held:
            self._raise()

    def _raise(self) -> None:
        self._raised = time.monotonic()
        raise Interrupted(self._pending)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._received += 1
        self._pending = name = signal.Signals(number).name
        if not self._held and time.monotonic() - self._raised >= AGAIN_SECONDS:
            self._raise()
        text = self._answer if self._received < 3 else f"{self._answer} {self._force}"
        write_line(f"{name}: {text}")


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install a handler for the signals while the block runs. Installs none outside the main thread."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and it must stay so.
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def write_line(text: str) -> None:
    """Write a line on standard error from a signal handler."""
    if sys.stderr is None:  # The shell closed it (`2>&-`).
        return
    # Not print(): it raises if the signal arrives inside a print() to the same stream.
    # A closed terminal raises OSError.
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())
