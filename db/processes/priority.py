"""Changes the priority of one thread: down for work that can wait, up for work that players wait for.

Of a thread, not of the process: without rights a priority can be lowered and never raised again, and a thread takes its
own with it when it ends. Only Linux has priorities of threads; elsewhere nothing happens.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

RAISED = -10
"""The niceness of a thread that players wait for: the kernel gives it some nine times the processor of one at 0."""


def lower(by: int) -> None:
    """Make this thread nicer, for as long as it lives."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        _set(thread, os.getpriority(os.PRIO_PROCESS, thread) + by)


@contextmanager
def raised() -> Iterator[bool]:
    """Have this thread come first for the block; gives False where it may not: that takes CAP_SYS_NICE or a rlimit."""
    if sys.platform != "linux":
        yield False
        return
    thread = threading.get_native_id()
    had = os.getpriority(os.PRIO_PROCESS, thread)
    granted = _set(thread, min(had, RAISED))
    try:
        yield granted
    finally:
        if granted:
            _set(thread, had)


def _set(thread: int, niceness: int) -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    except OSError:  # It is not ours to decide: a sandbox, or no right. The work is done all the same.
        return False
    return True
