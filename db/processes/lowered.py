"""Runs a function in a thread of lower priority, so that whatever else the machine has to do comes first.

Where a thread has no priority of its own the function runs in a thread like any other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from db.processes import priority

T = TypeVar("T")

NICENESS = 10
"""So much nicer than the process. The kernel gives a thread at 0 some nine times the processor of one at 10."""

LOOK_SECONDS = 0.1
"""How often the waiting looks whether it was interrupted. A signal that arrives just before a wait does not wake it."""

END_SECONDS = 2.0
"""How long work that is to end is waited for, before it is cancelled."""


def nothing() -> None:
    """Do nothing meanwhile."""


def run(
    work: Callable[[threading.Event], T], cancel: Callable[[], object], meanwhile: Callable[[], object] = nothing
) -> T:
    """Return what the work returns, or raise what it raises, or what interrupts the waiting for it: Ctrl-C.

    work: its argument is set once it is to end soon. cancel: ends what the work waits for; called from this thread.
    meanwhile: called every LOOK_SECONDS in this thread, whose priority is its own; what it raises ends the work.
    No work is done any more when this returns or raises.
    """
    ending, begun, outcome = threading.Event(), threading.Event(), Future[T]()

    def perform() -> None:
        begun.wait()
        priority.lower(NICENESS)
        try:
            outcome.set_result(work(ending))
        except BaseException as error:  # noqa: BLE001  # the caller raises it
            outcome.set_exception(error)

    # Ctrl-C while a thread starts leaves one that nobody knows, so the work begins when it is waited for.
    threading.Thread(target=perform, name="lowered", daemon=True).start()
    try:
        begun.set()
        while wait([outcome], LOOK_SECONDS).not_done:
            meanwhile()
        return outcome.result()
    except BaseException:  # Ctrl-C too: the work must not go on alone.
        ending.set()
        if begun.is_set():
            if wait([outcome], END_SECONDS).not_done:
                cancel()
            wait([outcome])
        raise
