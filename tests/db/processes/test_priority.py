"""Priorities are of one thread, and given back; where the system refuses one the work is done all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from db.processes import priority

UNPRIVILEGED = """
import os
from db.processes import priority
os.getuid() or os.setresuid(65534, 65534, 65534)
with priority.raised() as granted:
    print(granted, os.getpriority(os.PRIO_PROCESS, 0))
"""


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has priorities of threads")
def test_a_thread_is_lowered_alone() -> None:
    before, seen = niceness(), []
    thread = threading.Thread(target=lambda: (priority.lower(3), seen.append(niceness())))
    thread.start()
    thread.join()
    assert (seen, niceness()) == ([min(19, before + 3)], before)


def test_what_is_raised_is_given_back() -> None:
    before = niceness()
    raising = priority.raised()
    granted = raising.__enter__()
    within = niceness()
    assert not raising.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert niceness() == before
    assert within == (min(before, priority.RAISED) if granted else before)


def test_who_has_no_right_works_with_the_priority_that_he_has() -> None:
    told = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told.split() == ["False", str(niceness())]
