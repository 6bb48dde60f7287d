"""Tests moves that are crossed: the pointer or the file is changed, another server's attempt, a killed process."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from db import ops
from db.cutover import hooks, move_status, pointer
from db.cutover.journal import Journal
from db.cutover.move_status import MoveStatus
from db.environments import Environment, Hooks
from db.errors import Failure, Inconclusive, Refusal, Undone
from game.legacy import fence as legacy_fence
from game.legacy.fence_schema import FenceState
from tests.db.cutover.cutover_world import KILL_THE_RUN, World, run_cutover, run_rollback, wait_until, world

__all__ = ["world"]

KILLED = -signal.SIGKILL


def test_a_pointer_that_somebody_else_wrote_is_no_proof_of_a_copy(world: World) -> None:
    assert world.dies("before", "copy", run_cutover) == KILLED
    pointer.write(world.env.pointer, world.env.target.as_text())

    report = world.cutover()

    assert ("copy", "done") in [(step.name, step.status) for step in report.steps]
    world.assert_whole_on_postgres()


def test_an_attempt_that_was_given_up_for_another_server_takes_nothing_from_it(world: World) -> None:
    with world.on_another_server() as given_up:
        assert given_up.dies("after", "migrate", run_cutover) == KILLED
        world.cutover()
        assert world.act(0, "on-postgres").status_code == 200

        for goes_on in (given_up.cutover, lambda: given_up.cutover(abort=True)):
            with pytest.raises(Refusal, match=f"moved, by run {world.run_of_the_phase()}"):
                goes_on()
            world.assert_open_on_postgres()
        assert given_up.phase() == "loading"

        world.rollback()
        assert given_up.cutover(abort=True).verdict == "undone"  # Now the file is open, and nobody's.
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.act(0, "on-postgres").json()["replayed"] is True


def test_an_undo_leaves_file_and_pointer_to_the_move_that_has_them_by_now(world: World) -> None:
    """The other move begins while this one runs, and fences the file in the moment before this one does."""
    with world.on_another_server() as other:

        def observer(when: str, step: str) -> None:
            if (when, step) == ("before", "fence"):
                assert other.dies("after", "switch", run_cutover) == KILLED

        with pytest.raises(Failure, match="fenced, by run"):
            world.cutover(observer=observer)

        assert (world.phase(), world.legacy_fence()) == ("aborted", "fenced")
        assert pointer.url(world.env.pointer) == other.env.target
        assert other.cutover().verdict == "live"
        other.assert_whole_on_postgres()
        assert other.rollback().verdict == "returned"


def test_one_that_lost_its_lock_does_not_lift_the_fence_of_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has asked the phase; its session is cut, another finishes the undo and begins anew; then it wakes."""
    assert world.dies("before", "smoke", run_cutover) == KILLED
    turning = legacy_fence.turning

    @contextmanager
    def turns_late(conn: sqlite3.Connection, to: FenceState, **named: Any) -> Iterator[None]:
        monkeypatch.setattr(legacy_fence, "turning", turning)
        world.cut()
        assert world.cutover().verdict == "live"
        with turning(conn, to, **named):
            yield

    monkeypatch.setattr(legacy_fence, "turning", turns_late)
    with pytest.raises(Failure, match="the connection that holds the lock; found it is lost"):
        world.cutover(abort=True)

    world.assert_whole_on_postgres()


HOLES = {
    "lifted": "one that is open",
    "DROP TRIGGER sudamr_fence_users_update": "holes: sudamr_fence_users_update",
}


def test_a_fence_that_does_not_stand_when_the_game_would_go_live_undoes_the_cutover(world: World) -> None:
    for statement, message in HOLES.items():

        def observer(when: str, step: str, statement: str = statement) -> None:
            if (when, step) == ("before", "live"):
                world.lift_legacy() if statement == "lifted" else world.write_to_legacy(statement)

        with pytest.raises(Undone, match=message):
            world.cutover(observer=observer)
        world.assert_whole_on_legacy()


def test_a_hole_in_the_fence_that_a_kill_left_unproven_is_found_and_so_is_what_went_through(world: World) -> None:
    assert world.dies("after", "copy", run_cutover) == KILLED
    world.write_to_legacy("DROP TRIGGER sudamr_fence_users_update; UPDATE users SET gold = 424242 WHERE rowid = 1;")

    with pytest.raises(Undone, match="other rows in users"):
        world.cutover()

    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert world.cutover().verdict == "live"
    with ops.connect(world.owner) as conn:
        assert conn.execute("SELECT count(*) FROM users WHERE gold = 424242").fetchone() == (1,)


