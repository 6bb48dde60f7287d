"""A live cutover that holds and pauses as people order it from another terminal, while players play.

The tool is a process of its own, with its signal handlers, its lines and its exit code.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from db import ops
from db.confirmation import unasked
from db.console.live_view import CopyProgress, Dirty, MoveState, RoundProgress, unknown
from db.console.output import outcome
from db.cutover import holding, ordering
from db.environments import Environment
from db.errors import Refusal
from db.ops import orders
from db.ops.orders import Go
from db.processes.interruption import Signals
from db.servers import Server
from harness.cli.commands import cutovers, environment_status
from tests.db.cutover.cutover_world import SPAWN, World, quiet_smoke, run_cutover, wait_until, world

__all__ = ["world"]

GOES_ON = "invoke cutover --env test"


@dataclass(frozen=True)
class Tool:
    """A run in a process of its own. lines: the file of what it prints."""

    process: BaseProcess
    lines: Path

    @property
    def printed(self) -> str:
        return self.lines.read_text()

    @property
    def last_line(self) -> str:
        return self.printed.rstrip().splitlines()[-1]

    def interrupt(self) -> int | None:
        """Press Ctrl-C once, and return the exit code."""
        return self._end(signal.SIGINT)

    def kill(self) -> int | None:
        return self._end(signal.SIGKILL)

    def ended(self) -> int | None:
        """Return the exit code of a tool that comes to its end."""
        self.process.join(180)
        return self.process.exitcode

    def _end(self, number: int) -> int | None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        return self.ended()


@contextmanager
def started(world: World, *, hold: bool = False, proof_seconds: float = 600.0) -> Iterator[Tool]:
    """A live cutover that began, or goes on, in a process of its own."""
    lines = world.folder / f"lines-{len([*world.folder.glob('lines-*')])}"
    lines.touch()
    given = (world.env, world.folder, world.server.handle(), lines, hold, proof_seconds)
    process = SPAWN.Process(target=_cut_over, args=given)
    process.start()
    try:
        yield Tool(process, lines)
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def _cut_over(env: Environment, folder: Path, handle: str, lines: Path, hold: bool, proof_seconds: float) -> None:
    """Make a live cutover as the task does. Before a proof is made again it waits for a file."""
    sys.stdout = sys.stderr = lines.open("w", buffering=1)
    os.environ["COLUMNS"] = "400"
    holding.PROOF_SECONDS = proof_seconds
    holding.ROUND_SECONDS = 1_000.0  # An order ends the pause between two rounds, or nothing does.

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", "proven again"):
            wait_until((folder / "may-prove").exists, seconds=120)

    with Signals() as signals, outcome(None) as out:
        cutovers.end_with(env, out, signals, dry_run=False)
        config: dict[str, Any] = {"smoke": quiet_smoke, "tools": Server.attach(handle).tool, "observer": observer}
        config |= {"signals": signals, "progress": out.progress, "offline": False, "hold": hold}
        report = run_cutover(env, folder=folder / "runs", **config)
        out.end(str(report.verdict))


def state(world: World) -> tuple[Go, bool] | None:
    """Return the go of the attempt and whether it is paused, as Postgres has them."""
    with ops.connect(world.owner) as conn:
        order = orders.read(conn, ops.phase_run(conn))
    return None if order is None else (order.go, order.paused)


def comes_to(world: World, tool: Tool, text: str) -> None:
    """Wait until the tool has printed this; fail with what it printed if it ends before."""
    wait_until(lambda: text in tool.printed or not tool.process.is_alive(), seconds=180)
    assert text in tool.printed, tool.printed


def shown(world: World) -> tuple[str, str]:
    """Return the state of the move and the next command, as `invoke status` prints them."""
    rows = dict(environment_status.status(world.env).rows)
    return rows["move"], rows["next"]


def test_a_held_attempt_that_was_paused_killed_and_interrupted_goes_on_and_is_undone(world: World) -> None:
    with started(world, hold=True) as tool:
        comes_to(world, tool, "holding until a go is ordered: invoke cutover --env test --go")
        wait_until(lambda: state(world) == (Go.HOLDING, False))
        move, todo = shown(world)
        assert move.startswith("holding: until a go is ordered; ")
        assert todo == "invoke cutover --env test --go (orders the window)"
        assert world.act(0, "while-holding").status_code == 200

        ordering.pause(world.env)
        comes_to(world, tool, "paused by ")
        move, todo = shown(world)
        assert move.startswith("paused: by ")
        assert todo == "invoke cutover --env test --resume (has it go on)"
        assert world.act(1, "while-paused").status_code == 200
        with pytest.raises(Refusal, match="paused at"):
            ordering.go(world.env, unasked)
        assert tool.kill() == -signal.SIGKILL

    move, todo = shown(world)
    assert move.startswith("paused: by ")
    assert move.endswith("; no run is at work on it")
    assert todo.startswith("invoke cutover --env test --resume (has it go on; no run is at work on it: then")
    with pytest.raises(Refusal, match="found none at work"):
        ordering.go(world.env, unasked)

    with started(world) as tool:  # Without --hold: what was ordered stands.
        comes_to(world, tool, "to go on: invoke cutover --env test --resume")
        ordering.resume(world.env, unasked)
        comes_to(world, tool, "resumed")
        wait_until(lambda: state(world) == (Go.HOLDING, False), seconds=120)
        assert tool.interrupt() == 130
    assert "nothing is undone: the copy, change capture and what was ordered stay" in tool.printed
    outcome, serves, fences, todo = tool.last_line.split(" · ")
    assert (outcome, serves) == ("interrupted", "players play on SQLite")
    assert fences == "SQLite open, Postgres fenced"
    assert todo == f"next: {GOES_ON} (goes on, and holds again; --abort undoes it)"
    assert (world.phase(), world.captured(), state(world)) == ("loading", True, (Go.HOLDING, False))
    assert world.act(2, "after-it").status_code == 200

    world.cutover(abort=True)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert not world.captured()
    with ops.connect(world.owner) as conn:
        assert conn.execute("select count(*) from ops.live_orders").fetchone() == (0,)


def test_a_go_is_taken_back_in_time_ordered_again_and_taken(world: World) -> None:
    """The proof has become old, so the tool waits before it takes the go: that is when it can be taken back."""
    with started(world, hold=True, proof_seconds=0.0) as tool:
        wait_until(lambda: state(world) == (Go.HOLDING, False) or not tool.process.is_alive(), seconds=180)
        report = ordering.go(world.env, unasked)
        assert report.outcome == "ordered"
        assert "it waits because every player is proven again" in report.said
        move, todo = shown(world)
        assert move.startswith("waiting because every player is proven again: ")
        assert todo == "invoke cutover --env test --hold (takes the go back, if it comes in time)"
        with pytest.raises(Refusal, match=r"a go that .* ordered at"):
            ordering.pause(world.env)
        assert ordering.hold(world.env).changed
        (world.folder / "may-prove").touch()
        wait_until(lambda: state(world) == (Go.HOLDING, False), seconds=60)
        assert world.act(0, "before-the-go").status_code == 200

        assert ordering.go(world.env, unasked).outcome in ("live", "taken", "ordered")
        assert tool.ended() == 0
    assert tool.last_line.startswith("live · players play on Postgres · ")
    world.assert_open_on_postgres()
    assert world.act(0, "before-the-go").json()["replayed"]
    with pytest.raises(Refusal, match="the phase is live") as caught:
        ordering.hold(world.env)
    assert "It is too late" in caught.value.do
    with ops.connect(world.owner) as conn:
        assert conn.execute("select count(*) from ops.live_orders").fetchone() == (0,)


class Ordering:
    """A view from which people order: a pause at the first batch, a hold of a run that needs no go, then the go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.states: list[MoveState] = []
        self.rounds_held = 0
        self.pause_seconds = 0.0
        self.asked: list[str] = []

    @contextmanager
    def doing(self, state: MoveState, dirty: Dirty = unknown, reason: str = "") -> Iterator[None]:
        self.states.append(state)
        if state is MoveState.PAUSED:
            self.asked.append(reason)
            assert shown(self.world)[0].startswith("paused: by ")
            assert self.world.act(0, "while-the-copy-pauses").status_code == 200
            assert ordering.resume(self.world.env, unasked).changed
        elif state is MoveState.STANDING_BY:
            assert ordering.hold(self.world.env).changed
        yield

    def copied(self, progress: CopyProgress) -> None:
        if MoveState.PAUSED not in self.states:
            assert ordering.pause(self.world.env).changed

    def applied(self, progress: RoundProgress) -> None:
        if self.states[-1] is not MoveState.HOLDING:
            return
        self.rounds_held += 1
        self.pause_seconds = progress.read_at - self.pause_seconds
        assert state(self.world) == (Go.HOLDING, False)
        if self.rounds_held == 1:
            with ops.connect(self.world.superuser) as conn:  # As a firewall cuts what has idled for long.
                query = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and"
                query += " application_name = 'sudamr instant'"
                assert conn.execute(query.encode(), (self.world.owner.dbname,)).fetchall() == [(True,)]
            assert self.world.act(1, "while-it-holds").status_code == 200
        else:
            with ops.connect(self.world.owner) as conn:
                have = conn.execute("select count(*) from action_receipts where request_id like 'while-%'").fetchone()
                assert have == (2,)
            assert ordering.go(self.world.env, unasked).outcome == "ordered"

    def passed(self, parts_ms: Mapping[str, float]) -> None:
        self.states.append(MoveState.LIVE)


def test_a_copy_pauses_and_a_run_without_hold_is_held_with_rounds_until_it_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "ROUND_SECONDS", 0.5)
    monkeypatch.setattr(ordering, "TAKEN_SECONDS", 0.0)  # The run is this process: it takes nothing while it orders.
    view = Ordering(world)
    report = world.cutover(offline=False, view=view)
    known = (MoveState.COPYING, MoveState.PAUSED, MoveState.CATCHING_UP, MoveState.STANDING_BY, MoveState.HOLDING)
    assert sorted(known, key=view.states.index) == [*known]
    assert view.states.count(MoveState.PAUSED) == 1
    assert view.asked[0].endswith("to go on: invoke cutover --env test --resume")
    assert view.rounds_held == 2
    assert view.pause_seconds >= holding.ROUND_SECONDS
    assert report.live is not None
    assert report.live.instant["snapshot"] == 10
    world.assert_open_on_postgres()
    assert world.act(1, "while-it-holds").json()["replayed"]
    assert '"held_seconds"' in world.journals()
