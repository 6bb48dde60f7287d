"""The rollback: back to the legacy file with every write, undone where it fails, killed anywhere."""

from __future__ import annotations

import signal

import pytest

from db import ops
from db.cutover.rollback import ROLLBACK
from db.errors import Refusal, Undone
from tests.db.cutover.cutover_world import World, failing_before, failing_smoke, live, run_rollback, world

__all__ = ["live", "world"]

KILLED = -signal.SIGKILL
STEPS = [step.name for step in (*ROLLBACK.steps, ROLLBACK.point_of_no_return)]


@pytest.mark.plan(26)
@pytest.mark.core
def test_a_rollback_carries_a_write_back_and_a_retry_of_the_cutover_starts_clean(world: World) -> None:
    world.cutover()
    first = world.act(0, "on-postgres")
    assert first.status_code == 200, first.text

    report = world.rollback()

    assert report.verdict == "returned"
    assert [step.name for step in report.steps] == ["preflight", *STEPS, "put away"]
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.env.pointer.path.read_text() == world.pointer_before
    assert world.act(0, "on-postgres").json() == {"outcome": first.json()["outcome"], "replayed": True}
    assert report.counts["lines"] >= 1
    assert report.read_only_seconds is not None
    assert _rows(world, f"rolled_back_{report.run}") == 10
    assert _rows(world, world.owner.schema) == 0
    assert world.postgres_refuses()

    assert world.cutover().verdict == "live"
    assert world.act(0, "on-postgres").json()["replayed"] is True


def test_a_rollback_killed_after_every_step_goes_on(world: World) -> None:
    world.cutover()
    first = world.act(0, "on-postgres").json()
    for step in STEPS:
        assert world.dies("after", step, run_rollback) == KILLED, step
    with pytest.raises(
        Refusal, match="it, and they are kept in another schema: invoke rollback"
    ):  # What is in there is nowhere else.
        world.cutover()

    assert world.rollback().verdict == "returned"

    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.act(0, "on-postgres").json() == {"outcome": first["outcome"], "replayed": True}


def test_writes_are_discarded_only_where_their_number_is_accepted(world: World) -> None:
    world.cutover()
    assert world.act(0, "on-postgres").status_code == 200

    with pytest.raises(Refusal, match="--accept-loss 1"):
        world.rollback(discard_writes=True, accept_loss=0)
    assert (world.phase(), world.legacy_fence()) == ("live", "moved")
    report = world.rollback(discard_writes=True, accept_loss=1)

    assert report.counts == {"discarded": 1}
    world.assert_same_as_before()
    assert world.act(0, "on-postgres").json()["replayed"] is False


def test_a_rollback_killed_before_its_point_of_no_return_is_aborted(live: World) -> None:
    for step in ("carry back", "switch", "return"):
        assert live.dies("before", step, run_rollback) == KILLED, step
        with pytest.raises(Refusal, match="rollback"):
            live.cutover()
        assert live.rollback(abort=True).verdict == "undone"
        live.assert_open_on_postgres()


def test_a_smoke_that_fails_leaves_players_on_postgres(live: World) -> None:
    first = live.act(0, "on-postgres").json()

    with pytest.raises(Undone) as caught:
        live.rollback(smoke=failing_smoke)

    assert caught.value.exit_code == 4
    live.assert_open_on_postgres()
    assert live.act(0, "on-postgres").json() == {"outcome": first["outcome"], "replayed": True}
    assert live.act(1, "after").status_code == 200


@pytest.mark.parametrize(
    ("step", "serves"),
    [
        ("carry back", "Every service process serves Postgres, as before."),
        ("smoke", "Every service process serves Postgres again."),
    ],
)
def test_an_undo_says_again_only_of_what_was_switched_back(step: str, serves: str, live: World) -> None:
    with pytest.raises(Undone) as caught:
        live.rollback(observer=failing_before(step))
    assert caught.value.do.startswith(serves)


@pytest.mark.plan(17)
def test_a_dry_run_of_a_rollback_changes_nothing(live: World) -> None:
    journals = live.journals()

    report = live.rollback(dry_run=True)

    assert [step.name for step in report.steps] == ["preflight", *STEPS, "put away"]
    assert {step.status for step in report.steps[1:]} == {"planned"}
    live.assert_open_on_postgres()
    assert live.journals() == journals


def test_there_is_nothing_to_roll_back_before_a_cutover(world: World) -> None:
    with pytest.raises(Refusal, match="nothing to roll back"):
        world.rollback()


def _rows(world: World, schema: str) -> int:
    with ops.connect(world.owner) as conn:
        row = conn.execute(f'SELECT count(*) FROM "{schema}".users').fetchone()
        assert row is not None
        return int(row[0])