def test_an_abort_that_waited_while_the_other_run_ended_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.dies("before", "live", run_cutover) == KILLED
    monkeypatch.setattr(move_status, "read_status", Slow(monkeypatch, world.cutover))

    with pytest.raises(Refusal, match="invoke rollback"):
        world.cutover(abort=True)

    world.assert_whole_on_postgres()
    pointer.write(world.env.pointer, world.env.legacy.as_text())
    hooks.run(world.env, "restart", Journal(world.runs / "by-hand"), engine="legacy", timeout_seconds=20)
    wait_until(lambda: world.engine() != "postgres")
    again = world.cutover()  # A game that is live is served from where it is.
    assert [(step.name, step.status) for step in again.steps][:2] == [("live", "already"), ("switch", "done")]
    world.assert_whole_on_postgres()


def test_a_cutover_that_was_overtaken_after_its_preflight_changes_nothing(world: World) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("after", "preflight"):
            world.cutover()

    with pytest.raises(Refusal, match="Another run went on meanwhile"):
        world.cutover(observer=observer)

    world.assert_whole_on_postgres()
    assert len([*world.runs.glob("*/journal.jsonl")]) == 1


def test_an_abort_of_a_rollback_that_waited_while_the_other_run_ended_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.cutover()
    assert world.dies("before", "return", run_rollback) == KILLED
    monkeypatch.setattr(move_status, "read_status", Slow(monkeypatch, world.rollback))

    with pytest.raises(Refusal, match="nothing to roll back"):
        world.rollback(abort=True)

    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    pointer.write(world.env.pointer, world.env.target.as_text())
    assert world.rollback().verdict == "returned"  # What has returned is served from there.
    assert world.env.pointer.path.read_text() == world.pointer_before


def test_a_run_that_lost_its_lock_writes_no_pointer(world: World) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "switch"):
            world.cut()

    with pytest.raises(Undone, match="the connection that holds the lock"):
        world.cutover(observer=observer)

    world.assert_whole_on_legacy()
    assert not [*world.runs.glob("*/pointer.before")]


def test_an_abort_gets_through_though_a_table_stands_beside_the_fence(world: World) -> None:
    assert world.dies("before", "smoke", run_cutover) == KILLED
    with ops.connect(world.owner) as conn:
        conn.execute("CREATE TABLE theirs (id text)")
    with pytest.raises(Failure, match="otherwise on theirs"):
        world.cutover()

    assert world.cutover(abort=True).verdict == "undone"

    world.assert_whole_on_legacy()
    assert '"tables": ["theirs"]' in world.journals()


def test_nothing_is_done_beside_the_hook_of_a_run_that_was_killed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deploy that applies what it was given, slowly: an abort beside it would be undone by its end."""
    folder, env_file, restart = world.folder, world.env.pointer.path, world.env.hooks.restart
    deploy = (
        f'if [ "$ENGINE" = postgres ] && [ ! -e {folder}/given ]; then cp {env_file} {folder}/given; {KILL_THE_RUN};'
        f" until [ -e {folder}/go ]; do sleep 0.02; done; cp {folder}/given {env_file}; {restart}; fi"
    )
    slow = world.with_(hooks=Hooks(deploy=deploy, restart=restart))
    assert slow.dies("never", "", run_cutover) == KILLED
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 0.3)

    for verb in (slow.cutover, lambda: slow.cutover(abort=True)):
        with pytest.raises(Inconclusive, match="the deploy hook of run"):
            verb()
        assert (world.phase(), world.legacy_fence(), world.engine()) == ("loading", "fenced", "legacy")
    (folder / "go").touch()
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 20)

    assert slow.cutover(abort=True).verdict == "undone"
    world.assert_whole_on_legacy()


def test_a_pointer_that_was_kept_of_another_file_is_not_gone_back_to(world: World) -> None:
    world.cutover()
    for kept in world.runs.glob("*/pointer.before"):
        kept.write_text(f"file:{world.before}")

    assert world.rollback().verdict == "returned"

    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert pointer.url(world.env.pointer) == world.env.legacy


def test_a_fence_that_names_nobody_is_not_adopted(world: World) -> None:
    assert world.dies("after", "fence", run_cutover) == KILLED
    world.write_to_legacy("UPDATE sudamr_fence SET run = NULL, target = NULL")

    for verb in (world.cutover, lambda: world.cutover(abort=True)):
        with pytest.raises(Refusal, match="fenced, with no owner recorded"):
            verb()
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("loading", "fenced", "legacy")


class Slow:
    """Reads the standing; before it is acted upon, another process does all that it wants to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Any) -> None:
        self._real = move_status.read_status
        self._monkeypatch = monkeypatch
        self._meanwhile = meanwhile

    def __call__(self, env: Environment) -> MoveStatus:
        status = self._real(env)
        self._monkeypatch.setattr(move_status, "read_status", self._real)
        self._meanwhile()
        return status
