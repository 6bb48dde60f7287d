"""Two processes of the service, one of which goes its own way: it is named, and it writes nothing behind a move's back.

The tool is a process of its own, and so is the old process of the service; it has its store open and its players keep
asking. What they were told is counted with what the others were told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from db.cutover import ending
from db.cutover.advice import Settled
from db.servers import Server
from harness.strikes import world as worlds
from harness.strikes.lingering import OldProcess
from harness.strikes.players import Players
from harness.strikes.strike import Run
from harness.strikes.sweep import Strikes
from harness.strikes.world import World

FAILED, UNDONE = 1, 4
BEGINS_ON = {"cutover": "legacy", "rollback": "postgres"}
ASKED = 12


@pytest.fixture(scope="module")
def strikes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strikes]:
    with worlds.prepared(server, tmp_path_factory.mktemp("lingering")) as world:
        yield Strikes(world)


@contextmanager
def old_process(world: World, engine: str) -> Iterator[OldProcess]:
    """An old process on the store, with players of its own who ask all the time."""
    every = world.scripts
    theirs = dict(list(every.items())[1::2])
    world.scripts = {player: script for player, script in every.items() if player not in theirs}
    old = OldProcess(world.url_of(engine), theirs)
    try:
        with old.playing():
            yield old
    finally:
        old.end()
        world.scripts, world.second = every, world.follower.ready


@pytest.mark.parametrize("verb", BEGINS_ON)
def test_a_process_that_does_not_follow_is_named_and_the_move_is_undone(strikes: Strikes, verb: str) -> None:
    world, move = strikes.world, strikes.move(verb)
    world.restore(move.start)
    players = world.players(move.start.log)
    with old_process(world, BEGINS_ON[verb]) as old:
        world.second = old.ready
        with players.playing():
            run = Run(world, verb, abort=False, ready_seconds=1.0)
            assert run.wait() in (FAILED, UNDONE)
            assert (
                f"{world.env.services[1]} is still the old process, {old.pid}, which was not restarted" in run.printed
            )

        world.second = world.follower.ready  # The operator restarts it.
        while not isinstance(ending.look(world.env).advice, Settled):
            command = ending.look(world.env).next.split(" (")[0].split()
            again = Run(world, command[1], abort="--abort" in command)
            assert again.wait() in (0, UNDONE), again.printed
        assert_counted(world, BEGINS_ON[verb], players, old)


@pytest.mark.parametrize("verb", BEGINS_ON)
def test_an_old_process_that_still_runs_beside_the_new_one_is_named(strikes: Strikes, verb: str) -> None:
    world, move = strikes.world, strikes.move(verb)
    world.restore(move.start)
    players = world.players(move.start.log)
    restarted = world.follower.restarted
    with old_process(world, BEGINS_ON[verb]) as old:
        world.second = lambda: old.ready() if world.follower.restarted == restarted else world.follower.ready()
        with players.playing():
            run = Run(world, verb, abort=False, ready_seconds=1.0)
            assert run.wait() == UNDONE
            assert f"answers, but the old process {old.pid} still runs" in run.printed
        assert_counted(world, BEGINS_ON[verb], players, old)


@pytest.mark.parametrize("verb", BEGINS_ON)
def test_an_old_process_that_nobody_can_see_writes_nothing_to_the_store_that_moved(strikes: Strikes, verb: str) -> None:
    world, move = strikes.world, strikes.move(verb)
    world.restore(move.start)
    players = world.players(move.start.log)
    with old_process(world, BEGINS_ON[verb]) as old:
        with players.playing():
            run = Run(world, verb, abort=False)
            assert run.wait() == 0, run.printed
        assert not old.play(ASKED), "its store moved"
        assert "moved" in str(old.ready()["fence"])
        ends_on = BEGINS_ON["rollback" if verb == "cutover" else "cutover"]
        assert_counted(world, ends_on, players, old)


def assert_counted(world: World, engine: str, players: Players, old: OldProcess) -> None:
    """All that either's players were told is in the store once, and nobody else is changed."""
    players.settle()
    asked = [*players.log, *old.log]
    judged = world.judge(asked, engine)
    assert judged.violations == ()
    assert judged.figures.receipts > 0
    assert world.altered(asked, engine) == []
