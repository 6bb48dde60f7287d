"""Faults on the wire and at either end of it. Each decides about round trips, and strikes once a case.

A fault that is a name, an effect and a verdict of the proxy's is a row of FAULTS; only one that does more has a class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from game.rows import Rows
from harness.play import requests
from harness.play.requests import PreparedRequest
from harness.sweeps.forkserver import CrashableWorker, Died
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.wire import Decision, DropBefore, DropReply, InjectError, Pass, ProxySession, RoundTrip


@dataclass(frozen=True)
class Moment:
    """The moment of a fault: at the k-th round trip, before the server sees it or once it has carried it out."""

    k: int
    after: bool = False


class Fault:
    """A fault, and the interceptor that makes it happen: once a case, at its moment.

    effect: the expected consequence. `hit()` checks it on the victim, never on the injector.
    verdict: of the round trip at the fault's moment; of one that strikes in other ways too, see its class.
    """

    def __init__(self, proxied: ProxiedDatabase, name: str, effect: str, decision: Decision) -> None:
        self.proxied = proxied
        self.name = name
        self.effect = effect
        self.decision = decision
        self.moment: Moment | None = None
        self.trips: list[RoundTrip] = []
        self.struck: RoundTrip | None = None
        self.session: ProxySession | None = None
        self.carried_out = False

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Return every moment at which the fault is tried."""
        yield from (Moment(k) for k in range(len(trips)))

    def arm(self, moment: Moment | None) -> None:
        """Count round trips from zero, and strike at the moment; None: never."""
        self.moment, self.trips, self.struck, self.session, self.carried_out = moment, [], None, None, False
        self.proxied.proxy.interceptor = self

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        """Strike at the fault's moment, and let everything else through."""
        place = len(self.trips)
        self.trips.append(trip)
        if self.moment is None or self.struck is not None or place != self.moment.k:
            return self.otherwise()
        self.struck, self.session = trip, session
        session.forget()
        return self.strike(session, after=self.moment.after)

    def otherwise(self) -> Decision:
        """Return the verdict on all other round trips."""
        return Pass()

    def strike(self, session: ProxySession, *, after: bool) -> Decision:
        """Return the verdict on the round trip at the fault's moment."""
        del session, after
        return self.decision

    def hit(self) -> bool:
        """Return True if it had its effect; asked at the end of a case in which it struck."""
        match self.decision:
            case DropBefore():
                return self.ended and not self.carried_out
            case DropReply():
                return self.ended and self.carried_out
            case InjectError(sqlstate):
                return self.heard(sqlstate)
            case Pass():
                return False

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """Note that a round trip has been carried out; its client has not heard of it yet."""
        del session
        self.carried_out |= trip is self.struck and not isinstance(self.decision, InjectError)

    @property
    def unheard(self) -> bool:
        """Return True if a COMMIT was carried out of which nobody heard: the client is answered by its receipt."""
        return self.struck is not None and self.struck.commits and self.carried_out

    @property
    def ended(self) -> bool:
        """Return True if the connection that was struck was ended."""
        return self.session is not None and self.session.over

    def heard(self, sqlstate: str) -> bool:
        """Return True if the client heard this error from the server."""
        return self.session is not None and self.session.raised == sqlstate

    def read(self) -> Rows:
        """Return all rows of the game, of every player."""
        return self.proxied.read()

    def sleep(self, seconds: float) -> None:
        """Wait as dispatch does before it tries again: not at all, if the store is there at once."""
        requests.no_sleep(seconds)

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """Return the answer to a request. unanswered: called each time that the client gives up waiting for it."""
        return requests.carry_out(self.proxied.wired, prepared, sleep=self.sleep, unanswered=unanswered)

    def begin(self) -> None:
        """Prepare a case, before its first request; few faults have anything to do."""

    def end(self) -> None:
        """Clean up after the last request of a case; few faults have anything to do."""


class Outage(Fault):
    """An answer is lost, and nothing gets through after it until the command was given up as unavailable."""

    _down = False
    _turned_away = False

    def hit(self) -> bool:
        """Return True if the answer was lost and a later round trip cut; after a ROLLBACK none need follow."""
        away = self._turned_away or (self.struck is not None and self.struck.verb == "ROLLBACK")
        return away and super().hit()

    def begin(self) -> None:
        """Begin a case with a server that answers."""
        self._down = self._turned_away = False

    def strike(self, session: ProxySession, *, after: bool) -> Decision:
        """Begin the outage with a lost answer."""
        self._down = True
        return super().strike(session, after=after)

    def otherwise(self) -> Decision:
        """Cut whatever comes during the outage."""
        self._turned_away |= self._down
        return DropBefore() if self._down else Pass()

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """End the outage when the client has heard that the store is unavailable."""

        def end_outage(given_up: PreparedRequest) -> None:
            unanswered(given_up)
            self._down = False

        return super().carry_out(prepared, end_outage)

    def end(self) -> None:
        """End the outage, so that it outlasts no case."""
        self._down = False


