"""The legacy file follows Postgres after a cutover: each round brings it what players did, once."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

import pytest

from db import ops
from db.errors import Refusal
from db.follow.ending_signals import GentleSignals
from db.follow.lock import AnotherFollows
from db.follow.loop import FollowConfig, follow
from db.ops import change_log, following
from db.ops.following import FollowState
from db.servers import Server
from db.transfer.live_back.session import writing_back
from tests.db.cutover.cutover_world import World, made, proven, run_cutover, run_rollback, wait_until
from tests.db.follow.followed import (
    differences,
    in_a_process,
    on_a_thread,
    receipts,
    row,
    wait_for_receipt,
    wait_for_state,
)


def test_what_players_do_is_in_the_file_moments_later_while_it_says_moved(world: World) -> None:
    with on_a_thread(world) as follower:
        for number in range(3):
            assert world.act(number, f"act-{number}").status_code == 200
            wait_for_receipt(world, f"act-{number}")
            assert world.legacy_fence() == "moved"
        found = row(world)
        assert found.lag is not None
        assert found.rounds >= 3
        report = follower.end()
    assert (report.outcome, report.reason) == ("interrupted", "SIGINT")
    assert differences(world) == ()
    world.assert_open_on_postgres()


def test_a_second_one_is_refused_and_names_the_first(world: World) -> None:
    with in_a_process(world) as first:
        wait_for_state(world, FollowState.FOLLOWING)
        with on_a_thread(world) as second, pytest.raises(AnotherFollows, match=f"process {first.pid}"):
            second.future.result(60)
        assert first.is_alive()


@pytest.mark.parametrize("place", ["begin", "round", "after a round"])
def test_one_that_was_killed_goes_on_from_the_two_stores(world: World, place: str) -> None:
    assert world.act(0, "before").status_code == 200
    with in_a_process(world, kill_at=place) as process:
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    assert world.act(1, "between").status_code == 200
    with on_a_thread(world) as follower:
        wait_for_receipt(world, "between")
        assert not follower.view.told(FollowState.ANEW)
        follower.end()
    assert receipts(world, "b%") == ["before", "between"]
    assert differences(world) == ()


def test_postgres_may_end_every_session(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        world.cut()
        wait_until(lambda: follower.view.told(FollowState.PAUSING, "Postgres"))
        assert world.act(0, "after").status_code == 200
        wait_for_receipt(world, "after")
        follower.end()
    assert differences(world) == ()


def test_a_live_rollback_takes_over_and_the_process_ends_when_the_game_returned(world: World) -> None:
    with on_a_thread(world) as follower:
        assert world.act(0, "followed").status_code == 200
        wait_for_receipt(world, "followed")
        world.rollback(offline=False)
        report = follower.future.result(60)
    assert report.outcome == "returned"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert receipts(world, "followed") == ["followed"]
    assert "handed over" in world.journals()


def test_the_file_is_free_once_the_row_says_that_it_was_handed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = following.hand_over

    def taken_at_once(conn: ops.Connection, name: str) -> str:
        with writing_back(world.env.legacy.path, world.owner, run="back", pass_token=secrets.token_hex(8)):
            return hand_over(conn, name)

    monkeypatch.setattr(following, "hand_over", taken_at_once)
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with ops.lock(world.owner, run="back", why="rollback") as held:
            following.want(held.conn, "back")
            wait_for_state(world, FollowState.HANDED_OVER)
            follower.end()


def test_one_that_was_gone_when_the_game_returned_is_not_missed(world: World) -> None:
    with in_a_process(world, kill_at="after a round") as process:
        process.join(60)
    assert row(world).wished
    world.rollback(offline=False)
    assert not row(world).wished


def test_it_goes_on_when_the_rollback_is_undone(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        assert world.dies("before", "window", run_rollback, offline=False) == -signal.SIGKILL
        assert follower.view.told(FollowState.HANDED_OVER)
        world.rollback(abort=True)
        assert world.act(0, "after").status_code == 200
        wait_for_receipt(world, "after")
        world.assert_open_on_postgres()
        follower.end()
    assert differences(world) == ()


def test_what_a_rollback_asked_of_one_that_is_gone_the_next_one_does(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        follower.end()
    with ops.lock(world.owner, run="back", why="rollback") as held:
        following.want(held.conn, "back")
        with on_a_thread(world) as follower:
            wait_for_state(world, FollowState.HANDED_OVER)
            assert following.is_handed_over(held.conn, "back")
            follower.end()
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        assert row(world).wanted_by == ""
        follower.end()


def test_an_offline_rollback_beside_it_loses_nothing(world: World) -> None:
    with on_a_thread(world) as follower:
        assert world.act(0, "followed").status_code == 200
        wait_for_receipt(world, "followed")
        assert world.act(1, "last").status_code == 200
        world.rollback()
        assert follower.future.result(60).outcome == "returned"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert receipts(world, "%l%") == ["followed", "last"]


def test_discarding_writes_beside_it_leaves_one_open_store(world: World) -> None:
    with on_a_thread(world) as follower:
        assert world.act(0, "followed").status_code == 200
        wait_for_receipt(world, "followed")
        world.rollback(discard_writes=True, accept_loss=0)
        assert follower.future.result(60).outcome == "returned"
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.postgres_refuses()


def test_a_log_that_was_lost_is_begun_anew_and_says_why(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with ops.connect(world.owner) as conn:
            conn.execute("update ops.change_capture set ended = 'outgrown'")
            change_log.turn_off(conn)
        assert world.act(0, "unlogged").status_code == 200
        wait_for_receipt(world, "unlogged")
        assert follower.view.told(FollowState.ANEW, "outgrown")
        follower.end()
    assert differences(world) == ()


def test_a_pause_lets_players_play_and_a_resume_brings_it_all(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with ops.connect(world.owner) as conn:
            assert following.order_pause(conn, "anna")
            assert not following.order_pause(conn, "berta")
        wait_until(lambda: follower.view.told(FollowState.PAUSING, "anna ordered it"))
        assert world.act(0, "paused").status_code == 200
        assert receipts(world, "paused") == []
        with ops.connect(world.owner) as conn:
            assert following.order_resume(conn)
        wait_for_receipt(world, "paused")
        follower.end()


def test_a_stop_ends_it_and_a_new_one_begins(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with ops.connect(world.owner) as conn:
            assert following.is_on(conn)
            assert following.order_stop(conn, "anna")
        assert follower.future.result(60).outcome == "stopped"
    with ops.connect(world.owner) as conn:
        assert not following.is_on(conn)
    with on_a_thread(world) as again:
        wait_for_state(world, FollowState.FOLLOWING)
        again.end()


def test_before_a_cutover_it_is_refused(server: Server, tmp_path: Path) -> None:
    with made(server, tmp_path) as world, pytest.raises(Refusal, match="live on Postgres"):
        follow(world.env, FollowConfig(signals=GentleSignals()))


def test_a_cutover_that_has_still_to_prove_the_file_is_waited_for(server: Server, tmp_path: Path) -> None:
    """The proof of the instant compares the file as it was at the lift."""
    with made(server, tmp_path) as world:
        died = world.dies("before", "instant", run_cutover, offline=False, evidence=proven)
        assert died == -signal.SIGKILL
        with on_a_thread(world) as follower:
            wait_until(lambda: follower.view.told(FollowState.PAUSING, "has still to prove"))
            assert world.act(0, "early").status_code == 200
            world.cutover(offline=False)
            wait_for_receipt(world, "early")
            follower.end()
        assert differences(world) == ()
