"""Holds requests over the window of a move: on the event loop, before the threads, within a limit and a time.

A held request takes no thread, no connection and no place among those at work, so all requests of a window can wait. If
its client goes away meanwhile, the request is never carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive

from game.errors import Fenced, Moved
from game.service.lookout import GOES_ON, Lookout
from game.service.metrics import Held, Metrics
from game.service.problems import Rejected
from game.service.traffic import ASK_AGAIN, Capacity
from game.succession import StoreChoice

HELD_A_SECOND = 300
"""Requests that a process holds at most, for each second of HOLD_MS: about as many as it carries out in that time."""


class Expired(Exception):
    """The wait ended before a store opened; `end` says why."""

    def __init__(self, end: Held) -> None:
        super().__init__(end)
        self.end = end


@dataclass(slots=True)
class Holding:
    """The requests that a process holds, `most` at once."""

    lookout: Lookout
    metrics: Metrics
    hold_seconds: float
    now: int = 0

    @property
    def most(self) -> int:
        """Return how many may be held at once."""
        return max(1, int(self.hold_seconds * HELD_A_SECOND))

    @contextmanager
    def hold(self, receive: Receive, deadline: float | None = None) -> Iterator[Hold]:
        """Hold a request, to the deadline of an earlier hold of it. Raises Rejected where too many are held."""
        if self.now >= self.most:
            self.metrics.holds.labels(Held.TOO_MANY).inc()
            raise Rejected("too_busy", ASK_AGAIN)
        self.now += 1
        self.metrics.held.inc()
        loop = asyncio.get_running_loop()
        began = loop.time()
        until = began + self.hold_seconds if deadline is None else deadline
        hold = Hold(self.lookout, until, asyncio.ensure_future(_gone(receive)))
        try:
            yield hold
        finally:
            hold.gone.cancel()
            self.now -= 1
            self.metrics.held.dec()
            self.metrics.holds.labels(hold.end).inc()
            self.metrics.hold_seconds.observe(loop.time() - began)


@dataclass(slots=True)
class Hold:
    """One held request. deadline: by the loop's clock; gone: done when the client went away."""

    lookout: Lookout
    deadline: float
    gone: asyncio.Future[None]
    end: Held = field(default=Held.LEFT)

    async def reopening(self, met: Fenced | Moved | None) -> None:
        """Wait until a store is open to this process.

        met: what the request met in its thread; None: it was held before it met anything. Raises `met`, or what it
        would have met, if there is no store to wait for, the time is over, or the client went away.
        """
        self.lookout.note_closed()
        try:
            choice = await self.look()
            if choice in (StoreChoice.WAIT, StoreChoice.UNKNOWN) and self.lookout.is_window:
                waiting = self.lookout.wait()
                try:
                    choice = await self.until(waiting)
                finally:
                    self.lookout.leave(waiting)
        except Expired as expired:
            self.end = expired.end
            raise met or self._closed() from None
        if choice not in GOES_ON:
            self.end = Held.REFUSED
            raise met or self._closed()

    def _closed(self) -> Fenced | Moved:
        """Return the error that the request would have met in its thread."""
        return Moved("moved") if self.lookout.pair.is_moved else Fenced("fenced")

    async def look(self) -> StoreChoice:
        """Return the result of a look that begins now. Raises Expired."""
        choice: StoreChoice = await self.until(self.lookout.look())
        return choice

    async def place(self, room: Capacity, *, reads: bool) -> None:
        """Wait for a place among those at work, in the order of the queue. Raises Rejected at the end of the time."""
        place = room.line_up(reads=reads)
        try:
            await self.until(place)
        except Expired as expired:
            room.step_out(place, reads=reads)
            self.end = expired.end
            raise Rejected("too_busy", ASK_AGAIN) from None
        except BaseException:  # The server ends, and cancels what is on its way.
            room.step_out(place, reads=reads)
            raise
        self.end = Held.RELEASED

    async def until(self, future: asyncio.Future[Any]) -> Any:
        """Return the future's result. Raises Expired if the time is over or the client goes away before it comes."""
        left = max(0.0, self.deadline - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait({future, self.gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if future in done:
            return future.result()
        future.cancel()
        raise Expired(Held.LEFT if done else Held.TIMED_OUT)


async def _gone(receive: Receive) -> None:
    """Return when the client has closed its connection. Its body was read whole before."""
    while (await receive())["type"] != "http.disconnect":
        pass
