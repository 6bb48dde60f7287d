"""Signals are held while an undo or the settling of a lost connection runs, and end the run again after it.

A cutover goes on after both: it begins once the undo of an earlier attempt is finished, and watches once it turns out
that a COMMIT without an answer was kept.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from db.cutover import cutover_steps, ending, undoing
from db.cutover.advice import EnvironmentState, Fence, FenceOwner, PointerTo
from db.cutover.context import RunContext
from db.errors import Undone
from db.ops import Phase
from db.processes.interruption import Interrupted, Signals
from db.servers import Server
from tests.db.cutover.cutover_world import World, quiet_world
from tests.db.cutover.standing import set_up

UNFINISHED = EnvironmentState(Phase.ABORTED, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.LEGACY)
FRESH = EnvironmentState(Phase.ABORTED, Fence.OPEN, FenceOwner.NOBODY, Fence.FENCED, PointerTo.LEGACY)


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with quiet_world(server, tmp_path_factory.mktemp("held")) as world:
        world.cutover()
        world.rollback()
        yield world


def test_a_signal_ends_a_cutover_that_finished_an_older_undo_first(world: World) -> None:
    set_up(world, UNFINISHED)

    with Signals() as signals, pytest.raises(Undone, match="SIGTERM"):
        world.cutover(signals=signals, observer=_signal_at("before copy"))

    assert ending.look(world.env).serves == "players play on SQLite"


def test_a_signal_during_that_undo_lets_it_end_and_begins_nothing_more(world: World) -> None:
    set_up(world, UNFINISHED)

    with Signals() as signals, pytest.raises(Interrupted, match="SIGTERM"):
        world.cutover(signals=signals, observer=_signal_at("before unfence"))

    assert ending.look(world.env).serves == "players play on SQLite"
    assert world.phase() == "aborted"


@pytest.mark.parametrize("at", ["while it asks", "before first snapshot"])
def test_a_signal_ends_a_run_that_had_to_ask_if_it_went_live(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(world, FRESH)
    monkeypatch.setattr(cutover_steps, "_lift", _cut_after(world, cutover_steps._lift))
    settled = undoing.settled

    def asked(context: RunContext) -> None:
        _signal_at(at)("while it", "asks")
        settled(context)

    monkeypatch.setattr(undoing, "settled", asked)

    with Signals() as signals, pytest.raises(Interrupted, match="SIGTERM"):
        world.cutover(signals=signals, observer=_signal_at(at))

    assert ending.look(world.env).serves == "players play on Postgres"


@pytest.mark.parametrize("at", ["before switch", "after smoke", "before live"])
def test_a_signal_whose_exception_vanished_still_undoes_before_the_point_of_no_return(world: World, at: str) -> None:
    """As in a destructor or a callback of the garbage collection: Python prints the exception and drops it."""
    set_up(world, FRESH)
    strike = _signal_at(at)

    def observer(when: str, step: str) -> None:
        with suppress(Interrupted):
            strike(when, step)

    with Signals() as signals, pytest.raises(Undone, match="SIGTERM"):
        world.cutover(signals=signals, observer=observer)

    assert ending.look(world.env).serves == "players play on SQLite"


def test_an_abort_that_is_interrupted_still_ends_as_undone(world: World) -> None:
    set_up(world, EnvironmentState(Phase.LOADING, Fence.FENCED, FenceOwner.THIS_RUN, Fence.FENCED, PointerTo.TARGET))

    with Signals() as signals:
        report = world.cutover(abort=True, signals=signals, observer=_signal_at("before unfence"))

    assert report.verdict == "undone"
    assert ending.look(world.env).serves == "players play on SQLite"


def _cut_after(world: World, lift: Callable[[RunContext], None]) -> Callable[[RunContext], None]:
    """End every session once the lift is committed, as a failover does."""

    def lifted(context: RunContext) -> None:
        lift(context)
        world.cut()

    return lifted


def _signal_at(at: str) -> Callable[[str, str], None]:
    def observer(when: str, step: str) -> None:
        if f"{when} {step}" == at:
            os.kill(os.getpid(), signal.SIGTERM)

    return observer


class Struck:
    """Is interrupted while Python destroys it."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))  # The handler runs before one of these statements.


def test_an_exception_that_a_destructor_drops_is_a_line_and_the_command_still_ends(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Signals() as signals:
        Struck()
        with pytest.raises(Interrupted, match="SIGTERM"):
            signals.check()
    printed = capfd.readouterr().err
    assert "SIGTERM: it is heard; the command ends at the next step." in printed
    assert "Traceback" not in printed
