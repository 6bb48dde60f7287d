"""The command that `status` prints for a state of an environment ends that state.

The states are the product of seven enums. A state is impossible, because of a named guard in the code; or waits for a
named actor; or is settled; or is set up here on real stores and ended by that command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from db import environments, ops
from db.cutover import ending
from db.cutover.advice import (
    Elsewhere,
    Ends,
    EnvironmentState,
    Fence,
    FenceOwner,
    LockHolder,
    OperatorCommand,
    PointerTo,
    Settled,
    Unreachable,
    advise,
)
from db.errors import Refusal
from db.ops import Phase
from db.samples import seed
from db.servers import Server
from game.urls import PostgresUrl
from tests.db.cutover.cutover_world import World, quiet_world
from tests.db.cutover.standing import run, set_up

STATES = [EnvironmentState(*fields) for fields in product(Phase, Fence, FenceOwner, Fence, PointerTo, LockHolder)]
ENDED = [state for state in STATES if isinstance(advise(state), Ends)]
SAMPLE = ENDED[::4]
"""Of every phase, fence, owner and pointer some; `--exhaustive` plays all of them."""


def test_every_state_is_impossible_or_settled_or_has_somebody_who_ends_it() -> None:
    counted = Counter(type(advise(state)) for state in STATES)

    assert sum(counted.values()) == 5 * 3 * 4 * 3 * 3 * 4
    assert set(counted) == {Unreachable, Elsewhere, Settled, Ends}
    assert all(advice.guard for advice in map(advise, STATES) if isinstance(advice, Unreachable))
    assert len({(s.phase, s.legacy, s.owner, s.target, s.pointer) for s in SAMPLE}) == len(SAMPLE)
    for field in ("phase", "legacy", "owner", "target", "pointer"):
        assert {getattr(s, field) for s in SAMPLE} == {getattr(s, field) for s in ENDED}, field


def test_a_run_past_its_point_of_no_return_is_not_said_to_be_undone_by_a_signal() -> None:
    live = EnvironmentState(
        Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET, LockHolder.ALIVE
    )
    returned = replace(live, phase=Phase.RETURNED, target=Fence.MOVED)
    going_back = (replace(live, going_back=True), replace(live, target=Fence.FENCED))
    for states, said in (((live, returned), "and undoes nothing"), (going_back, "which undoes it")):
        for state in states:
            advice = advise(state)
            assert isinstance(advice, Elsewhere)
            assert said in advice.do


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("states")) as world:
        world.cutover()
        world.rollback()
        yield world


def test_a_database_that_is_not_prepared_names_the_command_that_prepares_it(blank: PostgresUrl, tmp_path: Path) -> None:
    seed.empty_legacy(tmp_path / "game.db")
    env = environments.throwaway(owner=blank, service=blank, legacy=tmp_path / "game.db", folder=tmp_path)

    assert ending.look(env).next.endswith("invoke prepare --env test")

    ops.prepare(blank, "test")
    assert "prepare" not in ending.look(env).next


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The states to play: all of them take some seconds each, so by default a sample."""
    if "state" in metafunc.fixturenames:
        states = ENDED if metafunc.config.getoption("exhaustive") else SAMPLE
        metafunc.parametrize("state", states, ids=_title)


def test_the_command_that_status_prints_ends_the_state(state: EnvironmentState, world: World) -> None:
    set_up(world, state)
    seen = ending.look(world.env)
    advice = advise(state)
    assert isinstance(advice, Ends)
    assert (seen.advice, seen.unknown) == (advice, {})

    with ops.lock(world.owner, run="another", why="test"):
        assert isinstance(ending.look(world.env).advice, Elsewhere)
        with pytest.raises(Refusal, match="run another"):
            run(world, advice.command)
    assert ending.look(world.env) == seen, "a run that is refused changes nothing"

    run(world, advice.command)

    after = ending.look(world.env)
    assert isinstance(after.advice, Settled), after
    assert after.serves in ("players play on SQLite", "players play on Postgres")
    assert world.legacy_refuses() != world.postgres_refuses(), "one store takes writes, and one does not"


def test_an_abort_of_nothing_says_that_none_was_begun(world: World) -> None:
    set_up(world, EnvironmentState(Phase.EMPTY, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY))
    before = ending.look(world.env)

    with pytest.raises(Refusal, match="none that was begun"):
        run(world, OperatorCommand.ABORT)

    assert ending.look(world.env) == before


def _title(state: EnvironmentState) -> str:
    return "-".join(part.name.lower() for part in (state.phase, state.legacy, state.owner, state.target, state.pointer))
