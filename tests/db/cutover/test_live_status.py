"""`invoke status` names the state of a live attempt by what is in the stores, and the command that goes on with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.console.live_view import MoveState
from db.cutover import ending, live_status
from db.cutover.advice import Fence
from db.cutover.probes import CaptureState, CopyState, TargetState
from db.errors import Refusal, ToolError
from db.ops import Phase
from db.ops.locks import Holder
from db.ops.orders import Go, Orders
from game.legacy.fence_schema import FenceMark
from harness.cli.commands import environment_status, move_pages
from harness.report import move
from tests.db.cutover.cutover_world import World, failing_before, run_cutover, world

__all__ = ["world"]

RUN = "20270115_080000_abcd"
CAPTURE = CaptureState(RUN, "log", players=20_000, waiting=1_204)
OPEN, FENCED = FenceMark("open"), FenceMark("fenced")
TARGET = TargetState(
    Phase.LOADING, RUN, "id", None, None, fence=Fence.FENCED, inconsistent=(), schema="0013", rows=True
)
HOLDER = Holder(RUN, "cutover", "db-1", 4711, "2027-01-15T08:00:00Z")


def state_of(mark: FenceMark = OPEN, capture: CaptureState | None = CAPTURE, **changes: Any) -> str:
    return str(live_status.of(mark, capture, replace(TARGET, **changes)))


@pytest.mark.parametrize(
    ("copies", "proven", "expected"),
    [
        ((), False, "copying: 0 of 20,000 players; 1,204 changes of players wait"),
        ((CopyState("another", 20_000, beyond=True),), False, "copying: 0 of 20,000 players; "),
        ((CopyState("log", 3_100, beyond=False),), False, "copying: 3,100 of 20,000 players; "),
        ((CopyState("log", 19_999, beyond=True),), False, "catching up: every player is copied; 1,204 changes"),
        ((CopyState("log", 20_000, beyond=True),), True, "standing by: every player was proven at one instant; "),
    ],
)
def test_the_state_follows_from_the_stores(copies: tuple[CopyState, ...], proven: bool, expected: str) -> None:
    assert state_of(copies=copies, proven=proven, holder=HOLDER).startswith(expected)
    assert state_of(copies=copies, proven=proven).endswith("; no run is at work on it")


def test_a_window_and_what_follows_it_are_named() -> None:
    assert state_of(FENCED, holder=HOLDER) == "in the window: the legacy file is fenced"
    assert "the watchdog opens the file" in state_of(FENCED)
    assert state_of(phase=Phase.LIVE).startswith("live: players play on Postgres")


ORDERS = Orders(RUN, Go.HOLDING, "", "", "", "", "", "")
ORDERED = replace(ORDERS, go=Go.ORDERED, go_by="hana on db-1", go_at="2027-01-15 08:00:00 UTC")
PAUSED = replace(ORDERS, paused_by="hana on db-1", paused_at="2027-01-15 08:00:00 UTC")
BY = "by hana on db-1 at 2027-01-15 08:00:00 UTC; "
CUTOVER = "invoke cutover --env test"


@pytest.mark.parametrize(
    ("orders", "state", "at_work", "alone"),
    [
        (
            ORDERS,
            "holding: until a go is ordered; ",
            "--go (orders the window)",
            "(goes on, and holds again",
        ),
        (PAUSED, f"paused: {BY}", "--resume (has it go on)", "--resume (has it go on; no run is at work on it: then"),
        (ORDERED, f"go ordered: {BY}", "--hold (takes the go back", "(goes on to the window; with --hold"),
        (replace(ORDERED, go=Go.TAKEN), f"go ordered: {BY}", "", "(goes on to the window; with --hold"),
        (
            replace(ORDERED, waiting="all is proven again"),
            None,
            "--hold (takes the go back",
            "(goes on to",
        ),
        (replace(ORDERS, go=Go.ASKED), "standing by: every player was proven", "", ""),
        (replace(ORDERS, go=Go.UNASKED), "standing by: every player was proven", "", ""),
    ],
)
def test_what_people_ordered_is_told_with_the_next_command(
    orders: Orders, state: str | None, at_work: str, alone: str
) -> None:
    for holder, options in ((HOLDER, at_work), (None, alone)):
        target = replace(
            TARGET, orders=orders, proven=True, holder=holder, copies=(CopyState("log", 20_000, beyond=True),)
        )
        seen = live_status.of(OPEN, CAPTURE, target)
        assert seen is not None
        waits = state or ("waiting because all is proven again; " if holder else f"go ordered: {BY}")
        assert str(seen).startswith(waits)
        assert str(seen).endswith("; no run is at work on it") is (holder is None)
        assert seen.next("test").startswith(f"{CUTOVER} {options}" if options else "")
        assert bool(options) == bool(seen.next("test"))


def test_why_a_run_left_an_attempt_is_told_until_another_goes_on() -> None:
    failed = replace(ORDERS, go=Go.UNASKED, failed="players write too fast")
    assert state_of(orders=failed).startswith("failed because players write too fast; ")
    assert not state_of(orders=failed, holder=HOLDER).startswith("failed")
    assert state_of(FENCED, orders=ORDERED, holder=HOLDER).startswith("in the window: ")


@pytest.mark.parametrize("phase", [Phase.EMPTY, Phase.ABORTED, Phase.RETURNED])
def test_where_no_attempt_is_under_way_there_is_none(phase: Phase) -> None:
    assert live_status.of(OPEN, CAPTURE, replace(TARGET, phase=phase)) is None
    assert live_status.of(OPEN, None, TARGET) is None
    assert live_status.of(OPEN, replace(CAPTURE, run="another"), TARGET) is None


@pytest.mark.parametrize(
    ("when", "step", "state"),
    [
        ("after", "copy", MoveState.CATCHING_UP),
        ("after", "stand by", MoveState.STANDING_BY),
        ("before", "instant", MoveState.LIVE),
    ],
)
def test_an_attempt_that_was_killed_says_how_to_go_on(world: World, when: str, step: str, state: MoveState) -> None:
    assert world.dies(when, step, run_cutover, offline=False) == -9
    rows = dict(environment_status.status(world.env).rows)
    assert rows["move"].startswith(f"{state}: ")
    assert "invoke cutover --env test" in rows["next"]
    assert "--offline" not in ending.ended(world.env, "failed").line

    world.cutover(offline=False)

    assert "move" not in dict(environment_status.status(world.env).rows)
    assert "--offline" not in ending.ended(world.env, "live").next


@pytest.mark.parametrize(("when", "step"), [("after", "migrate"), ("after", "fence"), ("after", "copy")])
def test_an_attempt_that_stops_the_game_is_gone_on_with_alike(world: World, when: str, step: str) -> None:
    assert world.dies(when, step, run_cutover) == -9
    assert "invoke cutover --env test --offline" in dict(environment_status.status(world.env).rows)["next"]
    assert "invoke cutover --env test --offline" in ending.ended(world.env, "failed").line
    with pytest.raises(Refusal, match="begun with --offline") as caught:
        world.cutover(offline=False)
    assert "invoke cutover --env test --offline" in caught.value.do

    world.cutover()

    assert "--offline" not in ending.ended(world.env, "live").next


class Said:
    """An output that keeps what is printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_the_page_is_written_at_the_end_of_each_move_however_it_ends(world: World) -> None:
    out = Said()
    with pytest.raises(ToolError), move_pages.written(world.env, "cutover", out, world.runs):
        world.cutover(offline=False, observer=failing_before("window"))
    with move_pages.written(world.env, "cutover", out, world.runs):
        world.cutover(offline=False)
    with pytest.raises(Refusal), move_pages.written(world.env, "cutover", out, world.runs):
        world.cutover(abort=True)  # Refused past the point of no return: nothing was done, so nothing is written.

    assert len(out.lines) == 2
    undone, live = (move.read(Path(line.removeprefix("report: ")).parent) for line in out.lines)
    assert (undone.verdict, undone.window) == ("undone", None)
    assert live.verdict == "live"
    assert live.window is not None
    assert live.window.ms > 0
    assert list(live.window.parts_ms)[-2:] == ["live", "moved"]
    assert live.copying[-1].players == live.copying[-1].total == 10
    assert len(live.rounds) >= 3
    assert set(live.proofs) == {"rows", "independent", "instant"}
    assert all(step.status == "done" for step in live.steps)
