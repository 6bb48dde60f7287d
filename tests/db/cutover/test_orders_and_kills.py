"""Every order at every state of a live move whose tool is killed just after: the order counts, and is followed.

The tool is a process of its own that stays in a state until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from db import ops
from db.confirmation import unasked
from db.console.live_view import Dirty, MoveState, Unseen, unknown
from db.cutover import holding, ordering
from db.cutover.ordering import BACK, THERE, Direction, OrderReport
from db.environments import Environment
from db.errors import Refusal
from db.ops import change_log, orders
from db.ops.orders import Go
from db.servers import Server
from harness.cli.commands import environment_status
from tests.db.cutover.cutover_world import (
    SPAWN,
    World,
    quiet_smoke,
    run_cutover,
    run_rollback,
    wait_until,
    world,
)

__all__ = ["world"]

SECONDS = 180.0
FIRST = {THERE: MoveState.COPYING, BACK: MoveState.CATCHING_UP}
"""The state in which a run is that is to be paused."""

CUTOVER = "invoke cutover --env test"
ROLLBACK = "invoke rollback --env test"


class Left(NamedTuple):
    """The attempt that a killed tool leaves. refused: the order was; next: the beginning of the next command."""

    go: Go
    next: str
    paused: bool = False
    refused: bool = False


ORDERS: dict[str, Callable[[Environment, Direction], OrderReport]] = {
    "go": lambda env, way: ordering.go(env, unasked, way),
    "hold": ordering.hold,
    "pause": ordering.pause,
    "resume": lambda env, way: ordering.resume(env, unasked, way),
}


def left_by(move: str, *early: MoveState) -> dict[MoveState, dict[str, Left]]:
    """Return what each order leaves in each state. move: the command; early: states of a run that does not hold yet."""
    resumes, goes, holds = f"{move} --resume", f"{move} (goes on to the window", f"{move} (goes on, and holds again"
    before_it_holds = {
        "go": Left(Go.ASKED, move, refused=True),
        "hold": Left(Go.ASKED, move),
        "pause": Left(Go.ASKED, resumes, paused=True),
        "resume": Left(Go.ASKED, move),
    }
    return {
        **dict.fromkeys(early, before_it_holds),
        MoveState.PAUSED: {
            "go": Left(Go.ASKED, resumes, paused=True, refused=True),
            "hold": Left(Go.ASKED, resumes, paused=True),
            "pause": Left(Go.ASKED, resumes, paused=True),
            "resume": Left(Go.ASKED, move),
        },
        MoveState.HOLDING: {
            "go": Left(Go.ORDERED, goes),
            "hold": Left(Go.HOLDING, holds),
            "pause": Left(Go.HOLDING, resumes, paused=True),
            "resume": Left(Go.HOLDING, holds),
        },
        MoveState.WAITING: {
            "go": Left(Go.ORDERED, goes),
            "hold": Left(Go.ASKED, move),  # A tool that is ready says so itself.
            "pause": Left(Go.ORDERED, goes, refused=True),
            "resume": Left(Go.ORDERED, goes),
        },
    }


LEFT = left_by(CUTOVER, MoveState.COPYING, MoveState.CATCHING_UP, MoveState.STANDING_BY)
LEFT_BACK = left_by(ROLLBACK, MoveState.COPYING_BACK, MoveState.CATCHING_UP, MoveState.STANDING_BY)


@pytest.mark.parametrize(("state", "order"), [(state, order) for state in LEFT for order in LEFT[state]], ids=str)
def test_an_order_whose_tool_is_killed_just_after_stands_and_is_followed(
    world: World, monkeypatch: pytest.MonkeyPatch, state: MoveState, order: str
) -> None:
    left = LEFT[state][order]
    ordered_and_killed(world, monkeypatch, THERE, state, order, left)
    assert world.act(0, "while-nobody-moves").status_code == 200

    if (left.go, left.paused) == (Go.ORDERED, False):
        world.cutover(offline=False)
        world.assert_open_on_postgres()
        assert world.act(0, "while-nobody-moves").json()["replayed"]
        return
    with in_the_state(world, MoveState.PAUSED if left.paused else MoveState.HOLDING, hold=False):
        assert world.act(1, "while-it-stands").status_code == 200
    world.cutover(abort=True)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert not world.captured()
    assert standing(world) is None


@pytest.mark.parametrize(("state", "order"), [(state, order) for state in LEFT_BACK for order in LEFT_BACK[state]])
def test_an_order_on_the_way_back_whose_tool_is_killed_just_after_stands_and_is_followed(
    on_postgres: World, monkeypatch: pytest.MonkeyPatch, state: MoveState, order: str
) -> None:
    world, left, request = on_postgres, LEFT_BACK[state][order], f"{state} {order}".replace(" ", "-")
    if state is MoveState.COPYING_BACK:
        with ops.connect(world.owner) as conn:
            change_log.turn_off(conn)
    ordered_and_killed(world, monkeypatch, BACK, state, order, left)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("live", "moved", "postgres")
    assert world.save(0, request).status_code == 200

    if (left.go, left.paused) == (Go.ORDERED, False):
        world.rollback(offline=False)
        assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
        assert world.save(0, request).json()["replayed"]
        assert standing(world) is None
        return
    with in_the_state(world, MoveState.PAUSED if left.paused else MoveState.HOLDING, hold=False, way=BACK):
        assert world.save(1, f"{request}-still").status_code == 200
    world.rollback(abort=True)
    world.assert_open_on_postgres()
    assert standing(world) is None
    assert "to go back: invoke rollback" in dict(environment_status.status(world.env).rows)["next"]


def ordered_and_killed(
    world: World, monkeypatch: pytest.MonkeyPatch, way: Direction, state: MoveState, order: str, left: Left
) -> None:
    """Give the order to a tool in this state, kill the tool, and see that the order stands as `left` says."""
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 0.0)  # The tool stays where it is.
    with in_the_state(world, state, way=way) as kill:
        if left.refused:
            with pytest.raises(Refusal):
                ORDERS[order](world.env, way)
        else:
            assert ORDERS[order](world.env, way).run
        kill()
    assert standing(world) == (left.go, left.paused)
    assert dict(environment_status.status(world.env).rows)["next"].startswith(left.next)


@contextmanager
def in_the_state(
    world: World, state: MoveState, *, hold: bool = True, way: Direction = THERE
) -> Iterator[Callable[[], None]]:
    """Have a tool that begins or goes on stay in this state. Yields the function that kills it; killed at the end."""
    folder = world.folder / f"tool-{len([*world.folder.glob('tool-*')])}"
    folder.mkdir()
    if not hold:
        (folder / "goes on").touch()
    process = SPAWN.Process(
        target=_move, args=(world.env, world.folder, world.server.handle(), folder, state, hold, way)
    )
    process.start()

    def kill() -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    try:
        if hold:
            _bring(world, folder, state, process.is_alive, way)
        wait_until(lambda: _is_in(folder, state) or not process.is_alive(), SECONDS)
        assert process.is_alive(), (folder / "lines").read_text()
        yield kill
    finally:
        if process.is_alive():
            kill()


def _bring(world: World, folder: Path, state: MoveState, is_alive: Callable[[], bool], way: Direction) -> None:
    """Order what brings a run to a state that it does not come to by itself."""
    if state is MoveState.PAUSED:
        wait_until(lambda: _is_in(folder, FIRST[way]) or not is_alive(), SECONDS)
        ordering.pause(world.env, way)
        (folder / "goes on").touch()
    if state is MoveState.WAITING:
        wait_until(lambda: standing(world) == (Go.HOLDING, False) or not is_alive(), SECONDS)
        ordering.go(world.env, unasked, way)


def standing(world: World) -> tuple[Go, bool] | None:
    """Return the go of the attempt and whether it is paused, as Postgres has them; None without an attempt."""
    with ops.connect(world.owner) as conn:
        order = orders.standing(conn)
    return None if order is None else (order.go, order.paused)


class _Staying(Unseen):
    """Stays in one state until the process is killed; in the copy that is to be paused, until it was ordered."""

    def __init__(self, folder: Path, state: MoveState, first: MoveState) -> None:
        self.folder, self.state, self.first = folder, state, first

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        del dirty, reason
        if state is self.first and self.state is MoveState.PAUSED and not (self.folder / "goes on").exists():
            self._enter(state)
            wait_until((self.folder / "goes on").exists, SECONDS)
        if state is self.state and state is not MoveState.HOLDING:
            self._stay(state)
        yield

    def holds(self, when: str, step: str) -> None:
        """Stay once the tool is ready, after its first round: an observer of the run."""
        if (when, step) == ("at", "hold") and self.state is MoveState.HOLDING:
            self._stay(MoveState.HOLDING)

    def _stay(self, state: MoveState) -> None:
        self._enter(state)
        signal.pause()

    def _enter(self, state: MoveState) -> None:
        (self.folder / f"in {state}").touch()


def _is_in(folder: Path, state: MoveState) -> bool:
    return (folder / f"in {state}").exists()


def _move(env: Environment, folder: Path, handle: str, own: Path, state: MoveState, hold: bool, way: Direction) -> None:
    sys.stdout = sys.stderr = (own / "lines").open("w", buffering=1)
    if state is MoveState.WAITING:
        holding.PROOF_SECONDS = 0.0
    view = _Staying(own, state, FIRST[way])
    {THERE: run_cutover, BACK: run_rollback}[way](
        env,
        folder=folder / "runs",
        smoke=quiet_smoke,
        tools=Server.attach(handle).tool,
        observer=view.holds,
        view=view,
        offline=False,
        hold=hold,
    )
