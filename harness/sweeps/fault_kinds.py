"""What can go wrong, on the wire and at either end of it. Each fault judges round trips, and strikes once a case."""

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
    """When a fault strikes: at the k-th round trip, before the server sees it or once it has carried it out."""

    k: int
    after: bool = False


class Fault(ABC):
    """What can go wrong, and the judge that makes it happen: once a case, at its moment.

    effect: what is to come of a strike; whether it did is asked of whoever it befell, not of the one who struck.
    """

    name: ClassVar[str]
    effect: ClassVar[str]

    def __init__(self, ground: ProxiedDatabase) -> None:
        self.ground = ground
        self.moment: Moment | None = None
        self.trips: list[RoundTrip] = []
        self.struck: RoundTrip | None = None
        self.session: Session | None = None
        self.carried_out = False

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Every moment to try."""
        yield from (Moment(k) for k in range(len(trips)))

    def arm(self, moment: Moment | None) -> None:
        """Count from here on, and strike at the moment."""
        self.moment, self.trips, self.struck, self.session, self.carried_out = moment, [], None, None, False
        self.ground.proxy.judge = self

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
        """What comes of all other round trips."""
        return Pass()

    @abstractmethod
    def strike(self, session: Session, *, after: bool) -> Verdict:
        """What comes of the one."""

    @abstractmethod
    def hit(self) -> bool:
        """Whether it had its effect; asked at the end of a case in which it struck."""

    def answered(self, session: Session, trip: RoundTrip) -> None:
        """A round trip has been carried out, and its client knows nothing of it yet."""
        del session
        self.carried_out |= trip is self.struck

    @property
    def ended(self) -> bool:
        """Whether the connection that was struck was ended."""
        return self.session is not None and self.session.over

    def sleep(self, seconds: float) -> None:
        """What dispatch waits before it tries again: nothing, where the store is there at once."""
        requests.no_sleep(seconds)

    def carry_out(self, errand: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """The answer to a command."""
        return requests.carry_out(self.ground.wired, errand, sleep=self.sleep, unanswered=unanswered)

    def begin(self) -> None:  # noqa: B027 - few faults have anything to do here
        """Before the first command of a case."""

    def end(self) -> None:  # noqa: B027 - the same
        """After the last one."""


class Unharmed(Fault):
    """Nothing goes wrong; what there is to see in a run without faults is still seen."""

    name = "none"
    effect = "nothing"

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """It lets everything through."""
        del session, after
        return Pass()

    def hit(self) -> bool:
        """It has no effect."""
        return False


class CutBefore(Fault):
    """The connection is lost before the statement reaches the server."""

    name = "cut"
    effect = "a connection that ended, and a server that never saw the statement"

    def hit(self) -> bool:
        """As the connection says."""
        return self.ended and not self.carried_out

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """Nothing comes of it."""
        del session, after
        return DropBefore()


class Lost(Fault):
    """The statement is carried out, and its answer lost with the connection."""

    name = "lost"
    effect = "a statement carried out, and a connection that ended in place of its answer"

    def hit(self) -> bool:
        """As the connection says."""
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
        """All is well."""
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

    def carry_out(self, errand: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """The outage ends when the client has been told that the store is unavailable."""

        def told(given_up: PreparedRequest) -> None:
            unanswered(given_up)
            self._down = False

        return super().carry_out(errand, told)

    def end(self) -> None:
        """Nothing outlasts a case."""
        self._down = False


class ServerError(Fault):
    """The server itself raises an error in place of the statement."""

    effect = "a client that heard the error from the server"

    def hit(self) -> bool:
        """As it was heard."""
        return self.session is not None and self.session.raised == self.name

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """The code is the fault's name."""
        del session, after
        return InjectError(self.name)


class Serialization(ServerError):
    """serialization_failure."""

    name = "40001"


class Deadlock(ServerError):
    """deadlock_detected."""

    name = "40P01"


class LockTimeout(ServerError):
    """lock_not_available."""

    name = "55P03"


class Cancelled(ServerError):
    """query_canceled."""

    name = "57014"


class Terminated(Fault):
    """An operator ends the server's process: admin_shutdown."""

    name = "57P01"
    effect = "a server that said so to the client, and has the process no more"

    def hit(self) -> bool:
        """As the server says."""
        session = self.session
        assert session is not None
        assert session.pid is not None
        return session.raised == self.name and not self.ground.serves(session.pid)

    def strike(self, session: Session, *, after: bool) -> Verdict:
        """The server says so, in place of the answer."""
        del after
        assert session.pid is not None
        self.ground.terminate(session.pid)
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
        """The process ends."""


class Killed(AtCommit):
    """The application is killed by SIGKILL; the player's client asks the next one."""

    name = "killed"
    effect = "an application ended by SIGKILL"

    def __init__(self, ground: ProxiedDatabase, doomed: CrashableWorker) -> None:
        super().__init__(ground)
        self._doomed = doomed
        self._killed = False

    def hit(self) -> bool:
        """As its parent process was told."""
        return self._killed

    def begin(self) -> None:
        """A fresh application, warm; what it asked to become so does not count."""
        self._killed = False
        armed, self.moment = self.moment, None
        self._doomed.start(self.ground.url.as_text())
        self.moment, self.trips = armed, []

    def take(self, session: Session) -> None:
        """SIGKILL."""
        del session
        self._doomed.kill()

    def carry_out(self, errand: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """From the application while it lives; then from another."""
        if not self._doomed.pid:
            return super().carry_out(errand, unanswered)
        try:
            answer = self._doomed.carry_out(errand)
        except Died as death:
            self._killed = death.killed
            unanswered(errand)
            return super().carry_out(errand, unanswered)
        return requests.UNANSWERED if answer is None else answer

    def end(self) -> None:
        """One that was not killed ends."""
        self._doomed.end()


class Crashed(AtCommit):
    """The server loses a process to a signal: it ends all others and recovers from its log. On a server of one's own.

    Of what it takes before a COMMIT only the COMMIT itself is tried: the others are cut connections to the client.
    """

    name = "crashed"
    effect = "a server that recovered from a crash"
    _life: object = None

    def begin(self) -> None:
        """It has not crashed yet."""
        self._life = self.ground.life()

    def hit(self) -> bool:
        """As the server says, once it is back."""
        return self.ground.life() != self._life

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
        self.ground.crash(session.pid)

    def end(self) -> None:
        """All our own connections were taken too."""
        if self.struck is not None:
            self.ground.reopen()


ON_THE_WIRE: dict[str, type[Fault]] = {
    fault.name: fault
    for fault in (CutBefore, Lost, Outage, Serialization, Deadlock, LockTimeout, Cancelled, Terminated)
}
NAMES = (*ON_THE_WIRE, Killed.name, Crashed.name)
