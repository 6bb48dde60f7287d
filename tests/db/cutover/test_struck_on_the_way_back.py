"""A live rollback whose tool, watchdog, server or disk fails in its window: one store is open, and it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from db import ops
from db.cutover import ending
from db.cutover.watchdog import LONGEST_SECONDS
from db.environments import Environment
from db.errors import Refusal, ToolError, Undone
from db.ops import orders
from db.servers import Server
from harness.cli.commands import environment_status
from tests.db.cutover.cutover_world import SPAWN, World, made, quiet_smoke, run_rollback, wait_until
from tests.db.cutover.test_beside_the_window import kill_watchdogs, once
from tests.fixtures.small_disk import SmallDisk, fill_under, mounted

BEFORE_SENT = ("last round", "sent")


@pytest.fixture
def world(on_postgres: World) -> World:
    return on_postgres


def assert_back(world: World) -> None:
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("returned", "open", "legacy")
    assert world.postgres_refuses()
    assert "move" not in dict(environment_status.status(world.env).rows)


def is_settled(world: World, part: str) -> bool:
    expected = ("live", "moved") if part in BEFORE_SENT else ("returned", "open")
    return (world.phase(), world.legacy_fence()) == expected


@contextmanager
def tool_that(world: World, act: str, part: str) -> Iterator[Any]:
    """A rollback in a process of its own that does this at the part of its window."""
    tool = SPAWN.Process(target=_struck, args=(world.env, world.folder, world.server.handle(), act, part))
    tool.start()
    try:
        yield tool
    finally:
        tool.kill()  # This process waits for its children at its end, also for one that is stopped.
        tool.join()


def _struck(env: Environment, folder: Path, handle: str, act: str, part: str) -> None:
    def strike() -> None:
        if act == "dies with its watchdog":
            kill_watchdogs(os.getpid())
        if act == "dies while Postgres takes no session":
            _admit(Server.attach(handle), env.target_direct.dbname, admits=False)
        os.kill(os.getpid(), signal.SIGSTOP if act == "stops" else signal.SIGKILL)

    tools, observer = Server.attach(handle).tool, once("at", part, strike)
    run_rollback(env, folder=folder / "runs", smoke=quiet_smoke, tools=tools, observer=observer, offline=False)


def _admit(server: Server, dbname: str, *, admits: bool) -> None:
    with server.admin() as admin:
        admin.execute("update pg_database set datallowconn = %s where datname = %s", (admits, dbname))
        if not admits:
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (dbname,))


@pytest.mark.parametrize("part", ["last round", "returned"])
def test_a_tool_that_is_stopped_in_the_window_is_ended_and_players_play(world: World, part: str) -> None:
    with tool_that(world, "stops", part) as tool:
        tool.join(LONGEST_SECONDS + 60)
        assert tool.exitcode == -signal.SIGKILL
    wait_until(lambda: is_settled(world, part))
    assert world.save(0, f"stopped-{part.split(maxsplit=1)[0]}").status_code == 200
    world.rollback(offline=False)
    assert_back(world)
    assert world.save(0, f"stopped-{part.split(maxsplit=1)[0]}").json()["replayed"]


def test_nothing_is_opened_until_postgres_says_that_the_game_returned(world: World) -> None:
    """The tool dies right after its COMMIT; the watchdog can't read the phase, and nobody's write is taken twice."""
    with tool_that(world, "dies while Postgres takes no session", "returned") as tool:
        tool.join()
        assert tool.exitcode == -signal.SIGKILL
        try:
            seen = ending.look(world.env)
            assert world.legacy_fence() == "moved"
            assert seen.serves == "who serves the players is not known"
            assert seen.next.startswith("invoke status --env test, once Postgres")
            assert world.legacy_refuses()
        finally:
            _admit(world.server, world.owner.dbname, admits=True)
    wait_until(lambda: is_settled(world, "returned"), seconds=60)
    assert '"phase":"returned"' in world.journals().replace(" ", "")
    assert world.save(0, "silent").status_code == 200
    world.rollback(offline=False)
    assert_back(world)


@pytest.mark.parametrize("part", ["last round", "returned"])
def test_where_tool_and_watchdog_are_killed_the_next_command_ends_it(world: World, part: str) -> None:
    with tool_that(world, "dies with its watchdog", part) as tool:
        tool.join()
        assert tool.exitcode == -signal.SIGKILL
    if part in BEFORE_SENT:
        wait_until(lambda: is_settled(world, part))
        assert world.save(0, "unwatched").status_code == 200
    else:
        assert (world.phase(), world.legacy_fence()) == ("returned", "moved")
        assert dict(environment_status.status(world.env).rows)["move"].startswith("in the window: Postgres says")
        with pytest.raises(Refusal):  # Past the point of no return nothing is undone.
            world.rollback(abort=True)
    assert dict(environment_status.status(world.env).rows)["next"].startswith("invoke rollback --env test (")
    world.rollback(offline=False)
    assert_back(world)


@pytest.mark.parametrize("part", ["window", "lock", "checks"])
def test_a_watchdog_that_is_killed_is_missed_before_the_point_of_no_return(world: World, part: str) -> None:
    with pytest.raises(Undone, match="the watchdog of the window at work"):
        world.rollback(offline=False, observer=once("at", part, lambda: kill_watchdogs(os.getpid())))
    world.assert_open_on_postgres()


def test_a_second_rollback_is_refused_by_name_and_changes_nothing(world: World) -> None:
    refused: list[str] = []

    def second() -> None:
        with ops.connect(world.owner) as conn:
            standing = orders.standing(conn)
        assert standing is not None
        for offline in (False, True):
            with pytest.raises(Refusal, match=standing.run) as caught:
                world.rollback(offline=offline)
            refused.append(caught.value.found)

    world.rollback(offline=False, observer=once("before", "window", second))
    assert len(refused) == 2
    assert_back(world)


def test_a_session_that_is_lost_after_the_commit_leaves_one_open_store(world: World) -> None:
    """The server ends every session between the COMMIT and the opening of the file; the run itself finishes."""

    def cut() -> None:
        with world.server.admin() as admin:
            query = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s"
            admin.execute(query, (world.owner.dbname,))

    with suppress(ToolError):
        world.rollback(offline=False, observer=once("at", "returned", cut))
    wait_until(lambda: is_settled(world, "returned"))
    world.rollback(offline=False)
    assert_back(world)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", megabytes=24) as disk:
        yield disk


def test_a_file_without_room_for_the_last_round_leaves_players_on_postgres(
    server: Server, tmp_path: Path, disk: SmallDisk
) -> None:
    with made(server, tmp_path, disk.folder) as world:
        world.cutover()

        def fill() -> None:
            assert world.save(0, "before-the-lock").status_code == 200
            fill_under(disk, world.env.legacy.path)

        with pytest.raises(ToolError, match="disk"):  # The undo can't write to the file either.
            world.rollback(offline=False, observer=once("at", "window", fill))
        world.assert_open_on_postgres()
        assert world.save(1, "after").status_code == 200
        disk.free()
        world.rollback(offline=False)
        assert_back(world)
        for number, request in enumerate(("before-the-lock", "after")):
            assert world.save(number, request).json()["replayed"]
