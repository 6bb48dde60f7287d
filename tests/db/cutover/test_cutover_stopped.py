"""A run is paused for seconds, loses its lock, and continues after another run: no dead end, nothing done twice.

It is stopped at each step's boundary, at the statements that turn a fence on either store, and before the pointer is
written. Meanwhile another run aborts, goes on, or goes there and back. Two writers try both stores all the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from db.cutover import ending, hooks, undoing
from db.cutover.advice import Ends, EnvironmentState, Fence, FenceOwner, OperatorCommand, PointerTo, Settled
from db.cutover.cutover import CUTOVER
from db.cutover.rollback import ROLLBACK
from db.cutover.runbook import Step
from db.errors import Failure, ToolError
from db.ops import Phase
from db.servers import Server
from game.legacy import fence as legacy_fence
from tests.db.cutover.cutover_world import World, quiet_world
from tests.db.cutover.standing import run, set_up
from tests.db.cutover.stopping import Point, Writers, stopped

NOBODY, OURS = FenceOwner.NOBODY, FenceOwner.THIS_RUN
BACK = OperatorCommand.ABORT_ROLLBACK
STARTS = {
    OperatorCommand.CUTOVER: EnvironmentState(Phase.ABORTED, Fence.OPEN, NOBODY, Fence.FENCED, PointerTo.LEGACY),
    OperatorCommand.ABORT: EnvironmentState(Phase.LOADING, Fence.FENCED, OURS, Fence.FENCED, PointerTo.TARGET),
    OperatorCommand.ROLLBACK: EnvironmentState(Phase.LIVE, Fence.MOVED, OURS, Fence.OPEN, PointerTo.TARGET),
    BACK: EnvironmentState(Phase.LIVE, Fence.FENCED, OURS, Fence.FENCED, PointerTo.LEGACY),
}
OTHERS = {
    OperatorCommand.CUTOVER: (
        (OperatorCommand.ABORT,),
        (OperatorCommand.CUTOVER,),
        (OperatorCommand.CUTOVER, OperatorCommand.ROLLBACK),
    ),
    OperatorCommand.ABORT: (
        (OperatorCommand.ABORT,),
        (OperatorCommand.CUTOVER,),
        (OperatorCommand.ABORT, OperatorCommand.CUTOVER),
    ),
    OperatorCommand.ROLLBACK: (
        (OperatorCommand.ABORT_ROLLBACK,),
        (OperatorCommand.ROLLBACK,),
        (OperatorCommand.ROLLBACK, OperatorCommand.CUTOVER),
    ),
    BACK: (
        (OperatorCommand.ABORT_ROLLBACK,),
        (OperatorCommand.ROLLBACK,),
        (OperatorCommand.ABORT_ROLLBACK, OperatorCommand.ROLLBACK),
    ),
}


def named(*steps: Step) -> tuple[str, ...]:
    return tuple(step.name for step in steps)


STEPS = {
    OperatorCommand.CUTOVER: named(*CUTOVER.steps, CUTOVER.point_of_no_return),
    OperatorCommand.ABORT: named(*CUTOVER.undo),
    OperatorCommand.ROLLBACK: named(*ROLLBACK.plan),
    BACK: named(*ROLLBACK.undo),
}
SQLITE = {
    OperatorCommand.CUTOVER: {
        1: ("BEGIN", "CREATE TABLE", "INSERT", "CREATE TRIGGER", "COMMIT"),
        2: ("BEGIN", "DROP TRIGGER", "DROP TABLE", "CREATE TABLE", "CREATE TRIGGER", "COMMIT"),
    },
    OperatorCommand.ABORT: {1: ("BEGIN", "DROP TRIGGER", "DROP TABLE", "COMMIT")},
    OperatorCommand.ROLLBACK: {
        1: ("BEGIN", "DROP TRIGGER", "CREATE TRIGGER", "COMMIT"),
        2: ("BEGIN", "COMMIT"),
        3: ("BEGIN", "COMMIT"),
        4: ("BEGIN", "DROP TRIGGER", "DROP TABLE", "COMMIT"),
    },
    BACK: {1: ("BEGIN", "DROP TRIGGER", "CREATE TRIGGER", "COMMIT")},
}
POSTGRES = {OperatorCommand.CUTOVER: 12, OperatorCommand.ABORT: 1, OperatorCommand.ROLLBACK: 12, BACK: 6}
"""How many statements that turn the fence of Postgres or the phase are struck, of those that the run makes."""
COMMITS = {OperatorCommand.CUTOVER: 5, OperatorCommand.ABORT: 1, OperatorCommand.ROLLBACK: 3, BACK: 1}

SAMPLE = [
    (OperatorCommand.CUTOVER, Point("sqlite", "BEGIN", 1), 0),
    (OperatorCommand.CUTOVER, Point("sqlite", "COMMIT", 1), 0),
    (OperatorCommand.CUTOVER, Point("sqlite", "CREATE TRIGGER", 1), 2),
    (OperatorCommand.CUTOVER, Point("sqlite", "BEGIN", 2), 2),
    (OperatorCommand.CUTOVER, Point("pointer"), 0),
    (OperatorCommand.CUTOVER, Point("step", "after live"), 2),
    (OperatorCommand.ABORT, Point("sqlite", "BEGIN", 1), 2),
    (OperatorCommand.ROLLBACK, Point("sqlite", "COMMIT", 4), 1),
    (OperatorCommand.ROLLBACK, Point("postgres", "COMMIT", 1), 0),
    (BACK, Point("sqlite", "BEGIN", 1), 1),
]
"""One of each kind; `--exhaustive` plays every point with every other run."""


def _points(verb: OperatorCommand) -> Iterator[Point]:
    yield from (Point("step", f"{when} {step}") for step in STEPS[verb] for when in ("before", "after"))
    yield from (Point("sqlite", at, turn) for turn, statements in SQLITE[verb].items() for at in statements)
    yield from (Point("postgres", nth=n + 1) for n in range(POSTGRES[verb]))
    yield from (Point("postgres", "COMMIT", n + 1) for n in range(COMMITS[verb]))
    yield Point("pointer")


EVERY = [(verb, point, other) for verb in STARTS for point in _points(verb) for other in range(len(OTHERS[verb]))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The cases: a dozen seconds each on a busy machine, so by default a sample."""
    if "case" in metafunc.fixturenames:
        cases = EVERY if metafunc.config.getoption("exhaustive") else SAMPLE
        metafunc.parametrize("case", cases, ids=lambda case: f"{case[0].name.lower()}-{case[1]}-{case[2]}")


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("stopped")) as world:
        world.cutover()
        world.rollback()
        yield world


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other runs wait only briefly for one that is stopped."""
    monkeypatch.setitem(legacy_fence.turning.__wrapped__.__kwdefaults__, "patience_seconds", 0.3)  # type: ignore[attr-defined]
    monkeypatch.setattr(hooks, "ORPHAN_SECONDS", 0.3)
    monkeypatch.setattr(undoing, "RECONNECT_SECONDS", 5.0)


def test_a_run_that_lost_its_lock_and_wakes_leaves_no_dead_end(
    world: World, case: tuple[OperatorCommand, Point, int]
) -> None:
    verb, point, other = case
    _stop_and_wake(world, STARTS[verb], verb, point, OTHERS[verb][other])


@pytest.mark.parametrize("at", ["BEGIN", "DROP TABLE", "COMMIT"])
def test_a_live_run_that_sees_to_its_end_again_closes_no_file_on_which_players_play_by_then(
    world: World, at: str
) -> None:
    live = EnvironmentState(Phase.LIVE, Fence.FENCED, OURS, Fence.OPEN, PointerTo.TARGET)
    _stop_and_wake(world, live, OperatorCommand.CUTOVER, Point("sqlite", at, 1), (OperatorCommand.ROLLBACK,))


def _stop_and_wake(
    world: World, start: EnvironmentState, verb: OperatorCommand, point: Point, others: Sequence[OperatorCommand]
) -> None:
    """Stop a run at the point, cut its session, let others go on, wake it, and follow what status prints to an end."""
    set_up(world, start)
    writers = Writers(world)
    name, _, abort = verb.value.removeprefix("invoke ").partition(" ")

    with writers.trying():
        with stopped(world, point, name, abort=bool(abort)):
            world.cut()
            passed = [_tried(world, command) for command in others]
            before = ending.look(world.env)
        woken = ending.look(world.env)
        ended = _end(world)

    if all(passed) and isinstance(before.advice, Settled):
        assert _stands(woken) == _stands(before), "a run that wakes after all was settled changes nothing"
    assert isinstance(ended.advice, Settled), ended
    assert ended.serves in ("players play on SQLite", "players play on Postgres")
    assert writers.both == 0
    assert writers.ticks > 0
    assert world.legacy_refuses() != world.postgres_refuses()


def test_a_run_that_is_stopped_with_the_file_in_its_hands_is_named_to_whoever_waits(world: World) -> None:
    set_up(world, STARTS[OperatorCommand.CUTOVER])

    with stopped(world, Point("sqlite", "COMMIT", 1), "cutover", abort=False) as process:
        advised = ending.look(world.env).next
        assert "kill -9" in advised
        assert f"process {process.pid}," in advised
        world.cut()
        with pytest.raises(Failure, match=rf"open in process {process.pid} \(.*, stopped\)"):
            world.cutover(abort=True)
        process.kill()
        process.wait(30)
        assert world.cutover(abort=True).verdict == "undone"

    assert ending.look(world.env).serves == "players play on SQLite"


def _stands(seen: ending.Observation) -> tuple[object, ...]:
    """Everything but the run that a fence names: whoever undoes what is undone already puts its own name there."""
    assert seen.legacy is not None
    assert seen.target is not None
    return seen.legacy.state, seen.target.phase, seen.target.fence, seen.pointer, seen.services


def _tried(world: World, command: OperatorCommand) -> bool:
    """Run the command as another process would; False where it has to wait for the stopped run, and says so."""
    try:
        run(world, command)
    except ToolError:
        return False
    return True


def _end(world: World) -> ending.Observation:
    """Follow what `status` prints, until nothing is left to do."""
    seen = ending.look(world.env)
    for _ in range(4):
        if not isinstance(seen.advice, Ends):
            break
        _tried(world, seen.advice.command)
        seen = ending.look(world.env)
    return seen
