"""`invoke follow` as people meet it: orders, its row in `status`, signals, and a rollback that gets no answer."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Mapping

import pytest
from rich.console import Console
from rich.live import Live

from db import ops
from db.console.output import outcome
from db.cutover import taking_over
from db.cutover.runbook import LeftToGoOn
from db.errors import Refusal
from db.follow import orders, status
from db.follow.figures import Prediction, RoundFigures
from db.follow.view import Lines, Objects, Screen
from db.ops import change_log
from db.ops.following import FollowState
from harness.cli.commands import follows
from tests.db.cutover.cutover_world import World, wait_until
from tests.db.follow.followed import in_a_process, on_a_thread, row, wait_for_receipt, wait_for_state

FIGURES = RoundFigures(0.4, 37, 0.061, 98, 0.024)


def test_status_says_who_follows_how_far_it_is_and_what_a_rollback_would_be(world: World) -> None:
    nobody = status.described(world.env)
    assert "no process follows" in nobody[0]
    assert "window is not known" in nobody[-1]
    with on_a_thread(world) as follower:
        for number in range(3):
            assert world.act(number, f"followed-{number}").status_code == 200
            wait_for_receipt(world, f"followed-{number}")
        wait_until(lambda: row(world).window_seconds is not None)
        state, figures, rollback = status.described(world.env)
        assert state.startswith("following")
        assert "the last round was" in figures
        assert "would be live, with a window of about" in rollback
        follower.end()
    assert "stopped because SIGINT" in status.described(world.env)[0] or "is gone" in status.described(world.env)[0]
    with ops.connect(world.owner) as conn:
        change_log.turn_off(conn)
    assert any(line.startswith("lag not known") for line in status.described(world.env))


def test_orders_before_anything_follows_are_refused_and_after_it_they_stand(world: World) -> None:
    for order in (orders.pause, orders.resume, orders.stop):
        with pytest.raises(Refusal, match="a legacy file that follows"):
            order(world.env)
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        assert orders.pause(world.env).changed
        wait_for_state(world, FollowState.PAUSING)
        follower.end()
    assert "no process is at work" in orders.resume(world.env).said
    assert orders.stop(world.env).changed
    again = orders.stop(world.env)
    assert not again.changed
    assert " ordered the end at " in again.said


def test_the_first_signal_ends_it_at_the_end_of_a_round(world: World) -> None:
    with in_a_process(world) as process:
        wait_for_state(world, FollowState.FOLLOWING)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
        assert process.exitcode == 0
    assert (row(world).state, row(world).reason) == (FollowState.STOPPED, "SIGINT")


def test_the_last_line_names_what_has_it_follow_again(world: World) -> None:
    with outcome(None) as out:
        follows.end_with(world.env, out)
        assert out.at_end is not None
        after = {one: out.at_end(one).next for one in ("interrupted", "paused", "resumed")}
    settled = "no move is under way; to go back: invoke rollback --env test"
    assert after == {
        "interrupted": f"invoke follow --env test (follows again); {settled}",
        "paused": f"invoke follow --env test --resume (has it go on); {settled}",
        "resumed": settled,
    }


def test_a_rollback_that_gets_no_answer_leaves_the_game_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking_over, "PATIENCE_SECONDS", 0.5)
    with in_a_process(world) as process:
        wait_for_state(world, FollowState.FOLLOWING)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(LeftToGoOn, match=f"no answer of process {process.pid}"):
            world.rollback(offline=False)
        world.assert_open_on_postgres()
        os.kill(process.pid, signal.SIGCONT)
        assert world.act(0, "after").status_code == 200
        wait_for_receipt(world, "after")


def test_lines_come_ten_seconds_apart_and_objects_have_the_figures() -> None:
    said: list[str] = []
    written: list[Mapping[str, object]] = []
    shown = Objects(Lines(said.append), written.append)
    shown.state(FollowState.FOLLOWING, "")
    for _round in range(3):
        shown.round(FIGURES)
    shown.state(FollowState.PAUSING, "the disk is full")
    window = "a rollback's window would take about 24 ms"
    assert said == [
        "following",
        f"following: lag 0.4 s; 37 changes wait; the last round took 61 ms for 98 changes; {window}",
        "pausing because the disk is full",
    ]
    assert [one["state"] for one in written] == ["following", "following", "pausing"]
    assert written[1]["window_seconds"] == 0.024


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits_the_terminal_and_breaks_no_command(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        screen = Screen(console, live)
        screen.state(FollowState.PAUSING, "anna on db-1 ordered it; invoke follow --env production --resume")
        screen.round(FIGURES)
        console.print(live.get_renderable())
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "invoke follow --env production --resume" in shown
    assert "lag         0.4 s" in shown
    assert "last round  61 ms for 98 changes" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_window_that_no_round_predicts_is_not_known() -> None:
    prediction = Prediction()
    assert prediction.seconds is None
    for seconds in (0.5, 0.02):
        prediction.add(seconds)
        assert prediction.seconds is None
    prediction.add(0.03)
    assert prediction.seconds is not None
    assert prediction.seconds >= 0.02
