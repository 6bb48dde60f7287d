"""A runbook of three steps that the engine has never seen is begun, gone on with, undone, reported and planned."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from db import ops
from db.cutover import engine
from db.cutover.checks import PreflightCheck
from db.cutover.context import RunConfig, RunContext
from db.cutover.move_status import MoveStatus
from db.cutover.report import RunReport, RunVerdict
from db.cutover.runbook import Runbook, Step
from db.environments import Environment
from db.errors import Failure, Refusal, ToolError, Undone
from db.ops import Phase
from db.servers import Server
from tests.db.cutover.cutover_world import World, failing_before, quiet_smoke, quiet_world

KILLED = -signal.SIGKILL
STEPS = ("mark", "fill", "go")
BOUNDARIES = [("after", "preflight"), *((when, step) for step in STEPS for when in ("before", "after"))]


def has_table(context: RunContext) -> bool:
    row = context.conn.execute("select to_regclass('ops.third') is not null").fetchone()
    return row == (True,)


def mark(context: RunContext) -> None:
    context.held.advance(context.phase(), Phase.LOADING)


def go(context: RunContext) -> None:
    context.held.advance(Phase.LOADING, Phase.LIVE)


def fill(context: RunContext) -> dict[str, Any]:
    context.conn.execute("create table ops.third (n int)")
    return {"rows": 0}


def drop(context: RunContext) -> None:
    context.conn.execute("drop table if exists ops.third")


def give_up(context: RunContext) -> None:
    context.held.advance(Phase.LOADING, Phase.ABORTED)


def fail(context: RunContext) -> None:
    raise Failure("an undo that works", "one that fails", do="Mend the undo.")


def refuse(status: MoveStatus, env: Environment) -> None:
    if status.phase is Phase.LIVE:
        raise Refusal("a move that is under way", "one that is done", where=env.name)


def refuse_abort(status: MoveStatus, env: Environment) -> None:
    if status.phase is not Phase.LOADING:
        raise Refusal("an attempt to undo", "none", where=env.name)


def run_of(status: MoveStatus, env: Environment, config: RunConfig, *, undoes: bool) -> str | None:
    return status.run if status.phase is Phase.LOADING else None


THIRD = Runbook(
    verb="third",
    steps=(
        Step("1", "mark", "the phase says that it was begun", lambda move: move.phase() is Phase.LOADING, mark),
        Step("2", "fill", "the table is there", has_table, fill, "dropped"),
    ),
    point_of_no_return=Step("3", "go", "the phase is live", lambda move: move.phase() is Phase.LIVE, go),
    undo=(
        Step("a", "give up", "the attempt is over", lambda move: move.phase() is Phase.ABORTED, give_up),
        Step("b", "drop", "nothing of it is left", lambda move: not has_table(move), drop),
    ),
    begun=Phase.LOADING,
    beyond=Phase.LIVE,
    verdict=RunVerdict.LIVE,
    refuse=refuse,
    refuse_abort=refuse_abort,
    preflight=lambda _context: (PreflightCheck("an easy check", lambda: "ok"),),
    begins=lambda status: status.startable,
    run_of=run_of,
)


def run_third(env: Environment, **options: Any) -> RunReport:
    return engine.run(env, THIRD, RunConfig(**options))


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("third")) as made:
        yield made


@pytest.fixture
def world(shared: World) -> World:
    with ops.connect(shared.owner) as conn:
        conn.execute("drop table if exists ops.third")
        conn.execute("update ops.phase set phase = 'empty', run = null")
    return shared


def third(world: World, **options: Any) -> RunReport:
    return run_third(world.env, smoke=quiet_smoke, folder=world.runs, **options)


def is_filled(world: World) -> bool:
    with ops.connect(world.owner) as conn:
        return conn.execute("select to_regclass('ops.third') is not null").fetchone() == (True,)


def test_it_is_begun_and_reported(world: World) -> None:
    report = third(world)

    assert (report.verb, report.verdict) == ("third", "live")
    assert [(step.name, step.status) for step in report.steps] == [(name, "done") for name in ("preflight", *STEPS)]
    assert (world.phase(), is_filled(world)) == ("live", True)


@pytest.mark.parametrize(("when", "step"), BOUNDARIES[:-1])
def test_killed_anywhere_before_its_end_it_goes_on(when: str, step: str, world: World) -> None:
    assert world.dies(when, step, run_third) == KILLED

    report = third(world)

    done_before = BOUNDARIES[: BOUNDARIES.index((when, step)) + 1]
    already = [step.name for step in report.steps if step.status == "already"]
    assert already == [name for moment, name in done_before if moment == "after" and name in STEPS]
    assert (world.phase(), is_filled(world)) == ("live", True)


@pytest.mark.parametrize("step", ["fill", "go"])
def test_a_failure_is_undone(step: str, world: World) -> None:
    with pytest.raises(Undone):
        third(world, observer=failing_before(step))

    assert (world.phase(), is_filled(world)) == ("aborted", False)
    assert third(world).verdict == "live"


@pytest.mark.parametrize("step", ["fill", "go"])
def test_killed_before_its_point_of_no_return_it_is_aborted(step: str, world: World) -> None:
    assert world.dies("before", step, run_third) == KILLED

    assert third(world, abort=True).verdict == "undone"

    assert (world.phase(), is_filled(world)) == ("aborted", False)


def test_a_failure_after_its_point_of_no_return_is_none(world: World) -> None:
    def observer(when: str, step: str) -> None:
        if (when, step) == ("after", "go"):
            raise Failure("that it works", "that it does not")

    assert third(world, observer=observer).verdict == "live"


def test_its_dry_runs_change_nothing(world: World) -> None:
    report = third(world, dry_run=True)
    undo = third(world, dry_run=True, abort=True)

    assert [step.name for step in report.steps] == ["preflight", *STEPS]
    assert "an easy check" in [check.name for check in report.checks]
    assert ([step.name for step in undo.steps], undo.verdict) == (["preflight", "give up", "drop"], "refused")
    assert (world.phase(), is_filled(world)) == ("empty", False)


def test_an_undo_that_fails_names_the_remedy_of_the_first_cause_too(world: World) -> None:
    broken = dataclasses.replace(THIRD, undo=(Step("a", "give up", "", None, fail),))

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "go"):
            raise Failure("a step that works", "one that fails", do="Mend the step.")

    with pytest.raises(ToolError) as stopped:
        engine.run(world.env, broken, RunConfig(quiet_smoke, folder=world.runs, observer=observer))

    assert stopped.value.do == (
        "Mend the undo. Then go on with it: invoke third --env test --abort. Before a new third: Mend the step."
    )
