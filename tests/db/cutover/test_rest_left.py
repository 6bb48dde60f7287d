"""The next command finishes what is left after the fences: a process that serves the old store, rows not put away.

And it says first what no command can mend: a pointer that can't be read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from db import ops
from db.cutover import ending
from db.cutover.advice import (
    Elsewhere,
    Ends,
    EnvironmentState,
    Fence,
    FenceOwner,
    LastSteps,
    OperatorCommand,
    PointerTo,
    Settled,
    advise,
)
from db.errors import Failure, Refusal, ToolError, Undone
from db.ops import Phase, fence
from db.servers import Server
from tests.db.cutover.cutover_world import World, quiet_world
from tests.db.cutover.follower import following
from tests.db.cutover.standing import run, set_up

NOBODY, OURS = FenceOwner.NOBODY, FenceOwner.THIS_RUN
SETTLED = {
    OperatorCommand.CUTOVER: EnvironmentState(Phase.LIVE, Fence.MOVED, OURS, Fence.OPEN, PointerTo.TARGET),
    OperatorCommand.ABORT: EnvironmentState(Phase.ABORTED, Fence.OPEN, NOBODY, Fence.FENCED, PointerTo.LEGACY),
    OperatorCommand.ROLLBACK: EnvironmentState(Phase.RETURNED, Fence.OPEN, NOBODY, Fence.MOVED, PointerTo.LEGACY),
}
"""States in which the fences are done with, by the command that finishes what is left there."""

UNREADABLE = {
    "no line": b"OTHER=1\n",
    "two lines": b"DATABASE_URL=file:a\nDATABASE_URL=file:b\n",
    "no UTF-8": "# 게임\n".encode("cp949"),
    "no URL": b"DATABASE_URL=nowhere\n",
    "no file": None,
}


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("rest")) as world:
        world.cutover()
        world.rollback()
        yield world


@pytest.mark.parametrize("command", SETTLED)
def test_a_process_that_serves_another_store_is_served_by_the_command_that_is_next(
    world: World, command: OperatorCommand
) -> None:
    state = SETTLED[command]
    set_up(world, state)
    deployed = world.folder / "deployed.env"
    named = "file:/nowhere/else.db" if state.phase is not Phase.LIVE else world.env.legacy.as_text()
    deployed.write_text(f"DATABASE_URL={named}\n")
    hooks = dataclasses.replace(
        world.env.hooks,
        deploy=f"cp {world.env.pointer.path} {deployed}",
        restart=f"{world.env.hooks.restart}; touch {deployed}.restarted",
    )
    with following(deployed) as url:
        wider = world.with_(services=(*world.env.services, url), hooks=hooks)
        seen = ending.look(wider.env)
        assert seen.advice == advise(dataclasses.replace(state, last_steps=LastSteps.LEFT))
        assert isinstance(seen.advice, Ends)
        assert seen.advice.command is command

        run(wider, command)

        after = ending.look(wider.env)
        assert isinstance(after.advice, Settled), after
        assert after.serves in ("players play on SQLite", "players play on Postgres")


def test_rows_that_a_rollback_did_not_put_away_are_put_away_by_the_next_command(world: World) -> None:
    set_up(world, SETTLED[OperatorCommand.CUTOVER])

    def observer(when: str, step: str) -> None:
        if (when, step) == ("before", "put away"):
            raise Failure("room", "none")

    with pytest.raises(Failure):
        world.rollback(observer=observer)

    advice = ending.look(world.env).advice
    assert isinstance(advice, Ends)
    run(world, advice.command)
    assert ending.look(world.env).advice == Settled(OperatorCommand.CUTOVER)


def test_where_no_move_was_begun_the_service_is_to_be_started() -> None:
    state = EnvironmentState(Phase.EMPTY, Fence.OPEN, NOBODY, Fence.FENCED, PointerTo.LEGACY, last_steps=LastSteps.LEFT)

    assert isinstance(advise(state), Elsewhere)


def test_what_ended_well_is_not_offered_to_be_taken_back(world: World) -> None:
    set_up(world, SETTLED[OperatorCommand.CUTOVER])
    run(world, OperatorCommand.CUTOVER)  # It takes the first snapshot of Postgres, which the state lacks.

    back = "no move is under way; to go back: invoke rollback --env test"
    assert ending.look(world.env).next == back
    for dry_run in (True, False):
        assert ending.ended(world.env, "refused", dry_run=dry_run).next == f"do what is said above; {back}"


def test_what_follows_a_refusal_is_the_command_that_was_refused(world: World) -> None:
    set_up(world, SETTLED[OperatorCommand.ABORT])

    last_line = "do what is said above, then: invoke cutover --env test"
    assert ending.ended(world.env, "refused").next == last_line
    assert ending.ended(world.env, "refused", dry_run=True).next == f"{last_line} --dry-run"


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_pointer_that_can_not_be_read_keeps_no_file_closed_and_is_named_with_what_to_do(
    world: World, how: str
) -> None:
    set_up(world, EnvironmentState(Phase.LOADING, Fence.FENCED, OURS, Fence.FENCED, PointerTo.LEGACY))
    content = UNREADABLE[how]
    if content is None:
        world.env.pointer.path.unlink()
    else:
        world.env.pointer.path.write_bytes(content)

    with pytest.raises(Failure, match="the undo to finish") as failed:
        world.cutover(abort=True)

    assert world.legacy_fence() == "open"
    assert "Then go on with it: invoke cutover --env test --abort" in failed.value.do
    seen = ending.look(world.env)
    assert seen.next.startswith(f"mend the pointer ({world.env.pointer.path}: " if how != "no URL" else "mend the p")
    assert "--abort" in seen.next

    world.env.pointer.path.write_text(world.pointer_before)  # As the remedies say: a file in UTF-8 with its one line.
    run(world, OperatorCommand.ABORT)
    assert isinstance(ending.look(world.env).advice, Settled)


def test_a_hook_that_writes_the_pointer_back_makes_no_game_live_whose_next_restart_fails(world: World) -> None:
    set_up(world, SETTLED[OperatorCommand.ABORT])
    path, deployed = world.env.pointer.path, world.folder / "taken.env"
    deployed.write_text(world.pointer_before)
    hooks = dataclasses.replace(
        world.env.hooks,
        deploy=f"cp {path} {deployed}",
        restart=f"touch {deployed}.restarted; cp {world.folder}/service.env.before {path}",
    )
    with following(deployed) as url:
        wider = world.with_(services=(url,), hooks=hooks)
        with pytest.raises(Undone, match="still, after the hooks"):
            wider.cutover()

        after = ending.look(wider.env)
        assert (after.serves, after.advice) == ("players play on SQLite", Settled(OperatorCommand.CUTOVER))


def test_what_the_file_lacks_is_given_up_by_the_command_that_is_printed(world: World) -> None:
    set_up(world, EnvironmentState(Phase.LIVE, Fence.OPEN, NOBODY, Fence.OPEN, PointerTo.LEGACY))
    with ops.connect(world.owner) as conn, fence.own_pass(conn):
        conn.execute("insert into action_receipts select id, 'r', 'claim_reward', '{}', 1, 1, '' from users limit 2")

    with pytest.raises(Failure, match="nothing can be carried over it") as failed:
        world.rollback()
    assert failed.value.do.endswith("invoke rollback --env test --discard-writes --accept-loss 2")
    with pytest.raises(Refusal) as refused:
        world.rollback(discard_writes=True)
    assert refused.value.do == "To give them up: --discard-writes --accept-loss 2."
    with pytest.raises(ToolError):
        world.rollback(discard_writes=True, accept_loss=1)

    assert world.rollback(discard_writes=True, accept_loss=2).verdict == "returned"
    assert isinstance(ending.look(world.env).advice, Settled)
