"""Work in a thread of lower priority: what it returns and raises comes through, and an interruption ends it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from db.processes import lowered
from tests.fixtures.interrupts import answering_interrupts


def never() -> None:
    raise AssertionError("nothing is to be cancelled")


def test_what_the_work_returns_and_raises_comes_through() -> None:
    assert lowered.run(lambda ending: (threading.current_thread().name, ending.is_set())[1], never) is False
    with pytest.raises(ZeroDivisionError):
        lowered.run(lambda _ending: 1 // 0, never)


def test_an_interruption_tells_the_work_to_end_and_waits_for_it() -> None:
    ended = []

    def work(ending: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(ending.wait(60))

    with answering_interrupts(), pytest.raises(KeyboardInterrupt):
        lowered.run(work, never)
    assert ended == [True]


def test_an_interruption_that_does_not_wake_the_waiting_is_seen_all_the_same() -> None:
    """As a signal that arrives just before the wait: another thread takes it, and nothing wakes this one."""
    ended = []

    def work(ending: threading.Event) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(ending.wait(60))

    with answering_interrupts():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with pytest.raises(KeyboardInterrupt):
            lowered.run(work, never)
    assert ended == [True]


def test_work_that_waits_for_something_else_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowered, "END_SECONDS", 0.0)
    cancelled, ended = threading.Event(), []

    def work(_ending: threading.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        ended.append(cancelled.wait(60))

    with answering_interrupts(), pytest.raises(KeyboardInterrupt):
        lowered.run(work, cancelled.set)
    assert ended == [True]
