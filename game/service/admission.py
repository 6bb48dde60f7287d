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
"""Commands on threads at once while the legacy file is served. The file has one write lock: one command holds it, and
the next is ready.
"""

SLOT_SECONDS = 5.0
"""Seconds that a command waits for a slot before it is answered 503; `HOLD_MS`, if that is longer."""


@dataclass(frozen=True, slots=True)
class CommandSlots:
    """The limits of commands on threads. at_once: how many, by the store's engine. seconds: how long a command waits
    for a slot.
    """

    at_once: Mapping[Engine, int]
    seconds: float


class Admission:
    """Carries requests out on the one store of a process."""

    def __init__(self, store: Store, room: Capacity, metrics: Metrics, slots: CommandSlots) -> None:
        self._store = store
        self._room = room
        self._metrics = metrics
        self._limits = slots
        self._slots = {engine: asyncio.Semaphore(number) for engine, number in slots.at_once.items()}

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
            return await self._at_once(work, self._slot(self.served))

    async def read(
        self, request: Request, player: str, if_open: Callable[[PairedStore], T], anyhow: Callable[[Store], T]
    ) -> T:
        """Read on a thread. if_open: reads an open store, and raises Fenced of another; anyhow: reads any store."""
        del request, if_open
        with self._room.share(player):
            return await self._at_once(anyhow, reads=True)

    @asynccontextmanager
    async def _slot(self, store: Store, deadline: float | None = None) -> AsyncIterator[None]:
        """Hold one of the store's slots.

        Raises StoreUnavailable if none is free in time, and Rejected at the deadline of a request that was held, by the
        loop's clock. A command that waits here takes no thread. Threads that waited for a lock of the store would all
        wake when a window ends, and delay the first held request.
        """
        slots = self._slots[store.engine]
        until = asyncio.get_running_loop().time() + self._limits.seconds
        try:
            with self._metrics.slot_waiting.track_inprogress():
                async with asyncio.timeout_at(until if deadline is None else min(until, deadline)):
                    await slots.acquire()
        except TimeoutError:
            if deadline is not None and deadline <= until:
                raise Rejected("too_busy", ASK_AGAIN) from None
            at_work = self._limits.at_once[store.engine]
            raise StoreUnavailable(
                f"no slot within {self._limits.seconds:g} s:"
                f" {at_work} other commands of this process are at work on the store"
            ) from None
        try:
            yield
        finally:
            slots.release()

    async def _at_once(
        self, work: Work[T], slot: AbstractAsyncContextManager[None] | None = None, *, reads: bool = False
    ) -> T:
        if not self._room.enter(reads=reads):
            raise Rejected("too_busy", ASK_AGAIN)
        try:
            async with slot or nullcontext():
                return await run_in_threadpool(work, self.served)
        finally:
            self._room.leave(reads=reads)


class PairAdmission(Admission):
    """Carries requests out on whichever of two stores is served."""

    def __init__(self, pair: StorePair, room: Capacity, holding: Holding, slots: CommandSlots) -> None:
        super().__init__(pair.served, room, holding.metrics, slots)
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
                    async with self._slot(store, deadline):
                        if store is self.served and not self._lookout.is_window:
                            return await run_in_threadpool(
                                work, store if deadline is None else _hurried(store, deadline)
                            )
                except (Fenced, Moved) as error:
                    met = error
                finally:
                    self._room.leave()
                deadline = await self._held(request, deadline, met, store=store)

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
                    self._room.leave(reads=True)
                if store is self.served and isinstance(met, Fenced):
                    goes_on, deadline = await self._looked(request, deadline, met)
                    work = if_open if goes_on else anyhow
                else:
                    deadline = await self._held(request, deadline, met, store=store, reads=True)
                    work = if_open

    async def _admit(self, request: Request, *, reads: bool) -> float | None:
        """Take a place, after a hold if there is need for one. Returns the deadline of that hold."""
        if (reads or not self._lookout.is_window) and not self._room.has_queue and self._room.enter(reads=reads):
            return None
        with self._holding.hold(request.receive) as hold:
            if not self._lookout.is_window and not self._room.has_queue:
                await self._require_window(hold)
            if self._lookout.is_window and not reads:
                await hold.reopening(None)
            await hold.place(self._room, reads=reads)
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

    async def _held(
        self,
        request: Request,
        deadline: float | None,
        met: Fenced | Moved | None,
        *,
        store: Store,
        reads: bool = False,
    ) -> float:
        """Hold a request that found its store closed, until it has a place again. Returns the deadline of the hold.

        store: the store that it was for; another one may be served by now. met: that store's error; None if a window
        began, or another store came to be served, while the request waited for a slot.
        """
        with self._holding.hold(request.receive, deadline) as hold:
            if store is self.served:
                await hold.reopening(met)
            await hold.place(self._room, reads=reads)
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
            await hold.place(self._room, reads=True)
            return choice in GOES_ON, hold.deadline


def _hurried(store: PairedStore, deadline: float) -> Hurried:
    """Return the store for a request that has waited: the loop's clock may be another than the threads'."""
    return Hurried(store, time.monotonic() + deadline - asyncio.get_running_loop().time())
