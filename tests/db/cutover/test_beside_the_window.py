"""What others do while a live cutover is under way: in Postgres, in the legacy file, with the tool's own processes."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from threading import Event, Timer
from typing import Any

import psutil
import psycopg
import pytest

from db import transfer
from db.cutover import catching_up, window
from db.environments import Environment
from db.errors import Failure, Refusal, Undone
from db.servers import Server
from game.legacy import capture_schema, sqlite_values
from tests.db.cutover.cutover_world import SPAWN, World, quiet_smoke, run_cutover, wait_until, world

__all__ = ["world"]

Observer = Callable[[str, str], None]


def once(when: str, step: str, act: Callable[[], object]) -> Observer:
    """An observer that acts the first time that it is told this."""
    done: list[object] = []

    def observer(moment: str, name: str) -> None:
        if (moment, name) == (when, step) and not done:
            done.append(step)
            act()

    return observer


def assert_played_on_the_file(world: World) -> None:
    assert (world.phase(), world.legacy_fence(), world.engine()) == ("aborted", "open", "legacy")
    assert world.act(0, "after").status_code == HTTPStatus.OK


@contextmanager
def locking(world: World, mode: str, *, at: tuple[str, str]) -> Iterator[tuple[Observer, Event]]:
    """Lock `users` of Postgres in this mode from that moment on; the event lets go."""
    let_go = Event()

    def hold(conn: psycopg.Connection[Any]) -> None:
        let_go.wait(60)
        conn.close()

    with ThreadPoolExecutor(1) as executor:

        def lock() -> None:
            conn = psycopg.connect(world.owner.conninfo)
            conn.execute(f"lock table users in {mode} mode".encode())
            executor.submit(hold, conn)

        try:
            yield once(*at, lock), let_go
        finally:
            let_go.set()


@pytest.mark.parametrize("mode", ["access share", "share update exclusive"])
def test_who_reads_vacuums_or_makes_an_index_concurrently_delays_no_window(world: World, mode: str) -> None:
    """An idle transaction that read takes the first; autovacuum, ANALYZE, CREATE INDEX CONCURRENTLY the second."""
    assert world.act(0, "before").status_code == HTTPStatus.OK
    with locking(world, mode, at=("at", "window")) as (observer, _):
        report = world.cutover(offline=False, observer=observer)
    assert report.live is not None
    assert report.live.attempts == 1
    assert report.read_only_seconds is not None
    assert report.read_only_seconds < window.BUDGET_SECONDS
    world.assert_open_on_postgres()


@pytest.mark.parametrize("mode", ["share", "access exclusive"])
def test_who_locks_a_table_of_postgres_puts_the_window_off(
    world: World, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CREATE INDEX and ALTER TABLE take these. The file is open again long before the watchdog would end the tool."""
    # The round before the fence would wait for the lock while players play, and leave the last one nothing to write.
    monkeypatch.setattr(catching_up, "close_in", lambda _live: None)
    with locking(world, mode, at=("at", "window")) as (lock, let_go):

        def observer(when: str, step: str) -> None:
            if (when, step) == ("at", "window"):
                world.write_to_legacy("UPDATE users SET gold = gold + 1")
                Timer(3 * window.LOCK_SECONDS, let_go.set).start()
            lock(when, step)

        report = world.cutover(offline=False, observer=observer)
    assert report.live is not None
    assert report.live.attempts > 1
    assert report.read_only_seconds is not None
    assert report.read_only_seconds < 2 * window.BUDGET_SECONDS
    world.assert_open_on_postgres()
    assert transfer.prove(world.env.legacy.path, world.owner).mismatches == 0


def test_a_session_of_the_instant_that_is_lost_leaves_the_chains_to_prove_it(world: World) -> None:
    def act() -> None:
        with psycopg.connect(world.superuser.conninfo, autocommit=True) as conn:
            query = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and"
            query += " application_name = 'sudamr instant'"
            assert conn.execute(query.encode(), (world.owner.dbname,)).fetchall() == [(True,)]
        assert world.act(0, "since").status_code == HTTPStatus.OK

    report = world.cutover(offline=False, observer=once("before", "instant", act))
    assert report.live is not None
    assert report.live.instant["snapshot"] == 0
    assert report.live.instant["by_chain"] == 1
    assert report.live.instant["as_they_are"] == 9
    world.assert_open_on_postgres()


@pytest.mark.parametrize("part", ["window", "fence", "checks"])
def test_a_watchdog_that_is_killed_is_missed_before_the_point_of_no_return(world: World, part: str) -> None:
    with pytest.raises(Undone, match="the watchdog of the window at work"):
        world.cutover(offline=False, observer=once("at", part, lambda: kill_watchdogs(os.getpid())))
    assert_played_on_the_file(world)
    world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert world.act(0, "after").json()["replayed"]


