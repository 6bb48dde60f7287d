"""The disk of the legacy file fills at each part of a live cutover: players' requests first, and nothing is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from db.cutover import ending
from db.environments import Environment
from db.errors import Failure, Inconclusive, Refusal, ToolError
from db.servers import Server
from db.transfer.live import capture
from db.transfer.live.rounds import RoundResult, Rounds
from tests.db.cutover.cutover_world import SPAWN, World, made, quiet_smoke, run_cutover, wait_until
from tests.fixtures.small_disk import SmallDisk, fill_under, mounted

LEAST_FREE = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", megabytes=24) as disk:
        yield disk


@pytest.fixture
def world(server: Server, tmp_path: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(capture, "LEAST_FREE_BYTES", LEAST_FREE)
    with made(server, tmp_path, disk.folder) as world:
        yield world


def ends_whole(world: World, *played: int) -> None:
    """Run again: players play on Postgres, and what they did is there once."""
    world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert not world.captured()
    for number in played:
        assert world.act(number, f"act-{number}").json()["replayed"]


def test_a_disk_without_room_for_the_log_is_refused_before_anything_is_changed(world: World, disk: SmallDisk) -> None:
    disk.fill(but_for=LEAST_FREE)
    with pytest.raises(Refusal, match="MB free beside the legacy file") as caught:
        world.cutover(offline=False)
    assert "Make room on that disk" in caught.value.do
    assert world.phase() == "empty"
    disk.free()
    ends_whole(world)


@pytest.mark.parametrize("step", ["stand by", "window"])
def test_a_move_gives_way_before_the_disk_is_full_and_players_play_on(world: World, disk: SmallDisk, step: str) -> None:
    def observer(when: str, name: str) -> None:
        if (when, name) == ("before", step):
            disk.fill(but_for=LEAST_FREE - 4096)

    with pytest.raises(Inconclusive, match="MB free on the disk") as caught:
        world.cutover(offline=False, observer=observer)
    assert "Make room" in caught.value.do
    assert (world.phase(), world.legacy_fence(), world.captured()) == ("aborted", "open", False)
    assert world.act(0, "act-0").status_code == HTTPStatus.OK
    disk.free()
    ends_whole(world, 0)


def test_a_player_whose_change_the_log_has_no_room_for_is_asked_to_come_again(world: World, disk: SmallDisk) -> None:
    """The change and its line of the log are one transaction: neither is there, and the same request is granted."""
    refused = []

    def observer(when: str, name: str) -> None:
        if (when, name) == ("before", "stand by"):
            fill_under(disk, world.env.legacy.path)
            refused.append(world.act(0, "act-0"))
            disk.free()
            assert not world.act(0, "act-0").json()["replayed"]

    world.cutover(offline=False, observer=observer)
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(503, "store_unavailable")]
    assert refused[0].headers["Retry-After"]
    ends_whole(world, 0)


@pytest.mark.parametrize("moment", ["a round's deletion", "the fence"])
def test_a_full_disk_before_the_point_of_no_return_leaves_the_file_open_and_names_the_undo(
    world: World, disk: SmallDisk, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Rounds.apply

    def apply(rounds: Rounds, file: sqlite3.Connection) -> RoundResult:
        result = real(rounds, file)
        disk.fill()
        return result

    def observer(when: str, name: str) -> None:
        if moment == "the fence" and (when, name) == ("at", "window"):
            fill_under(disk, world.env.legacy.path)
        elif moment != "the fence" and (when, name) == ("after", "migrate"):
            assert world.act(1, "act-1").status_code == HTTPStatus.OK
            monkeypatch.setattr(Rounds, "apply", apply)

    with pytest.raises(ToolError) as caught:
        world.cutover(offline=False, observer=observer)
    monkeypatch.setattr(Rounds, "apply", real)
    assert "disk" in str(caught.value)
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert "players play on SQLite" in ending.ended(world.env, "failed").line
    disk.free()
    assert world.act(0, "act-0").status_code == HTTPStatus.OK
    ends_whole(world, 0)


def test_a_file_that_can_not_say_moved_leaves_players_on_postgres_and_running_again_finishes(
    world: World, disk: SmallDisk
) -> None:
    def observer(when: str, name: str) -> None:
        if (when, name) == ("at", "live"):
            disk.fill()

    with pytest.raises(Failure, match="disk is full") as caught:
        world.cutover(offline=False, observer=observer)
    assert "The move is made. Then finish it: invoke cutover --env test" in caught.value.do
    assert (world.phase(), world.legacy_fence()) == ("live", "fenced")
    assert "players play on Postgres" in ending.ended(world.env, "failed").line
    assert world.act(0, "act-0").status_code == HTTPStatus.OK
    disk.free()
    ends_whole(world, 0)


def test_a_file_that_can_not_be_opened_again_is_opened_by_the_watchdog_once_there_is_room(
    world: World, disk: SmallDisk
) -> None:
    tool = SPAWN.Process(target=_dies, args=(world.env, world.folder, world.server.handle(), disk))
    tool.start()
    tool.join()
    assert tool.exitcode == -signal.SIGKILL
    assert world.act(0, "act-0").status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert world.legacy_fence() == "fenced"
    disk.free()
    wait_until(lambda: world.legacy_fence() == "open")
    assert world.act(0, "act-0").status_code == HTTPStatus.OK
    ends_whole(world, 0)


def _dies(env: Environment, folder: Path, handle: str, disk: SmallDisk) -> None:
    def observer(when: str, name: str) -> None:
        if (when, name) == ("at", "last round"):
            disk.fill()
            os.kill(os.getpid(), signal.SIGKILL)

    tools = Server.attach(handle).tool
    capture.LEAST_FREE_BYTES = LEAST_FREE
    run_cutover(env, folder=folder / "runs", smoke=quiet_smoke, tools=tools, observer=observer, offline=False)
