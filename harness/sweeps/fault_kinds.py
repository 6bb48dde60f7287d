"""Faults on the wire and at either end of it. Each judges round trips, and strikes once a case."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.play import requests
from harness.play.requests import PreparedRequest
from harness.sweeps.forkserver import CrashableWorker, Died
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.wire import DropBefore, DropReply, InjectError, Pass, RoundTrip, Session, Verdict


@dataclass(frozen=True)
class Moment:
    """The moment of a fault: at the k-th round trip, before the server sees it or once it has carried it out."""

    k: int
    after: bool = False


class Fault(ABC):
    """A fault, and the interceptor that makes it happen: once a case, at its moment.

    effect: what is to come of a strike; whether it did is asked of whoever it befell, not of the one who struck.
    """

    name: ClassVar[str]
    effect: ClassVar[str]

    def __init__(self, proxied: ProxiedDatabase) -> None:
        self.proxied = proxied
        self.moment: Moment | None = None
        self.trips: list[RoundTrip] = []
        self.struck: RoundTrip | None = None
        self.session: Session | None = None
        self.carried_out = False

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Return every moment at which the fault is tried."""
        yield from (Moment(k) for k in range(len(trips)))

    def arm(self, moment: Moment | None) -> None:
        """Count from here on, and strike at the moment."""
        self.moment, self.trips, self.struck, self.session, self.carried_out = moment, [], None, None, False
        self.proxied.proxy.judge = self

    def judge(self, session: Session, trip: RoundTrip) -> Verdict:
        """Strikes at its moment and lets everything else through."""
        place = len(self.trips)
        self.trips.append(trip)
        if self.moment is None or self.struck is not None or place != self.moment.k:
            return self.otherwise()
        self.struck, self.session = trip, session
        session.forget()
        return self.strike(session, after=self.moment.after)

    def otherwise(self) -> Verdict:
        """Return the verdict on all other round trips."""
        return Pass()

    @abstractmethod
    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Return the verdict on the round trip at the fault's moment."""

    @abstractmethod
    def hit(self) -> bool:
        """Return True if it had its effect; asked at the end of a case in which it struck."""

    def answered(self, session: Session, trip: RoundTrip) -> None:
        """A round trip has been carried out, and its client knows nothing of it yet."""
        del session
        self.carried_out |= trip is self.struck

    @property
    def ended(self) -> bool:
        """Return True if the connection that was struck was ended."""
        return self.session is not None and self.session.over

    def sleep(self, seconds: float) -> None:
        """Wait as dispatch does before it tries again: not at all, if the store is there at once."""
        requests.no_sleep(seconds)

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """The answer to a command."""
        return requests.carry_out(self.proxied.wired, prepared, sleep=self.sleep, unanswered=unanswered)

    def begin(self) -> None:  # noqa: B027 - few faults have anything to do here
        """Before the first command of a case."""

    def end(self) -> None:  # noqa: B027 - the same
        """Clean up after the last command of a case."""


class Unharmed(Fault):
    """Nothing goes wrong; what there is to see in a run without faults is still seen."""

    name = "none"
    effect = "nothing"

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Let every round trip through."""
        del session, after
        return Pass()

    def hit(self) -> bool:
        """Return False: it has no effect."""
        return False


class CutBefore(Fault):
    """The connection is lost before the statement reaches the server."""

    name = "cut"
    effect = "a connection that ended, and a server that never saw the statement"

    def hit(self) -> bool:
        """Return True if the connection ended before the server saw the statement."""
        return self.ended and not self.carried_out

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Drop the round trip before the server sees it."""
        del session, after
        return DropBefore()


class Lost(Fault):
    """The statement is carried out, and its answer lost with the connection."""

    name = "lost"
    effect = "a statement carried out, and a connection that ended in place of its answer"

    def hit(self) -> bool:
        """Return True if the connection ended after the server had carried the statement out."""
        return self.ended and self.carried_out

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Its client never hears of it."""
        del session, after
        return DropReply()


class Outage(Fault):
    """An answer is lost, and nothing gets through after it until the command was given up as unavailable."""

    name = "outage"
    effect = "an answer lost, and nothing let through after it"
    _down = False
    _turned_away = False

    def hit(self) -> bool:
        """As the connection says; after a ROLLBACK nobody need come again."""
        away = self._turned_away or (self.struck is not None and self.struck.verb == "ROLLBACK")
        return self.ended and self.carried_out and away

    def begin(self) -> None:
        """Begin a case with a server that answers."""
        self._down = self._turned_away = False

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """From here on, nothing is."""
        del session, after
        self._down = True
        return DropReply()

    def otherwise(self) -> Verdict:
        """Whatever comes during the outage is cut."""
        self._turned_away |= self._down
        return DropBefore() if self._down else Pass()

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """The outage ends when the client has been told that the store is unavailable."""

        def told(given_up: PreparedRequest) -> None:
            unanswered(given_up)
            self._down = False

        return super().carry_out(prepared, told)

    def end(self) -> None:
        """End the outage, so that it outlasts no case."""
        self._down = False


class ServerError(Fault):
    """The server itself raises an error in place of the statement."""

    effect = "a client that heard the error from the server"

    def hit(self) -> bool:
        """Return True if the client heard the error."""
        return self.session is not None and self.session.raised == self.name

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """The code is the fault's name."""
        del session, after
        return InjectError(self.name)


