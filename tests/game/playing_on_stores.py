"""Requests to a store, and stores that fail where a test wants them to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from game.dispatch import Answer, Request, dispatch
from game.errors import TryAgain
from game.rows import Rows
from game.rules.chance import Chance
from game.rules.commands import Command
from game.unit_of_work import Engine, LoadedPlayer, Store, StoreStatus, Unit

NOON_MS = 1_767_582_000_000


def ask(
    store: Store,
    command: Command,
    request_id: str = "r1",
    *,
    player: str = "hana",
    fence_pass: str | None = None,
    slept: list[float] | None = None,
) -> Answer:
    """Dispatch as the service does, but never wait: the pauses asked for are put into `slept`."""
    return dispatch(
        store,
        Request(player, request_id, command),
        clock=lambda: NOON_MS,
        chance=lambda request: Chance("the secret of tests", request),
        sleep=(slept if slept is not None else []).append,
        fence_pass=fence_pass,
    )


class Failing:
    """A store whose units raise `error` at one of their steps, so many times: load, save, commit or committed."""

    def __init__(self, store: Store, step: str, error: Exception, times: int = 1) -> None:
        self.store, self.step, self.error, self.times = store, step, error, times
        self.attempts = 0

    @property
    def engine(self) -> Engine:
        return self.store.engine

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[Unit]:
        self.attempts += 1
        with self.store.begin(fence_pass) as unit:
            yield FailingUnit(self, unit)

    def fail(self, step: str) -> None:
        if step == self.step and self.times:
            self.times -= 1
            raise self.error

    def read(self, player: str) -> Rows | None:
        return self.store.read(player)

    def status(self) -> StoreStatus:
        return self.store.status()

    def close(self) -> None:
        self.store.close()


class FailingUnit:
    def __init__(self, plan: Failing, unit: Unit) -> None:
        self.plan, self.unit = plan, unit

    def load(self, player: str, request_id: str, tables: Collection[str]) -> LoadedPlayer | None:
        loaded = self.unit.load(player, request_id, tables)
        self.plan.fail("load")
        return loaded

    def save(self, before: Rows, after: Rows) -> None:
        self.unit.save(before, after)
        self.plan.fail("save")

    def commit(self) -> None:
        self.plan.fail("commit")
        self.unit.commit()
        self.plan.fail("committed")


def lost() -> TryAgain:
    """Return the error that a store raises when its connection is gone."""
    return TryAgain("db_unreachable", "the connection was lost")
