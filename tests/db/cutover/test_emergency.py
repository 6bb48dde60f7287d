"""The emergency fence: whichever store serves the players is closed, proven, explained by `status`, and opened again.

It is no move's: none begins beside it, and it lifts nothing of theirs. A run of it that is killed goes on.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db import ops
from db.confirmation import unasked
from db.cutover import emergency, ending
from db.cutover.advice import EnvironmentState, Fence, FenceOwner, PointerTo
from db.environments import Environment
from db.errors import Refusal
from db.monitor import check, samples, watching
from db.monitor.checks import CHECKS
from db.ops import Phase, fence
from db.ops import emergency as records
from db.servers import Server
from game.legacy import fence as legacy_fence
from harness.cli.commands import environment_status
from tests.db.cutover.cutover_world import World, played, quiet_world
from tests.db.cutover.standing import RUN, set_up
from tests.fixtures.spawning import SPAWN

WHY = "gold is granted twice"
ON_LEGACY = EnvironmentState(Phase.ABORTED, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY)
ON_POSTGRES = EnvironmentState(Phase.LIVE, Fence.MOVED, FenceOwner.THIS_RUN, Fence.OPEN, PointerTo.TARGET)
STORES = {records.LEGACY: ON_LEGACY, records.TARGET: ON_POSTGRES}
BY_MOVES = {
    "a cutover": EnvironmentState(Phase.LOADING, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.LEGACY),
    "a rollback": EnvironmentState(Phase.LIVE, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.TARGET),
    "an undo": EnvironmentState(Phase.ABORTED, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.LEGACY),
}


@pytest.fixture(scope="module")
def quiet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("emergency")) as world:
        yield world


@pytest.fixture(params=STORES)
def store(quiet: World, request: pytest.FixtureRequest) -> str:
    """A game that is open on one of the stores, each in turn."""
    _end(quiet)
    set_up(quiet, STORES[request.param])
    return str(request.param)


def _end(world: World) -> None:
    with ops.connect(world.owner) as conn:
        conn.execute("drop table if exists ops.emergency_fences")


def close(world: World, why: str = WHY) -> emergency.FenceReport:
    return emergency.close(world.env, why, unasked)


def lift(world: World) -> emergency.FenceReport:
    return emergency.lift(world.env, "mended", unasked)


def refused(world: World, store: str) -> bool:
    return world.legacy_refuses() if store == records.LEGACY else world.postgres_refuses()


def test_the_store_of_the_players_is_closed_proven_told_and_opened(quiet: World, store: str) -> None:
    before = ending.look(quiet.env)
    closed = close(quiet)
    assert (closed.outcome, closed.changed) == ("closed", True)
    assert closed.refused > 10
    assert refused(quiet, store)
    assert closed.fence is not None
    assert (closed.fence.store, closed.fence.reason) == (store, WHY)
    status = environment_status.status(quiet.env).values
    assert f"on {store}, set by " in status["emergency fence"]
    assert WHY in status["emergency fence"]
    assert status["players"] == f"nobody plays: an emergency fence stands on {store}"
    assert f"invoke fence --env {quiet.env.name} --off --reason WHY" in str(status["next"])
    last = emergency.ended(quiet.env, closed.outcome).line
    assert last.startswith(f"closed · nobody plays: an emergency fence stands on {store} · SQLite ")

    opened = lift(quiet)
    assert (opened.outcome, opened.changed, opened.fence) == ("open", True, closed.fence)
    assert not refused(quiet, store)
    assert ending.look(quiet.env) == before
    assert "emergency fence" not in environment_status.status(quiet.env).values
    with ops.connect(quiet.owner) as conn:
        ended = conn.execute("select reason, ended_why, ended_by is not null from ops.emergency_fences").fetchall()
    assert ended == [(WHY, "mended", True)]


def test_twice_says_that_it_stands_already_and_a_trigger_that_was_switched_off_is_on_again(
    quiet: World, store: str
) -> None:
    first = close(quiet)
    again = close(quiet, "another reason")
    assert (again.changed, again.fence) == (False, first.fence)
    if store == records.TARGET:
        with ops.connect(quiet.owner) as conn:
            conn.execute("alter table users disable trigger sudamr_fence")
        assert close(quiet).refused == first.refused
    lift(quiet)
    twice = lift(quiet)
    assert (twice.changed, twice.fence) == (False, None)


@pytest.mark.parametrize("reason", ["", "  \n ", "x" * 201])
def test_without_a_reason_nothing_begins(quiet: World, store: str, reason: str) -> None:
    for act in (emergency.close, emergency.lift):
        with pytest.raises(Refusal, match="--reason with 1 to 200 characters"):
            act(quiet.env, reason, unasked)
    assert not refused(quiet, store)


@pytest.mark.parametrize("who", BY_MOVES)
def test_what_a_move_has_fenced_is_neither_fenced_nor_lifted(quiet: World, who: str) -> None:
    _end(quiet)
    set_up(quiet, BY_MOVES[who])
    before = ending.look(quiet.env)
    for act, expected in ((close, "one store that takes"), (lift, "a fence that `invoke fence --on` set")):
        with pytest.raises(Refusal, match=expected) as caught:
            act(quiet)
        assert before.next in caught.value.do
    assert RUN in before.fences
    assert ending.look(quiet.env) == before


def test_no_move_begins_goes_on_or_is_undone_while_it_stands(quiet: World, store: str) -> None:
    close(quiet)
    before = ending.look(quiet.env)
    for verb in (quiet.cutover, quiet.rollback):
        for wish in ({}, {"abort": True}):
            with pytest.raises(Refusal, match="expected no emergency fence; found one on") as caught:
                verb(**wish)
            assert WHY in caught.value.found
    assert ending.look(quiet.env) == before
    follow(quiet, caught.value.do)
    assert not refused(quiet, store)


def follow(world: World, text: str) -> None:
    """Do what a text says about the fence: the command in it, with a reason in the place of WHY."""
    words = shlex.split(text[text.index("invoke fence") :])
    assert words[:6] == ["invoke", "fence", "--env", world.env.name, "--off", "--reason"]
    lift(world)


def test_another_run_at_work_refuses_both(quiet: World, store: str) -> None:
    for act, then in ((close, False), (lift, True)):
        with (
            ops.lock(quiet.owner, run="20260101_000000_abcd", why="cutover"),
            pytest.raises(Refusal, match=r"run 20260101_000000_abcd \(cutover\)"),
        ):
            act(quiet)
        assert refused(quiet, store) is then
        close(quiet)


MOMENTS = {
    "its record on the file": (records.LEGACY, "close", records, "begin"),
    "the file's fence": (records.LEGACY, "close", legacy_fence, "raise_fence"),
    "its record in Postgres": (records.TARGET, "close", records, "begin"),
    "the fence of Postgres": (records.TARGET, "close", fence, "raise_fence"),
    "the file's lift": (records.LEGACY, "lift", legacy_fence, "lift"),
    "the end of the record of the file": (records.LEGACY, "lift", records, "end"),
    "the lift of Postgres": (records.TARGET, "lift", fence, "lift"),
    "the end of the record in Postgres": (records.TARGET, "lift", records, "end"),
}


def _die(env: Environment, moment: str) -> None:
    _, act, module, name = MOMENTS[moment]
    do = getattr(module, name)

    def dies(*given: Any, **more: Any) -> None:
        do(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, dies)
    getattr(emergency, act)(env, WHY, unasked)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_after_any_step_the_same_command_goes_on(quiet: World, moment: str) -> None:
    on, act, _, _ = MOMENTS[moment]
    _end(quiet)
    set_up(quiet, STORES[on])
    if act == "lift":
        close(quiet)
    process = SPAWN.Process(target=_die, args=(quiet.env, moment))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    goes_on: Callable[..., Any] = close if act == "close" else lift
    goes_on(quiet)
    assert refused(quiet, on) == (act == "close")
    lift(quiet)
    assert not refused(quiet, on)
    assert ending.look(quiet.env).emergency is None


def test_a_failover_that_lost_the_record_leaves_the_file_to_say_whose_fence_it_is(quiet: World) -> None:
    _end(quiet)
    set_up(quiet, ON_LEGACY)
    close(quiet)
    _end(quiet)
    seen = ending.look(quiet.env)
    assert seen.emergency is not None
    assert "its record is lost" in str(seen.emergency)
    with pytest.raises(Refusal, match="no emergency fence"):
        quiet.cutover()
    lift(quiet)
    assert not quiet.legacy_refuses()


def test_it_is_never_lifted_on_a_store_that_the_game_has_left(quiet: World) -> None:
    """A failover to a standby from before the cutover: the record says Postgres, and the file is open."""
    _end(quiet)
    set_up(quiet, ON_POSTGRES)
    close(quiet)
    quiet.lift_legacy()
    with pytest.raises(Refusal, match="players who play on the other one"):
        lift(quiet)
    assert quiet.postgres_refuses()


@pytest.mark.plan(25)
def test_the_watch_names_it_and_its_remedy_opens_the_game(quiet: World, tmp_path: Path) -> None:
    _end(quiet)
    set_up(quiet, ON_POSTGRES)
    (open_to_players,) = [one for one in CHECKS if one.name == "open to players"]

    def judged() -> check.Judgement:
        with samples.opened(tmp_path / "looks.sqlite") as kept:
            return watching.look(quiet.env, kept, checks=[open_to_players]).judgements[0]

    assert judged().outcome is check.CheckOutcome.OK
    close(quiet)
    alarm = judged()
    assert alarm.outcome is check.CheckOutcome.BREACH
    follow(quiet, alarm.do)
    assert judged().outcome is check.CheckOutcome.OK


def test_players_are_answered_503_and_may_read_and_ask_again(server: Server, tmp_path: Path) -> None:
    """Over HTTP, on the real service: as behind a move's fence."""
    name = f"{server.mark}emergency"
    server.create_database(name)
    try:
        with played(server, server.url(name), tmp_path) as world:
            _play_behind_the_fence(world)
            world.cutover()
            _play_behind_the_fence(world)
    finally:
        server.drop_database(name)


def _play_behind_the_fence(world: World) -> None:
    number = 0 if world.phase() == "empty" else 1
    close(world)
    answer = world.act(number, f"r{number}")
    assert (answer.status_code, answer.json()["code"]) == (503, "fenced")
    assert answer.headers["Retry-After"]
    assert httpx.get(f"{world.env.services[0]}/readyz", timeout=20).json()["fence"] == "fenced"
    lift(world)
    assert world.act(number, f"r{number}").status_code == 200
