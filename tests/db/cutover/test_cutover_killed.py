"""Killed anywhere: a cutover that goes on ends live, one that is aborted ends on the legacy file, both whole.

Each run here is a process of its own that ends with SIGKILL; one world lives through many of them, as a night does.
Inside its steps, and before each, a move is killed and aborted in tests/harness/strikes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from db import ops
from db.cutover import pointer, undoing
from db.cutover.ports import SmokeResult
from db.environments import Hooks
from db.errors import Inconclusive, Refusal
from db.ops import Phase, fence
from game.urls import LegacyUrl, PostgresUrl
from tests.db.cutover.cutover_world import KILL_THE_RUN, World, run_cutover, world

__all__ = ["world"]

KILLED = -signal.SIGKILL


@pytest.mark.core
def test_a_cutover_killed_after_and_within_its_steps_goes_on_and_ends_live_and_whole(world: World) -> None:
    dies_within_switch = world.with_(hooks=Hooks(deploy=KILL_THE_RUN, restart=world.env.hooks.restart))
    for step in ("snapshot", "migrate", "fence", "copy"):
        assert world.dies("after", step, run_cutover) == KILLED, step
    assert dies_within_switch.dies("never", "", run_cutover) == KILLED
    assert isinstance(pointer.url(world.env.pointer), PostgresUrl)
    assert world.engine() == "legacy"
    assert world.dies("after", "switch", run_cutover) == KILLED
    assert world.dies("never", "", run_cutover, smoke=deadly_smoke) == KILLED
    for when, step in (("after", "smoke"), ("before", "live"), ("after", "live")):
        assert world.dies(when, step, run_cutover) == KILLED, step

    report = world.cutover()

    assert report.verdict == "live"
    world.assert_whole_on_postgres()
    assert len([*world.runs.glob("*/journal.jsonl")]) == 2, "one that had not begun yet, and one that was gone on with"
    assert report.counts["mismatches"] == 0


def test_an_abort_that_is_killed_within_an_undo_is_finished_by_the_next_run(world: World) -> None:
    dies_within_switch = world.with_(hooks=Hooks(deploy=KILL_THE_RUN, restart=world.env.hooks.restart))
    assert world.dies("before", "smoke", run_cutover) == KILLED
    assert world.dies("after", "mark aborted", run_cutover, abort=True) == KILLED
    assert (world.phase(), world.legacy_fence()) == ("aborted", "fenced")
    assert dies_within_switch.dies("never", "", run_cutover, abort=True) == KILLED
    assert world.dies("after", "switch back", run_cutover, abort=True) == KILLED
    assert (world.engine(), world.legacy_fence()) == ("legacy", "open")

    assert world.dies("before", "preflight", run_cutover) == KILLED
    world.assert_whole_on_legacy()


def test_a_run_that_died_between_live_and_moved_is_finished_and_never_undone(world: World) -> None:
    assert world.dies("before", "live", run_cutover) == KILLED
    with ops.lock(world.owner, run=world.run_of_the_phase(), why="test") as held, held.conn.transaction():
        held.advance(Phase.LOADING, Phase.LIVE)
        fence.lift(held.conn)

    with pytest.raises(Refusal, match="rollback"):
        world.cutover(abort=True)
    assert world.legacy_fence() == "fenced"
    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_a_lost_lock_undoes_and_a_lost_server_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Postgres can't say whether the lift was kept, the file stays closed and the pointer where it is: exit 3."""

    def cut_the_lock(when: str, step: str) -> None:
        if (when, step) == ("before", "live"):
            with ops.connect(world.superuser) as conn:
                _end_sessions(conn, world.owner.dbname)

    with pytest.raises(Exception, match="lock") as caught:
        world.cutover(observer=cut_the_lock)
    assert getattr(caught.value, "exit_code", None) == 4
    world.assert_whole_on_legacy()

    def close_the_server(when: str, step: str) -> None:
        if (when, step) == ("before", "live"):
            with ops.connect(world.superuser) as conn:
                conn.execute(f'ALTER DATABASE "{world.owner.dbname}" ALLOW_CONNECTIONS false')
                _end_sessions(conn, world.owner.dbname)

    monkeypatch.setattr(undoing, "RECONNECT_SECONDS", 0.3)
    try:
        with pytest.raises(Inconclusive) as unknown:
            world.cutover(observer=close_the_server)
        with pytest.raises(Inconclusive):
            world.cutover(abort=True)
        assert unknown.value.exit_code == 3
        assert ".." not in str(unknown.value)
        assert world.legacy_fence() == "fenced"
        assert isinstance(pointer.url(world.env.pointer), PostgresUrl)
    finally:
        with ops.connect(world.superuser) as conn:
            conn.execute(f'ALTER DATABASE "{world.owner.dbname}" ALLOW_CONNECTIONS true')

    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_a_server_that_does_not_answer_is_refused_while_nothing_is_under_way(world: World) -> None:
    away = world.with_(target_direct=world.owner.with_(port=1))

    with pytest.raises(Refusal) as caught:
        away.cutover()

    assert caught.value.exit_code == 2
    world.assert_whole_on_legacy()


def deadly_smoke(services: Sequence[str], store: PostgresUrl | LegacyUrl, *, pass_token: str) -> SmokeResult:
    """A smoke in which the whole run dies."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def _end_sessions(conn: ops.Connection, name: str) -> None:
    conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