class Terminated(Fault):
    """An operator ends the server's process: admin_shutdown."""

    def hit(self) -> bool:
        """Return True if the client heard admin_shutdown, and the server has ended the process."""
        assert self.session is not None
        assert self.session.pid is not None
        return self.heard(self.name) and not self.proxied.serves(self.session.pid)

    def strike(self, session: ProxySession, *, after: bool) -> Decision:
        """Have the server end the process and tell the client so, in place of the answer."""
        assert session.pid is not None
        self.proxied.terminate(session.pid)
        session.await_end()
        return super().strike(session, after=after)


class AtCommit(Fault, ABC):
    """Faults that take a whole process: before every statement, and after each COMMIT."""

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Return the moment before each statement, and after each COMMIT: after another is before the next."""
        for k, trip in enumerate(trips):
            yield Moment(k)
            if trip.commits:
                yield Moment(k, after=True)

    def strike(self, session: ProxySession, *, after: bool) -> Decision:
        """End the process before the statement is sent, or let the statement run and end the process in `answered`."""
        if after:
            return DropReply()
        self.take(session)
        return DropBefore()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """End the process if the fault is after this round trip: the server has answered, and nobody has heard it."""
        super().answered(session, trip)
        if trip is self.struck and self.moment is not None and self.moment.after:
            self.take(session)

    @abstractmethod
    def take(self, session: ProxySession) -> None:
        """Have the process exit at its moment."""


class Killed(AtCommit):
    """The application is killed by SIGKILL; the player's client asks the next one."""

    name = "killed"

    def __init__(self, proxied: ProxiedDatabase, crashable: CrashableWorker) -> None:
        super().__init__(proxied, self.name, "an application ended by SIGKILL", DropBefore())
        self._worker = crashable
        self._killed = False

    def hit(self) -> bool:
        """Return True if the application ended by SIGKILL, as its parent process saw."""
        return self._killed

    def begin(self) -> None:
        """Start a fresh application and warm it. The round trips of the warming do not count."""
        self._killed = False
        armed, self.moment = self.moment, None
        self._worker.start(self.proxied.url.as_text())
        self.moment, self.trips = armed, []

    def take(self, session: ProxySession) -> None:
        """Kill the process with SIGKILL at its moment."""
        del session
        self._worker.kill()

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """Have the application answer. If it is killed at that, have another store answer the request, asked again."""
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
        """End the application, if it was not killed."""
        self._worker.end()


@dataclass(frozen=True)
class FaultKind:
    """A row of the table: a fault by its name and effect, and the class that acts it out on a database."""

    name: str
    effect: str
    decision: Decision
    acts: type[Fault] = Fault

    def on(self, proxied: ProxiedDatabase) -> Fault:
        """Make the fault for one database behind a proxy."""
        return self.acts(proxied, self.name, self.effect, self.decision)


def _error(sqlstate: str) -> FaultKind:
    return FaultKind(sqlstate, "a client that heard the error from the server", InjectError(sqlstate))


NO_FAULT = FaultKind("none", "nothing", Pass())
"""Nothing goes wrong; what there is to see in a run without faults is still seen."""

FAULTS = (
    FaultKind("cut", "a connection that ended, and a server that never saw the statement", DropBefore()),
    FaultKind("lost", "a statement carried out, and a connection that ended in place of its answer", DropReply()),
    FaultKind("outage", "an answer lost, and nothing let through after it", DropReply(), Outage),
    _error("40001"),  # serialization_failure: another transaction changed what this one read.
    _error("40P01"),  # deadlock_detected
    _error("55P03"),  # lock_not_available, after lock_timeout.
    _error("57014"),  # query_canceled, as after statement_timeout.
    FaultKind("57P01", "a server that said so to the client, and has the process no more", Pass(), Terminated),
)

ON_THE_WIRE = {kind.name: kind for kind in FAULTS}
NAMES = (*ON_THE_WIRE, Killed.name)
