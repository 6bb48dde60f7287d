"""Faults that crash the server; each needs a server of its own, for a crash takes every session.

A crash is a process of the server's that is killed: the postmaster ends all others, and recovers from its log. A case
costs some 200 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from game.rows import Rows
from harness.play.requests import PreparedRequest
from harness.sweeps.fault_kinds import AtCommit, Fault, Moment
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.wire import Decision, DropBefore, Pass, ProxySession, RoundTrip


class Crash(Fault):
    """A crash of the server, whenever it comes: what it takes from us, and how it shows."""

    name = ""

    def __init__(self, proxied: ProxiedDatabase) -> None:
        super().__init__(proxied, self.name, "a server that recovered from a crash", DropBefore())
        self._life: object = None
        self._crashed = False

    def begin(self) -> None:
        """Note which life the server is in, before it crashes."""
        self._crashed = False
        self._life = self.proxied.life()

    def crash(self, pids: Sequence[int]) -> None:
        """Kill these processes of the server."""
        self.proxied.crash(pids)
        self._crashed = True

    def hit(self) -> bool:
        """Return True if the server has recovered from a crash since `begin`. Ask when it is back."""
        return self.proxied.life() != self._life

    def sleep(self, seconds: float) -> None:
        """Wait until the server is back, however long dispatch would wait: some 100 ms."""
        del seconds
        self.proxied.reconnect()

    def read(self) -> Rows:
        """Wait until the server is back, and return all rows. The crash took our own connections too."""
        self.proxied.reconnect()
        return super().read()

    def end(self) -> None:
        """Connect everything anew after a crash."""
        if self._crashed:
            self.proxied.reopen()
            self._crashed = False


class Crashed(Crash, AtCommit):
    """The server loses the session's process at a COMMIT, before anyone hears what came of it.

    Of what it takes before a COMMIT only the COMMIT itself is tried: the others are cut connections to the client.
    """

    name = "crashed"

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Return the moments before and after each COMMIT; before the first statement where there is none."""
        commits = [k for k, trip in enumerate(trips) if trip.commits]
        yield from (Moment(k, after) for k in commits for after in (False, True))
        if trips and not commits:
            yield Moment(0)

    def take(self, session: ProxySession) -> None:
        """Kill the session's process on the server with SIGKILL."""
        assert session.pid is not None
        self.crash([session.pid])


class CrashedAnswered(Crash):
    """The server crashes right after the client has heard that its command was granted.

    Its background processes stand still from the beginning of the case. So nothing but the COMMIT itself can have
    written the log: what a session with `synchronous_commit = off` was told is lost always, not only now and then.
    """

    name = "crashed-answered"

    def __init__(self, proxied: ProxiedDatabase) -> None:
        super().__init__(proxied)
        self._frozen: list[int] = []

    @property
    def unheard(self) -> bool:
        """Return False: the client has heard the answer."""
        return False

    def begin(self) -> None:
        """Have the server's own processes stand still."""
        super().begin()
        self._frozen = self.proxied.freeze()

    def moments(self, trips: Sequence[RoundTrip]) -> Iterator[Moment]:
        """Return the moment after each COMMIT."""
        yield from (Moment(k, after=True) for k, trip in enumerate(trips) if trip.commits)

    def strike(self, session: ProxySession, *, after: bool) -> Decision:
        """Let the COMMIT and its answer through: the crash comes when the client has the answer."""
        del session, after
        return Pass()

    def carry_out(self, prepared: PreparedRequest, unanswered: Callable[[PreparedRequest], None]) -> str:
        """Return the answer to a request; where it was the one to strike at, after the crash and the recovery."""
        answer = super().carry_out(prepared, unanswered)
        if self.struck is not None and self._frozen:
            frozen, self._frozen = self._frozen, []
            self.crash(frozen)
            super().end()
        return answer

    def end(self) -> None:
        """Let the processes go on, if there was no crash."""
        if self._frozen:
            self.proxied.thaw(self._frozen)
            self._frozen = []
        super().end()


FAULTS: tuple[type[Crash], ...] = (Crashed, CrashedAnswered)
NAMES = tuple(fault.name for fault in FAULTS)
