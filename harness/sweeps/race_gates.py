"""A gate before one session of a race: it holds each statement until it is let through, and says where things stand."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum, auto

from harness.wire import Decision, Pass, ProxySession, RoundTrip

NO_CHOICE = frozenset({"BEGIN", "ROLLBACK"})
"""They see and change nothing, so when they run makes no difference."""

BLOCKED = "(waits for a lock of the other's)"


class SessionState(Enum):
    """The state of a session in a race."""

    RUNNING = auto()
    WAITING = auto()
    BLOCKED = auto()
    DONE = auto()


@dataclass(frozen=True)
class Event:
    """A statement that a session was let through with, or what befell it."""

    session: str
    statement: str


class Gate:
    """The interceptor of one session: it holds each statement until it is let through.

    came, let: how many statements came that are a choice, and how many of them were let through.
    """

    def __init__(self, name: str, changed: threading.Condition, timeline: list[Event]) -> None:
        self.name = name
        self.state = SessionState.RUNNING
        self.pid: int | None = None
        self.came = self.let = 0
        self.changed = changed
        self._timeline = timeline
        self._go = threading.Semaphore(0)
        self._open = False

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        """Hold the statement until it is let through, unless it is no choice."""
        with self.changed:
            self.pid = session.pid
            choice = trip.verb not in NO_CHOICE
            self.came += choice
            held = choice and not self._open
            if held:
                self._become(SessionState.WAITING)
        if held:
            self._go.acquire()
        with self.changed:
            self._timeline.append(Event(self.name, trip.short))
        return Pass()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """Do nothing: the session comes to its next statement, or to its end."""

    def let_through(self) -> None:
        """Let the waiting statement go on."""
        self.state = SessionState.RUNNING
        self.let += 1
        self._go.release()

    def done(self) -> None:
        """Note that the command has been answered."""
        with self.changed:
            self._become(SessionState.DONE)

    def give_up(self) -> None:
        """Hold nothing from now on, so that the session can end."""
        self._open = True
        self._go.release()

    def note_blocked(self) -> None:
        """Note that the other session holds the lock that this one waits for."""
        if self.state is SessionState.RUNNING:
            self._become(SessionState.BLOCKED)
            if Event(self.name, BLOCKED) != next((e for e in reversed(self._timeline) if e.session == self.name), None):
                self._timeline.append(Event(self.name, BLOCKED))

    @property
    def settled(self) -> bool:
        """Return True if the session does nothing by itself."""
        return self.state is not SessionState.RUNNING

    def look_again(self) -> None:
        """Ask again about a session that was blocked: its blocker may be gone."""
        if self.state is SessionState.BLOCKED:
            self.state = SessionState.RUNNING

    def _become(self, state: SessionState) -> None:
        self.state = state
        self.changed.notify_all()
