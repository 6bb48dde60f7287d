"""Helpers of the tests of `invoke follow`: one that follows on a thread, or in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from db import ops
from db.console.progress import Silent
from db.environments import Environment
from db.follow.ending_signals import GentleSignals
from db.follow.figures import RoundFigures
from db.follow.loop import FollowConfig, FollowReport, follow
from db.legacy.source import opened
from db.ops import following
from db.ops.following import Following, FollowState
from db.schema.revisions import History
from db.transfer import target as targets
from db.transfer.verify import compare
from game.legacy import sqlite_values
from tests.db.cutover.cutover_world import World, wait_until
from tests.fixtures.spawning import SPAWN


@dataclass
class Recorder:
    """A view that keeps what it was shown."""

    states: list[tuple[FollowState, str]] = field(default_factory=list)
    rounds: list[RoundFigures] = field(default_factory=list)

    def state(self, state: FollowState, reason: str) -> None:
        self.states.append((state, reason))

    def round(self, figures: RoundFigures) -> None:
        self.rounds.append(figures)

    def told(self, state: FollowState, text: str = "") -> bool:
        """Return True if this state was shown with a reason that has the text."""
        return any(shown is state and text in reason for shown, reason in list(self.states))


@dataclass
class Follower:
    """One that follows on a thread."""

    view: Recorder
    signals: GentleSignals
    future: Future[FollowReport]

    def end(self) -> FollowReport:
        """Ask for the end as a first Ctrl-C does, and wait for it."""
        self.signals.asked = "SIGINT"
        return self.future.result(60)


@contextmanager
def on_a_thread(
    world: World, observer: Callable[[str], None] | None = None, history: History | None = None
) -> Iterator[Follower]:
    """Follow while the block lasts."""
    view, signals = Recorder(), GentleSignals()
    config = FollowConfig(view=view, signals=signals, observer=observer or (lambda _what: None), history=history)
    with ThreadPoolExecutor(1) as pool:
        follower = Follower(view, signals, pool.submit(follow, world.env, config))
        try:
            yield follower
        finally:
            signals.asked = "SIGINT"


@contextmanager
def in_a_process(world: World, kill_at: str = "", times: int = 1) -> Iterator[BaseProcess]:
    """Follow in a process of its own while the block lasts; kill -9 at the n-th time that it comes to a place."""
    process = SPAWN.Process(target=_follow, args=(world.env, kill_at, times))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _follow(env: Environment, kill_at: str, times: int) -> None:
    seen: list[str] = []

    def observer(what: str) -> None:
        seen.append(what)
        if kill_at and seen.count(kill_at) == times:
            os.kill(os.getpid(), signal.SIGKILL)

    with GentleSignals() as signals:
        follow(env, FollowConfig(signals=signals, observer=observer))


def row(world: World) -> Following:
    with ops.connect(world.owner) as conn:
        found = following.read(conn)
    assert found is not None
    return found


def state(world: World) -> str:
    """Return the state of the row; "" if nothing ever followed."""
    with ops.connect(world.owner) as conn:
        found = following.read(conn)
    return "" if found is None else str(found.state)


def receipts(world: World, like: str) -> list[str]:
    """Return the requests in the legacy file whose name is like this."""
    with closing(sqlite_values.connect(world.env.legacy.path, readonly=True)) as file:
        query = "SELECT request_id FROM sudamr_action_receipts WHERE request_id LIKE ? ORDER BY 1"
        return [name for (name,) in file.execute(query, (like,))]


def wait_for_receipt(world: World, request: str) -> None:
    wait_until(lambda: receipts(world, request) == [request])


def wait_for_state(world: World, expected: FollowState) -> None:
    wait_until(lambda: state(world) == expected, 40)


def differences(world: World) -> tuple[str, ...]:
    """Return what differs between the file and Postgres; nothing, where players rest and all was applied."""
    with opened(world.env.legacy.path) as file, targets.opened(world.owner) as snapshot:
        return compare(file, snapshot, Silent()).named


def seconds_since(moment: float) -> float:
    return time.monotonic() - moment
