"""The two stores of a process: the one that it serves, and the one that it is ready to serve in its place.

Each has a connection of its own for its probe, so a probe never waits for a request's connection nor takes one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa

from game.errors import StoreFailure
from game.service.openapi import NextStore
from game.succession import StoreChoice, judge
from game.unit_of_work import FenceView, PairedStore, StoreStatus

CAN_NOT_ASK = (StoreFailure, sa.exc.SQLAlchemyError, psycopg.Error, sqlite3.Error)
"""The errors of a store that can't be asked: for whatever reason, a missing right say, it can't be served either."""


RECENT_PLAYERS = 2_000
"""The most players queued for `acquaint`; with more, the earliest are left out."""

KNOWN_PLAYERS = 10_000
"""The most ids remembered; then the set is emptied. Of each player the store remembers some four documents."""

ACQUAINT_SECONDS = 0.05
"""How long one round of it may last, each second: it takes the processor from requests."""


@dataclass(slots=True, eq=False)
class ProbedStore:
    """A store, and the store object with one connection on which it is asked.

    view: its fence as it was last shown; None where it does not answer. warm: its pool is open. why: what is wrong.
    """

    store: PairedStore
    probe: PairedStore
    view: FenceView | None = None
    status: StoreStatus | None = None
    warm: bool = False
    why: str = "it was not asked yet"

    def ask(self) -> FenceView | None:
        """Ask for the fence, and remember it; None if the store does not answer."""
        try:
            self.view = self.probe.fence_view()
        except CAN_NOT_ASK as error:
            self.view, self.status, self.warm, self.why = None, None, False, str(error)
        return self.view

    def close(self) -> None:
        """Close the store and the probe, with their connections."""
        self.probe.close()
        self.store.close()


@dataclass(frozen=True, slots=True)
class Changed:
    """A change of the served store. left: the fence of the store that was left; served: that of the new one."""

    left: FenceView
    served: FenceView


@dataclass(slots=True)
class StorePair:
    """The two stores of a process, and the choice of the one that it serves. Safe to use from any thread.

    first: the store that DATABASE_URL names; second: the one of DATABASE_URL_NEXT. changed: told of each change, by the
    thread that looked.
    """

    first: ProbedStore
    second: ProbedStore
    changed: Callable[[PairedStore, Changed], None] = lambda _store, _changed: None
    _swapped: bool = False
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_PLAYERS))
    _known: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def served(self) -> PairedStore:
        """Return the store that is served now."""
        return self._sides()[0].store

    @property
    def is_moved(self) -> bool:
        """Return True if the fence of the served store said moved when it was read last."""
        view = self._sides()[0].view
        return view is not None and view.state == "moved"

    def look(self) -> StoreChoice:
        """Ask the served store and, unless it is open, the other one; change to the other one if the rule says so.

        Costs a small read of each. Another store that did not answer last is not asked here: `tend` does that, since a
        connection to a server that is away can take seconds.
        """
        with self._lock:
            served, other = self._sides()
            view = served.ask()
            if view is None or view.state == "open":
                return judge(view, None)
            other_view = other.ask() if other.view is not None else None
            choice = judge(view, other_view)
            if choice is StoreChoice.FOLLOW:
                assert other_view is not None
                self._swapped = not self._swapped
                self._known = set()  # They are known to the store that is served now, not to the one that was left.
                self.changed(other.store, Changed(view, other_view))
            return choice

    def tend(self) -> bool:
        """Reach the other store, and open its pool once. Returns True if it is ready. Can take seconds."""
        _served, other = self._sides()
        was_away = other.view is None
        if other.ask() is None:
            return False
        if was_away or not other.warm:
            try:
                status = other.probe.status()
                other.store.warm()
            except CAN_NOT_ASK as error:
                other.status, other.warm, other.why = None, False, str(error)
                return False
            other.status, other.warm, other.why = status, True, status.lacks
        self._acquaint(other)
        return self.next_store().ready

    def note_player(self, player: str) -> None:
        """Queue the player for `acquaint` on the other store, which serves him if the game moves."""
        if player not in self._known:
            self._recent.append(player)

    def _acquaint(self, other: ProbedStore) -> None:
        """Make the other store know who plays, for a while; the next round goes on with the rest."""
        until, known = time.monotonic() + ACQUAINT_SECONDS, self._known
        with suppress(*CAN_NOT_ASK):  # The next round finds it away.
            while self._recent and time.monotonic() < until:
                player = self._recent.popleft()
                if player not in known:
                    other.store.acquaint(player)
                    if len(known) >= KNOWN_PLAYERS:
                        known.clear()
                    known.add(player)

    def next_store(self) -> NextStore:
        """Return the other store for /readyz, as it was found last."""
        served, other = self._sides()
        view, status = other.view, other.status
        return NextStore(
            store=status.store if status else None,
            engine=other.store.engine,
            identity=view.identity if view else None,
            fence=view.state if view else None,
            ready=not self.unready(served, other),
        )

    def unready(self, served: ProbedStore | None = None, other: ProbedStore | None = None) -> str:
        """Say why the other store could not be served if the game moved to it now; "" if it could."""
        if served is None or other is None:
            served, other = self._sides()
        view = other.view
        if view is None or not other.warm or other.why:
            return other.why or "its pool is not open"
        if view.identity is None:
            return "the database does not tell its identity yet: run invoke migrate"
        if served.view is None:
            return "the store that is served does not answer"
        if view.identity == served.view.identity:
            return "it is the store that is served"
        if view.peer not in (None, served.view.identity):
            return f"its fence names another store than the one that is served: {view.peer}"
        return ""

    def close(self) -> None:
        """Close the connections to both."""
        self.first.close()
        self.second.close()

    def _sides(self) -> tuple[ProbedStore, ProbedStore]:
        """Return the served side and the other one."""
        return (self.second, self.first) if self._swapped else (self.first, self.second)
