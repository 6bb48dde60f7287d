"""Admits requests to a thread and to the served store; over the window of a move it holds them instead.

A command that a fenced or moved store refuses comes back here, is held, and is carried out again: if it was carried out
already, it is answered from its receipt. Without a second store nothing is held: the refusal is the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from game.errors import Fenced, Moved, StoreUnavailable
from game.service.holding import Expired, Hold, Holding
from game.service.lookout import GOES_ON
from game.service.metrics import Held, Metrics
from game.service.pair import StorePair
from game.service.problems import Rejected
from game.service.traffic import ASK_AGAIN, Capacity
from game.succession import Hurried, StoreChoice
from game.unit_of_work import Engine, PairedStore, Store

T = TypeVar("T")
Work: TypeAlias = Callable[[Store], T]

ON_THE_FILE = 2
"""Commands on threads at once while the legacy file is served: one that writes, and the next. It has one write lock."""

TURN_SECONDS = 5.0
"""How long a command waits for its turn at least. Those before it end within the times of their store."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of commands: so many at once, by the store's engine. seconds: how long one waits for its turn."""

    at_once: Mapping[Engine, int]
    seconds: float


class Admission:
    """Carries requests out on the one store of a process. turns: of commands."""

    def __init__(self, store: Store, room: Capacity, metrics: Metrics, turns: Turns) -> None:
        self._store = store
        self._room = room
        self._metrics = metrics
        self._turn_seconds = turns.seconds
        self._turns = {engine: asyncio.Semaphore(number) for engine, number in turns.at_once.items()}

    @property
    def served(self) -> Store:
        """Return the store that is served now."""
        return self._store

    async def command(self, request: Request, player: str, work: Work[T], *, bears_pass: bool = False) -> T:
        """Carry a command out on a thread, and return its answer. Raises Rejected, and what the work raises.

        bears_pass: it is for the store that is served, fenced or not, and is never held.
        """
        del request, bears_pass
        with self._room.share(player):
            return await self._at_once(work, self._turn(self.served))

    async def read(
        self, request: Request, player: str, if_open: Callable[[PairedStore], T], anyhow: Callable[[Store], T]
    ) -> T:
        """Read on a thread. if_open: reads an open store, and raises Fenced of another; anyhow: reads any store."""
        del request, if_open
        with self._room.share(player):
            return await self._at_once(anyhow)

    @asynccontextmanager
    async def _turn(self, store: Store) -> AsyncIterator[None]:
        """Hold one of the turns on the store. Raises StoreUnavailable if none comes in time.

        Who waits on the loop costs nothing, whatever becomes of the store meanwhile; each thread that waited would have
        to find its fence by itself, right when a window ends.
        """
        turns = self._turns[store.engine]
        try:
            with self._metrics.waiting():
                async with asyncio.timeout(self._turn_seconds):
                    await turns.acquire()
        except TimeoutError:
            raise StoreUnavailable("other commands of this process keep the store busy") from None
        try:
            yield
        finally:
            turns.release()

    async def _at_once(self, work: Work[T], turn: AbstractAsyncContextManager[None] | None = None) -> T:
        if not self._room.enter():
            raise Rejected("too_busy", ASK_AGAIN)
        try:
            async with turn or nullcontext():
                return await run_in_threadpool(work, self.served)
        finally:
            self._room.leave()


class PairAdmission(Admission):
    """Carries requests out on whichever of two stores is served."""

    def __init__(self, pair: StorePair, room: Capacity, holding: Holding, turns: Turns) -> None:
        super().__init__(pair.served, room, holding.metrics, turns)
        self._pair = pair
        self._holding = holding
        self._lookout = holding.lookout

    @property
    def served(self) -> PairedStore:
        """Return the store that is served now."""
        return self._pair.served

    async def command(self, request: Request, player: str, work: Work[T], *, bears_pass: bool = False) -> T:
        """See `Admission`. Over a window the command waits until one of the stores is open."""
        with self._room.share(player):
            if bears_pass:
                return await self._at_once(work)
            self._pair.note_player(player)
            deadline = await self._admit(request, reads=False)
            while True:
                store, met = self.served, None
                try:
                    async with self._turn(store):
                        if not self._lookout.is_window:
                            return await run_in_threadpool(
                                work, store if deadline is None else _hurried(store, deadline)
                            )
                except (Fenced, Moved) as error:
                    met = error
                finally:
                    self._room.leave()
                deadline = await self._held(request, deadline, met, was=store)

    async def read(
        self, request: Request, player: str, if_open: Callable[[PairedStore], T], anyhow: Callable[[Store], T]
    ) -> T:
        """See `Admission`. A fenced store answers a read only if the other was not open once the request had come.

        Otherwise a player could miss what another process granted him on the other store.
        """
        with self._room.share(player):
            deadline = await self._admit(request, reads=True)
            work: Callable[[PairedStore], T] = if_open
            while True:
                store = self.served
                try:
                    return await run_in_threadpool(work, store)
                except Fenced as error:
                    met: Fenced | Moved = error
                except Moved as error:
                    met = error
                finally:
                    self._room.leave()
                if store is self.served and isinstance(met, Fenced):
                    goes_on, deadline = await self._looked(request, deadline, met)
                    work = if_open if goes_on else anyhow
                else:
                    deadline = await self._held(request, deadline, met, was=store)
                    work = if_open

    async def _admit(self, request: Request, *, reads: bool) -> float | None:
        """Take a place, after a hold if there is need for one. Returns the deadline of that hold."""
        if (reads or not self._lookout.is_window) and not self._room.has_queue and self._room.enter():
            return None
        with self._holding.hold(request.receive) as hold:
            if not self._lookout.is_window and not self._room.has_queue:
                await self._require_window(hold)
            if self._lookout.is_window and not reads:
                await hold.reopening(None)
            await hold.place(self._room)
            return hold.deadline

    async def _require_window(self, hold: Hold) -> None:
        """Raise Rejected if there are too many requests and no window.

        A window may have begun unnoticed here: the requests at work may all be waiting for the mover's lock.
        """
        try:
            choice = await hold.look()
        except Expired as expired:
            hold.end = expired.end
            raise Rejected("too_busy", ASK_AGAIN) from None
        if choice is StoreChoice.WAIT:
            self._lookout.note_closed()
        elif choice is not StoreChoice.FOLLOW and not self._room.has_queue:
            hold.end = Held.REFUSED
            raise Rejected("too_busy", ASK_AGAIN)

    async def _held(self, request: Request, deadline: float | None, met: Fenced | Moved | None, *, was: Store) -> float:
        """Hold a request for which a store was closed until it has a place again.

        met: what it met there; None: a window had begun before it came to its turn. was: that store; another one may be
        served by now.
        """
        with self._holding.hold(request.receive, deadline) as hold:
            if was is self.served:
                await hold.reopening(met)
            await hold.place(self._room)
            return hold.deadline

    async def _looked(self, request: Request, deadline: float | None, met: Fenced) -> tuple[bool, float]:
        """Look once, for a read that met a fenced store. Return True if a store is open."""
        with self._holding.hold(request.receive, deadline) as hold:
            self._lookout.note_closed()
            try:
                choice = await hold.look()
            except Expired as expired:
                hold.end = expired.end
                raise met from None
            await hold.place(self._room)
            return choice in GOES_ON, hold.deadline


def _hurried(store: PairedStore, deadline: float) -> Hurried:
    """Return the store for a request that has waited: the loop's clock may be another than the threads'."""
    return Hurried(store, time.monotonic() + deadline - asyncio.get_running_loop().time())
