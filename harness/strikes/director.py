"""Holds the tool at each event, in one order for all of its stores, and strikes it at the one that was chosen.

Round trips come from the wire proxy, everything else from the tool itself, which waits until it is let go on.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from multiprocessing.connection import Connection

import psutil
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from db.snapshots.postgres import SCRATCH
from harness.strikes.events import Event, Location, Position
from harness.wire import Decision, DropBefore, DropReply, Pass, ProxySession, RoundTrip

BETWEEN = "between steps"
HELD_SECONDS = 120.0
_STOPPING = Retrying(
    retry=retry_if_result(lambda status: status != psutil.STATUS_STOPPED),
    stop=stop_after_delay(HELD_SECONDS),
    wait=wait_fixed(0.002),
)
_OF_A_RUN = re.compile(r" \d{8}_\d{6}_\w+")


class How(StrEnum):
    """How the tool is struck. CUT: its connection is dropped before the server sees it; LOSE: instead of the answer."""

    CUT = "cut"
    LOSE = "lose"
    KILL = "kill"
    STOP = "stop"

    def fits(self, position: Position) -> bool:
        """Return True if the position can be struck so, and it makes a difference.

        An answer can be lost only on the wire; of what leaves nothing behind, it is lost as if it had never been asked.
        """
        on_the_wire = position.store in (Location.POSTGRES, Location.TOOLS)
        return {How.CUT: on_the_wire, How.LOSE: on_the_wire and position.keeps}.get(self, True)


class Director:
    """Takes every event of one run. at, how: where and how it is struck. watch: called while the tool is held at each.

    An Interceptor of the wire proxy: of a run without a line of its own, it sees the round trips.
    """

    def __init__(
        self, at: Position | None = None, how: How = How.KILL, watch: Callable[[Event], None] | None = None
    ) -> None:
        self.events: list[Event] = []
        self.struck = threading.Event()
        self.pid = 0
        self._at = at
        self._how = how
        self._watch = watch
        self._step = BETWEEN
        self._within: set[ProxySession] = set()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._released = threading.Event()

    def serve(self, line: Connection) -> None:
        """Answer the tool until it is gone; on a thread of the caller's."""
        try:
            while True:
                what, beside, who, text, within = line.recv()
                if what == "step":
                    self._step = who or BETWEEN
                else:
                    self._arrive(Event(beside or self._step, Location(what), who, text, within))
                line.send(None)
        except (EOFError, OSError):
            return

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        """Note the round trip as an event; strike if it is the one to be struck. Return what becomes of it, else Pass.

        With How.STOP, return after `release`, or after HELD_SECONDS.
        """
        application = session.opened_as.get("application_name", "")
        by_tool = application.startswith("sudamr")
        who = _OF_A_RUN.sub("", application) if by_tool else "pg_dump and its like"
        if session.opened_as.get("database", "").startswith(SCRATCH):
            by_tool, who = False, "in the scratch database"
        within = session in self._within
        for border in trip.borders:
            (self._within.add if border == "BEGIN" else self._within.discard)(session)
        store = Location.POSTGRES if by_tool else Location.TOOLS
        return self._arrive(Event(self._step, store, who, trip.sql, within)) or Pass()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """Do nothing with an answered round trip."""

    def release(self) -> None:
        """Let a stopped tool go on."""
        if self._how is How.STOP and self.struck.is_set():
            with suppress(ProcessLookupError):  # Somebody has ended it, as the message of the run that waited says.
                os.kill(self.pid, signal.SIGCONT)
        self._released.set()

    def _arrive(self, event: Event) -> Decision | None:
        with self._lock:
            if self._watch is not None:
                self._watch(event)
            if self.struck.is_set():
                return None
            self.events.append(event)
            key = event.step, event.kind
            n = self._counted[key]
            self._counted[key] += 1
            if self._at is None or (*key, n) != (self._at.step, self._at.kind, self._at.n):
                return None
            decision = self._strike()
            self.struck.set()
        if self._how is How.STOP:
            self._released.wait(HELD_SECONDS)
        return decision

    def _strike(self) -> Decision | None:
        match self._how:
            case How.CUT:
                return DropBefore()
            case How.LOSE:
                return DropReply()
            case How.KILL:
                os.kill(self.pid, signal.SIGKILL)
                return DropBefore()
            case How.STOP:
                os.kill(self.pid, signal.SIGSTOP)
                _STOPPING(psutil.Process(self.pid).status)
                return None
