"""Commands that wait for a slot while the store changes, or until the end of their hold: see `PairAdmission`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from game.service.admission import CommandSlots, PairAdmission
from game.service.holding import Holding
from game.service.lookout import Lookout
from game.service.metrics import Metrics
from game.service.pair import StorePair
from game.service.problems import Rejected
from game.service.traffic import Capacity
from game.succession import StoreChoice
from tests.game.service.running import PATIENCE_SECONDS

HOLD_SECONDS = 0.5


class FakePair:
    """Two stores, each with one slot. A look finds the served one open."""

    def __init__(self) -> None:
        self.first, self.second = (
            SimpleNamespace(store=SimpleNamespace(engine=engine)) for engine in ("legacy", "postgres")
        )
        self.served = self.first.store
        self.changed: object = None
        self.tended = threading.Event()

    def look(self) -> StoreChoice:
        return StoreChoice.STAY

    def tend(self) -> bool:
        self.tended.set()
        return True

    def unready(self) -> str:
        return ""

    def note_player(self, player: str) -> None:
        del player


class Playing:
    """An admission to a pair, and commands whose work notes its store; the first one keeps its slot until `gate`."""

    def __init__(self, pair: FakePair, hold_seconds: float) -> None:
        metrics = Metrics()
        self.pair, self.metrics = pair, metrics
        self.lookout = Lookout(cast(StorePair, pair), metrics, hold_seconds=hold_seconds, report=lambda _error: None)
        self.admission = PairAdmission(
            cast(StorePair, pair),
            Capacity(most=10, share=1),
            Holding(self.lookout, metrics, hold_seconds),
            CommandSlots({"legacy": 1, "postgres": 1}, seconds=PATIENCE_SECONDS),
        )
        self.gate = threading.Event()
        self.stores: list[object] = []

    def command(self, player: str, work: Callable[[Any], object]) -> asyncio.Task[object]:
        return asyncio.ensure_future(self.admission.command(REQUEST, player, work))

    def keep(self, store: object) -> None:
        self.note(store)
        self.gate.wait()

    def note(self, store: Any) -> None:
        self.stores.append(getattr(store, "store", store))

    async def waits(self, count: int) -> None:
        while self.metrics.slot_waiting._value.get() != count:
            await asyncio.sleep(0)


async def _connected() -> dict[str, str]:
    await asyncio.Event().wait()
    return {}


REQUEST = cast(Request, SimpleNamespace(receive=_connected))


def played(life: Callable[[Playing], Awaitable[None]], *, hold_seconds: float = PATIENCE_SECONDS) -> None:
    async def playing() -> None:
        now = Playing(FakePair(), hold_seconds)
        now.lookout.start()
        await asyncio.to_thread(now.pair.tended.wait)  # The first look, which ends a window, was handed over by then.
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await life(now)
        finally:
            now.gate.set()
            now.lookout.end()

    asyncio.run(playing())


def test_a_command_whose_store_is_no_longer_served_never_asks_it() -> None:
    async def life(now: Playing) -> None:
        first = now.command("p1", now.keep)
        while not now.stores:
            await asyncio.sleep(0)
        second = now.command("p2", now.note)
        await now.waits(1)
        now.pair.served = now.pair.second.store
        now.gate.set()
        await asyncio.gather(first, second)
        assert now.stores == [now.pair.first.store, now.pair.second.store]

    played(life)


def test_a_held_command_waits_for_a_slot_until_the_end_of_its_hold() -> None:
    async def life(now: Playing) -> None:
        first = now.command("p1", now.keep)
        while not now.stores:
            await asyncio.sleep(0)
        now.lookout.note_closed()
        held = now.command("p2", now.note)
        await now.waits(1)
        with pytest.raises(Rejected) as rejected:
            await held
        assert rejected.value.code == "too_busy"
        now.gate.set()
        await first
        assert now.stores == [now.pair.first.store], "it was not carried out"

    played(life, hold_seconds=HOLD_SECONDS)