class Serialization(ServerError):
    """The server answers serialization_failure (40001): another transaction changed what it read."""

    name = "40001"


class Deadlock(ServerError):
    """The server answers deadlock_detected (40P01)."""

    name = "40P01"


class LockTimeout(ServerError):
    """The server answers lock_not_available (55P03) after lock_timeout."""

    name = "55P03"


class Cancelled(ServerError):
    """The server answers query_canceled (57014), as after statement_timeout."""

    name = "57014"


class Terminated(Fault):
    """An operator ends the server's process: admin_shutdown."""

    name = "57P01"
    effect = "a server that said so to the client, and has the process no more"

    def hit(self) -> bool:
        """Return True if it had its effect; asked at the end of a case in which it struck."""
        session = self.session
        assert session is not None
        assert session.pid is not None
        return session.raised == self.name and not self.proxied.serves(session.pid)

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """The server says so, in place of the answer."""
        del after
        assert session.pid is not None
        self.proxied.terminate(session.pid)
        session.await_end()
        return Pass()


class AtCommit(Fault):
    """Faults that take a whole process: before every statement, and after each COMMIT."""

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Of statements within a transaction, after one is before the next."""
        for k, trip in enumerate(trips):
            yield Moment(k)
            if trip.commits:
                yield Moment(k, after=True)

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Before: the process is gone, and the statement with it."""
        if after:
            return DropReply()
        self.take(session)
        return DropBefore()

    def answered(self, session: Session, trip: RoundTrip) -> None:
        """After: the process goes before anyone has heard."""
        super().answered(session, trip)
        if trip is self.struck and self.moment is not None and self.moment.after:
            self.take(session)

    @abstractmethod
    def take(self, session: Session) -> None:
        """Have the process exit at its moment."""


class Killed(AtCommit):
    """The application is killed by SIGKILL; the player's client asks the next one."""

    name = "killed"
    effect = "an application ended by SIGKILL"

    def __init__(self, proxied: ProxiedDatabase, crashable: CrashableWorker) -> None:
        super().__init__(proxied)
        self._worker = crashable
        self._killed = False

    def hit(self) -> bool:
        """As its parent process was told."""
        return self._killed

    def begin(self) -> None:
        """A fresh application, warm; what it asked to become so does not count."""
        self._killed = False
        armed, self.moment = self.moment, None
        self._worker.start(self.proxied.url.as_text())
        self.moment, self.trips = armed, []

    def take(self, session: Session) -> None:
        """Kill the process with SIGKILL at its moment."""
        del session
        self._worker.kill()

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """From the application while it lives; then from another."""
        if not self._worker.pid:
            return super().carry_out(prepared, unanswered)
        try:
            answer = self._worker.carry_out(prepared)
        except Died as death:
            self._killed = death.killed
            unanswered(prepared)
            return super().carry_out(prepared, unanswered)
        return requests.UNANSWERED if answer is None else answer

    def end(self) -> None:
        """One that was not killed ends."""
        self._worker.end()


class Crashed(AtCommit):
    """The server loses a process to a signal: it ends all others and recovers from its log. On a server of one's own.

    Of what it takes before a COMMIT only the COMMIT itself is tried: the others are cut connections to the client.
    """

    name = "crashed"
    effect = "a server that recovered from a crash"
    _life: object = None

    def begin(self) -> None:
        """It has not crashed yet."""
        self._life = self.proxied.life()

    def hit(self) -> bool:
        """As the server says, once it is back."""
        return self.proxied.life() != self._life

    def sleep(self, seconds: float) -> None:
        """It takes a moment to be back."""
        time.sleep(seconds)

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Before and after each COMMIT; before the first statement where there is none."""
        commits = [k for k, trip in enumerate(trips) if trip.commits]
        yield from (Moment(k, after) for k in commits for after in (False, True))
        if trips and not commits:
            yield Moment(0)

    def take(self, session: Session) -> None:
        """SIGKILL, on the server's side."""
        assert session.pid is not None
        self.proxied.crash(session.pid)

    def end(self) -> None:
        """All our own connections were taken too."""
        if self.struck is not None:
            self.proxied.reopen()


ON_THE_WIRE: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (CutBefore, Lost, Outage, Serialization, Deadlock, LockTimeout, Cancelled, Terminated)
}
NAMES = (*ON_THE_WIRE, Killed.name, Crashed.name)
