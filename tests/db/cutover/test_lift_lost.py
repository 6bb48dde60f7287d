"""A legacy file that says moved while Postgres is not live tells of a lift that a failover lost, whatever the phase.

The standby may be older than the whole attempt. A cutover that began anew from there would open the file, copy it, and
go live without what players had done on Postgres; so it is refused, and opening the file takes the command for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.cutover import ending
from db.cutover.advice import Ends, EnvironmentState, Fence, FenceOwner, OperatorCommand, PointerTo
from db.errors import Refusal
from db.ops import Phase
from db.servers import Server
from tests.db.cutover.cutover_world import World, quiet_world
from tests.db.cutover.standing import run, set_up

OPENS = {
    Phase.EMPTY: OperatorCommand.ABORT,
    Phase.LOADING: OperatorCommand.ABORT,
    Phase.ABORTED: OperatorCommand.ABORT,
    Phase.RETURNED: OperatorCommand.ROLLBACK,
}


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("lost")) as world:
        world.cutover()
        world.rollback()
        yield world


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.LIVE])
def test_only_the_command_that_names_the_loss_opens_the_file(world: World, phase: Phase) -> None:
    set_up(world, EnvironmentState(phase, Fence.MOVED, FenceOwner.ANOTHER_RUN, Fence.FENCED, PointerTo.TARGET))
    before = ending.look(world.env)
    assert isinstance(before.advice, Ends)
    assert before.advice.command is OPENS[phase]
    assert "a failover lost its newest transactions" in before.next

    for command in set(OperatorCommand) - {OPENS[phase]}:
        with pytest.raises(Refusal) as refused:
            run(world, command)
        assert before.advice.command.removeprefix("invoke ").split()[0] in refused.value.do, command
    assert ending.look(world.env) == before, "a run that is refused changes nothing"
    with pytest.raises(Refusal, match="bring it back"):
        run(world, OperatorCommand.CUTOVER)

    run(world, OPENS[phase])
    assert ending.look(world.env).serves == "players play on SQLite"
