"""Killed anywhere: a cutover that goes on ends live, one that is aborted ends on the legacy file, both whole.

Each run here is a process of its own that ends with SIGKILL; one world lives through many of them, as a night does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest
from cutover_world import World, proven, world

from db import fence, ops
from db.cutover import pointer, recovery
from db.cutover.ports import SmokeResult
from db.cutover.run import run
from db.environments import Hooks
from db.errors import Inconclusive, Refusal
from db.ops import Phase
from game.urls import LegacyUrl, PostgresUrl

__all__ = ["world"]

KILLED = -signal.SIGKILL
STEPS = ("snapshot", "migrate", "fence", "copy", "switch", "smoke", "final dump", "live")


def test_a_cutover_killed_after_every_step_goes_on_and_ends_live_and_whole(world: World) -> None:
    for step in STEPS:
        assert world.dies("after", step, run, evidence=proven) == KILLED, step

    report = world.cutover()

    assert report.verdict == "live"
    world.assert_whole_on_postgres()
    assert len({path.parent for path in world.runs.glob("*/journal.jsonl")}) == 1
    assert report.counts["mismatches"] == 0


@pytest.mark.parametrize("steps", [("snapshot", "migrate", "fence", "copy"), ("switch", "smoke", "live")])
def test_a_cutover_killed_before_a_step_is_aborted_and_all_is_as_before(world: World, steps: Sequence[str]) -> None:
    for step in steps:
        assert world.dies("before", step, run, evidence=proven) == KILLED, step
        if world.phase() == "empty":  # Nothing was begun, and an abort says so.
            with pytest.raises(Refusal, match="none that was begun"):
                world.cutover(abort=True)
        else:
            assert world.cutover(abort=True).verdict == "undone"
        world.assert_whole_on_legacy()


def test_a_cutover_killed_in_the_middle_of_the_switch_is_aborted_and_goes_on(world: World) -> None:
    """The pointer names Postgres already, and no process has read it."""
    dying = world.with_(hooks=Hooks(deploy="kill -9 $PPID", restart=world.env.hooks.restart))
    assert dying.dies("never", "", run, evidence=proven) == KILLED
    assert isinstance(pointer.url(world.env.pointer), PostgresUrl)
    assert world.engine() == "legacy"

    assert world.cutover(abort=True).verdict == "undone"
    world.assert_whole_on_legacy()

    assert dying.dies("never", "", run, evidence=proven) == KILLED
    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_an_abort_that_is_killed_is_finished_by_the_next_run(world: World) -> None:
    assert world.dies("before", "smoke", run, evidence=proven) == KILLED
    assert world.dies("after", "mark aborted", run, evidence=proven, abort=True) == KILLED
    assert (world.phase(), world.legacy_fence()) == ("aborted", "fenced")
    assert world.dies("after", "switch back", run, evidence=proven, abort=True) == KILLED
    assert (world.engine(), world.legacy_fence()) == ("legacy", "fenced")

    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_a_smoke_that_dies_with_the_run_leaves_it_to_go_on(world: World) -> None:
    assert world.dies("never", "", run, evidence=proven, smoke=deadly_smoke) == KILLED

    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_a_run_that_died_between_live_and_moved_is_finished_and_never_undone(world: World) -> None:
    assert world.dies("before", "live", run, evidence=proven) == KILLED
    with ops.lock(world.owner, run="by-hand", why="test") as held, held.conn.transaction():
        held.advance(Phase.LOADING, Phase.LIVE)
        fence.lift(held.conn)

    with pytest.raises(Refusal, match="rollback"):
        world.cutover(abort=True)
    assert world.legacy_fence() == "fenced"
    assert world.cutover().verdict == "live"
    world.assert_whole_on_postgres()


def test_a_run_that_loses_its_lock_before_the_lift_is_undone(world: World) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "live"):
            with ops.connect(world.server.url(world.owner.dbname, "superuser")) as conn:
                conn.execute("SELECT pg_terminate_backend(backend_pid) FROM ops.lock_holder")

    with pytest.raises(Exception, match="lock") as caught:
        world.cutover(observer=observer)

    assert getattr(caught.value, "exit_code", None) == 4
    world.assert_whole_on_legacy()


def test_when_postgres_does_not_answer_nothing_is_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the lift was kept can't be known: the file stays closed, the pointer where it is, and the exit code 3."""
    monkeypatch.setattr(recovery, "RECONNECT_SECONDS", 0.3)
    superuser = world.server.url(world.server.maintenance.dbname, "superuser")
    name = world.owner.dbname

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "live"):
            _close_database(superuser, name)

    try:
        with pytest.raises(Inconclusive) as caught:
            world.cutover(observer=observer)
        assert caught.value.exit_code == 3
        with pytest.raises(Inconclusive):
            world.cutover(abort=True)
        assert world.legacy_fence() == "fenced"
        assert isinstance(pointer.url(world.env.pointer), PostgresUrl)
    finally:
        with ops.connect(superuser) as conn:
            conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

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


def _close_database(superuser: PostgresUrl, name: str) -> None:
    """From now on the database takes no connection, and those that there were are gone."""
    with ops.connect(superuser) as conn:
        conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