def kill_watchdogs(tool: int) -> None:
    """Kill the watchdog of this tool, and see it gone."""
    children = [each for each in psutil.Process(tool).children() if "db.cutover.watchdog" in " ".join(each.cmdline())]
    assert len(children) == 1
    children[0].kill()
    wait_until(lambda: children[0].status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("part", ["last round", "live"])
@pytest.mark.parametrize("then", ["again", "abort"])
def test_where_tool_and_watchdog_are_killed_the_next_command_ends_it(world: World, part: str, then: str) -> None:
    tool = SPAWN.Process(target=_dies_with_its_watchdog, args=(world.env, world.folder, world.server.handle(), part))
    tool.start()
    tool.join()
    assert tool.exitcode == -signal.SIGKILL
    assert world.legacy_fence() == "fenced"
    if then == "again":
        world.cutover(offline=False)
        world.assert_open_on_postgres()
    elif part == "live":  # Past the point of no return nothing is undone.
        with pytest.raises(Refusal):
            world.cutover(abort=True)
        assert world.act(0, "after").status_code == HTTPStatus.OK
    else:
        world.cutover(abort=True)
        assert_played_on_the_file(world)


def _dies_with_its_watchdog(env: Environment, folder: Any, handle: str, part: str) -> None:
    def act() -> None:
        kill_watchdogs(os.getpid())
        os.kill(os.getpid(), signal.SIGKILL)

    tools, observer = Server.attach(handle).tool, once("at", part, act)
    run_cutover(env, folder=folder / "runs", smoke=quiet_smoke, tools=tools, observer=observer, offline=False)


def write_past_triggers(world: World) -> None:
    """Change a byte of a player's document by SQLite's incremental blobs, which fire no trigger."""
    with closing(sqlite3.connect(world.env.legacy.path, isolation_level=None)) as connection:
        ((row, text),) = connection.execute(
            "SELECT rowid, inventory FROM users WHERE length(inventory) > 100 ORDER BY rowid LIMIT 1"
        ).fetchall()
        at = next(n for n, character in enumerate(text.encode()) if chr(character).isdigit())
        with connection.blobopen("users", "inventory", row) as blob:
            was = text.encode()[at : at + 1]
            blob[at : at + 1] = b"1" if was != b"1" else b"2"
        lines = connection.execute(f"SELECT count(*) FROM {capture_schema.TABLE}").fetchone()
    assert lines == (0,)


def switch_triggers_off(world: World) -> None:
    """Change a player while the triggers are away: they stand again, to the letter, before anybody could look."""
    with closing(sqlite3.connect(world.env.legacy.path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        triggers = capture_schema.triggers(connection)
        for name in triggers:
            connection.execute(f"DROP TRIGGER {sqlite_values.quote(name)}")
        connection.execute("UPDATE users SET gold = gold + 1 WHERE rowid = 3")
        for statement in triggers.values():
            connection.execute(statement)
        connection.execute("COMMIT")


def vacuum(world: World) -> None:
    """Let SQLite number the rows of `users` anew: their ids are no rowids."""
    world.write_to_legacy("DELETE FROM users WHERE rowid = 2; VACUUM")


BYPASSES = {"a blob": write_past_triggers, "no triggers": switch_triggers_off}


@pytest.mark.parametrize("how", BYPASSES)
def test_what_is_written_past_the_triggers_is_named_by_the_proof_and_the_next_copy_has_it(
    world: World, how: str
) -> None:
    with pytest.raises(Undone, match="users row"):
        world.cutover(offline=False, observer=once("before", "stand by", lambda: BYPASSES[how](world)))
    assert_played_on_the_file(world)
    world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert transfer.prove(world.env.legacy.path, world.owner).mismatches == 0


def test_what_is_written_past_the_triggers_after_the_proof_is_named_by_the_proof_of_the_instant(world: World) -> None:
    with pytest.raises(Failure, match="users row") as caught:
        world.cutover(offline=False, observer=once("before", "window", lambda: switch_triggers_off(world)))
    assert "The move is made." in caught.value.do
    assert (world.phase(), world.legacy_fence()) == ("live", "moved")


@pytest.mark.parametrize("when", ["stand by", "window"])
def test_a_vacuum_that_numbers_rows_anew_loses_nothing(world: World, when: str) -> None:
    with suppress(Undone):
        world.cutover(offline=False, observer=once("before", when, lambda: vacuum(world)))
    if world.phase() != "live":
        assert_played_on_the_file(world)
        world.cutover(offline=False)
    world.assert_open_on_postgres()
    assert transfer.prove(world.env.legacy.path, world.owner).mismatches == 0


def test_a_second_live_move_is_refused_by_name_and_changes_nothing(world: World) -> None:
    refused: list[Refusal] = []

    def second() -> None:
        with pytest.raises(Refusal, match=world.run_of_the_phase()) as caught:
            world.cutover(offline=False)
        refused.append(caught.value)

    world.cutover(offline=False, observer=once("before", "window", second))
    assert len(refused) == 1
    world.assert_whole_on_postgres()


def test_a_player_held_in_the_last_round_beyond_the_policy_opens_the_file_again(world: World) -> None:
    strict = world.with_(policy=replace(world.env.policy, max_held=0))

    def unreadable() -> None:
        world.write_to_legacy("UPDATE users SET inventory = '[{' WHERE rowid = 3")

    with pytest.raises(Undone, match="held"):
        strict.cutover(offline=False, observer=once("at", "window", unreadable))
    assert_played_on_the_file(world)
    world.cutover(offline=False)
    world.assert_open_on_postgres()
