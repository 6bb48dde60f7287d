"""Fails a test after which a session of a pool is not as a fresh one.

SQLAlchemy tells of every session that a pool of this process opens, lends, gets back and closes. A session is looked at
when its pool closes it, and at the end of a test that used it, if it lies in its pool then.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import psycopg
import pytest
import sqlalchemy as sa

from db.errors import Failure
from harness.databases import session_state

WATCH = pytest.StashKey["PoolWatch"]()


class PoolWatch:
    """The sessions of this process's pools, and what those left that were looked at. No server is asked twice."""

    def __init__(self) -> None:
        self._used: dict[psycopg.Connection, bool] = {}
        self._leaks: list[str] = []

    def checked_out(self, session: object, *_rest: object) -> None:
        """Note that a session was lent."""
        if isinstance(session, psycopg.Connection):
            self._used[session] = True

    def checked_in(self, session: object, *_rest: object) -> None:
        """Note that a session is back in its pool, as it will be lent again."""
        if isinstance(session, psycopg.Connection) and session in self._used:
            self._used[session] = False

    def invalidated(self, session: object, *_rest: object) -> None:
        """Forget a session that its pool throws away: nobody gets it again."""
        self._used.pop(session, None)  # type: ignore[call-overload]  # None, if it is no session of psycopg's

    def closed(self, session: object, *_rest: object) -> None:
        """Look at a session before its pool closes it."""
        if isinstance(session, psycopg.Connection) and self._used.pop(session, True) is False:
            self._look(session)

    def leaks(self) -> Iterator[str]:
        """Look at every session that was used since and lies in its pool; yield what was left since the last time."""
        # A copy: threads of the test may still lend and give back.
        for session, is_lent in list(self._used.items()):
            if not is_lent and self._used.pop(session, True) is False:
                self._look(session)
        leaks, self._leaks = self._leaks, []
        yield from leaks

    def _look(self, session: psycopg.Connection) -> None:
        if leftovers := session_state.left(session):
            self._leaks.append(f"{', '.join(leftovers)} (session {session.info.backend_pid} of {session.info.dbname})")
            session_state.clear(session)


EVENTS = {"checkout": "checked_out", "checkin": "checked_in", "invalidate": "invalidated", "close": "closed"}
"""SQLAlchemy's name of each event of a pool, and the method that hears it."""


def pytest_configure(config: pytest.Config) -> None:
    """Hear of all pools of this process."""
    watch = config.stash[WATCH] = PoolWatch()
    for event, method in EVENTS.items():
        sa.event.listen(sa.pool.Pool, event, getattr(watch, method))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Hear no more of them."""
    for event, method in EVENTS.items():
        sa.event.remove(sa.pool.Pool, event, getattr(config.stash[WATCH], method))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Let the fixtures be torn down, then raise Failure if a session of a pool is not as a fresh one."""
    yield
    if leaks := list(item.config.stash[WATCH].leaks()):
        raise Failure(
            "each session of a pool as a fresh one",
            "; ".join(leaks),
            where=item.nodeid,
            do="Set what a transaction needs for that transaction alone, so that it ends with it; take locks that do.",
        )
