"""The service's processes in a live cutover: killed, late, stopped, or with a next store that is none or stale."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus

import pytest

from db.cutover import pointer, services, switch
from db.cutover.services import Ready
from db.cutover.window import WindowMissed
from db.environments import Hooks
from db.errors import ToolError, Undone
from tests.db.cutover.cutover_world import World, wait_until, world

__all__ = ["world"]

IDLE = Hooks(restart="true")
"""A hook that restarts nothing, as one whose unit has another name."""


def serving(world: World) -> Ready:
    ready = services.ask(world.env.services[0])
    assert ready is not None
    return ready


def assert_played_on_the_file(world: World) -> None:
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert world.act(0, "after").status_code == HTTPStatus.OK


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # A restart has ended it.
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("part", ["fence", "lock", "live"])
def test_a_process_that_is_killed_in_the_window_comes_back_late_to_the_store_that_is_open(
    world: World, part: str
) -> None:
    """Its supervisor starts another one, which meets the window or what came after it."""
    killed: list[int] = []

    def observer(when: str, step: str) -> None:
        if (when, step) == ("at", part) and not killed:
            killed.append(serving(world).pid)
            os.kill(killed[0], signal.SIGKILL)
        elif (when, step) == ("before", "switch"):  # No hook has restarted anything yet.
            wait_until(
                lambda: (ready := services.ask(world.env.services[0])) is not None and ready.engine == "postgres"
            )
            assert serving(world).pid not in killed
            assert world.act(0, "late").status_code == HTTPStatus.OK

    report = world.cutover(offline=False, observer=observer)
    assert killed
    assert report.live is not None
    world.assert_open_on_postgres()
    assert world.act(0, "late").json()["replayed"]


def test_no_window_begins_while_a_process_is_stopped(world: World) -> None:
    with ExitStack() as stopping:

        def observer(when: str, step: str) -> None:
            assert (when, step) != ("at", "fence")
            if (when, step) == ("before", "window"):
                stopping.enter_context(stopped(serving(world).pid))

        with pytest.raises(Undone) as caught:
            world.cutover(offline=False, observer=observer)
    assert isinstance(caught.value.__cause__, WindowMissed)
    assert_played_on_the_file(world)
    world.cutover(offline=False)
    world.assert_open_on_postgres()


def test_a_process_that_is_stopped_in_the_window_keeps_nobody_from_postgres(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "READY_SECONDS", 5.0)
    with ExitStack() as stopping:

        def observer(when: str, step: str) -> None:
            if (when, step) == ("at", "lock"):
                stopping.enter_context(stopped(serving(world).pid))

        try:
            world.cutover(offline=False, observer=observer)
        except ToolError as error:
            assert "The move is made." in error.do  # noqa: PT017  # a restart may end the process, and then it passes
    assert (world.phase(), world.legacy_fence()) == ("live", "moved")
    monkeypatch.undo()
    world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert world.act(0, "after").status_code == HTTPStatus.OK


def test_a_process_that_does_not_open_the_next_store_is_named_and_players_play_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "READY_SECONDS", 3.0)
    with pytest.raises(Undone, match="does not say that it has it open, and ready"):
        world.with_(hooks=IDLE).cutover(offline=False)
    assert_played_on_the_file(world)
    world.cutover(offline=False)
    world.assert_open_on_postgres()


@pytest.mark.parametrize("stale", ["another attempt's Postgres", "another copy of the file"])
def test_a_process_with_a_stale_next_store_is_named_and_follows_the_right_one_once_restarted(
    world: World, monkeypatch: pytest.MonkeyPatch, stale: str
) -> None:
    with world.on_another_server() as other:
        copy = shutil.copy(world.before, world.folder / "copy.db")
        named = other.env.target.as_text() if "Postgres" in stale else f"file:{copy}"
        pointer.write_next(world.env.pointer, named)
        before = serving(world).process
        os.kill(int((world.folder / "pid").read_text()), signal.SIGHUP)
        wait_until(lambda: (ready := services.ask(world.env.services[0])) is not None and ready.process != before)
        with monkeypatch.context() as quick:
            quick.setattr(switch, "READY_SECONDS", 3.0)
            with pytest.raises(Undone, match="does not say that it has it open, and ready"):
                world.with_(hooks=IDLE).cutover(offline=False)
        assert_played_on_the_file(world)
        world.cutover(offline=False)
        world.assert_open_on_postgres()
        assert world.act(0, "after").json()["replayed"]
