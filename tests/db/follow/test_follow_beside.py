"""What stands beside the file or Postgres while the file follows: it is waited for, and players notice nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from db import ops
from db.errors import Inconclusive, Refusal
from db.follow import loop, orders, status
from db.ops import following
from db.ops.following import FollowState
from db.schema import migrate, revisions
from db.schema.revisions import History
from db.servers import Server
from db.transfer.live import capture
from game.legacy import applied_log, sidecars, sqlite_values
from tests.db.cutover.cutover_world import World, made, wait_until
from tests.db.follow.followed import differences, on_a_thread, receipts, row, wait_for_receipt, wait_for_state
from tests.fixtures.revisions import write
from tests.fixtures.small_disk import fill_under, mounted

NEXT = f"{int(revisions.read().head) + 1:04}"


def history(folder: Path, *statements: str) -> History:
    """Return the project's revisions and one more."""
    write(folder, NEXT, *statements)
    return revisions.read(folder)


def migrated(world: World, known: History) -> list[str]:
    return migrate.migrate(world.owner, environment="test", service_role=None, history=known).applied


def test_a_full_disk_is_waited_for_while_players_play(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "LEAST_FREE_BYTES", 1 << 20)
    with mounted(tmp_path / "disk", megabytes=40) as disk, made(server, tmp_path, disk.folder) as world:
        world.cutover(offline=False)
        with on_a_thread(world) as follower:
            wait_for_state(world, FollowState.FOLLOWING)
            fill_under(disk, world.env.legacy.path)
            assert world.act(0, "full").status_code == 200
            wait_until(lambda: follower.view.told(FollowState.PAUSING, "full"))
            assert world.act(1, "still-full").status_code == 200
            assert row(world).lag is None
            disk.free()
            wait_for_receipt(world, "still-full")
            follower.end()
        assert receipts(world, "%full") == ["full", "still-full"]
        assert differences(world) == ()


def test_a_process_that_keeps_the_file_locked_is_waited_for_and_named(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with closing(sqlite3.connect(world.env.legacy.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert world.act(0, "locked").status_code == 200
            wait_until(lambda: follower.view.told(FollowState.PAUSING, "locked"), 40)
            assert world.act(1, "locked-too").status_code == 200
        wait_for_receipt(world, "locked-too")
        follower.end()
    assert differences(world) == ()


def test_a_reader_for_whom_the_log_of_the_file_grows_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_LOG_BYTES", 1)
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with closing(sqlite3.connect(world.env.legacy.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM users").fetchone()
            assert world.act(0, "read").status_code == 200
            wait_until(lambda: follower.view.told(FollowState.PAUSING, "reads the legacy file"), 40)
            reader.execute("COMMIT")
        assert world.act(1, "read-no-more").status_code == 200
        wait_for_receipt(world, "read-no-more")
        follower.end()
    assert differences(world) == ()
    log = sidecars.log_of(world.env.legacy.path)
    assert not log.exists() or log.stat().st_size < 1 << 20


def test_a_file_whose_write_back_was_cut_off_is_said_to_follow_nothing_and_is_begun_anew(world: World) -> None:
    with closing(sqlite_values.connect(world.env.legacy.path)) as file:
        applied_log.begin_anew(file)  # As a process does that is killed before the end.
    text = "a write-back of everything into the file was begun, and did not come to its end"
    lines = status.described(world.env)
    assert f"lag not known: {text}" in lines
    assert f"a rollback now would first write everything back once, while players play: {text}" in lines
    with on_a_thread(world) as follower:
        wait_until(lambda: follower.view.told(FollowState.ANEW, text), 40)
        wait_for_state(world, FollowState.FOLLOWING)
        follower.end()
    assert not any(text in line for line in status.described(world.env))
    assert differences(world) == ()


def test_a_writer_left_open_in_another_database_leaves_nothing_behind(world: World) -> None:
    """Its transaction holds the horizon of the whole server back: rounds take what their snapshot shows."""
    with psycopg.connect(world.superuser.conninfo) as elsewhere:
        elsewhere.execute("create temp table left_open (n int)")
        elsewhere.execute("insert into left_open values (1)")
        with on_a_thread(world) as follower:
            for number in range(3):
                assert world.act(number, f"beside-{number}").status_code == 200
            wait_for_receipt(world, "beside-2")
            wait_until(lambda: row(world).lines == 0)
            follower.end()
        elsewhere.rollback()
    assert differences(world) == ()


def test_a_revision_with_a_table_without_capture_is_refused_while_it_is_on(world: World, tmp_path: Path) -> None:
    known = history(tmp_path / "more", "create table omens (id text)")
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with pytest.raises(Refusal, match=f"omens of revision {NEXT}") as refused:
            migrated(world, known)
        assert "--stop" in refused.value.do
        assert world.act(0, "refused").status_code == 200
        wait_for_receipt(world, "refused")
        orders.stop(world.env)
        assert follower.future.result(60).outcome == "stopped"
    assert migrated(world, known) == [NEXT]


def test_at_a_schema_that_it_was_not_built_for_it_stops_and_the_version_that_was_goes_on(
    world: World, tmp_path: Path
) -> None:
    known = history(tmp_path / "more", "create index luck on users (gold)")
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        assert migrated(world, known) == [NEXT]
        assert world.act(0, "newer").status_code == 200
        with pytest.raises(Inconclusive, match=f"the schema .*; found {NEXT}"):
            follower.future.result(60)
    with ops.connect(world.owner) as conn:
        assert following.is_on(conn)
    assert row(world).state is FollowState.STOPPED
    with on_a_thread(world, history=known) as newer:
        wait_for_receipt(world, "newer")
        newer.end()
    assert differences(world) == ()


def test_a_version_that_is_newer_than_the_schema_waits_for_the_migration(world: World, tmp_path: Path) -> None:
    known = history(tmp_path / "more", "create index luck on users (gold)")
    with on_a_thread(world, history=known) as follower:
        wait_until(lambda: follower.view.told(FollowState.PAUSING, "invoke migrate"))
        migrated(world, known)
        assert world.act(0, "migrated").status_code == 200
        wait_for_receipt(world, "migrated")
        follower.end()


def test_an_emergency_fence_is_waited_for(world: World) -> None:
    with on_a_thread(world) as follower:
        wait_for_state(world, FollowState.FOLLOWING)
        with ops.connect(world.owner) as conn:
            conn.execute("update ops.fence set state = 'fenced'")
            wait_until(lambda: follower.view.told(FollowState.PAUSING, "Postgres is fenced"))
            conn.execute("update ops.fence set state = 'open'")
        assert world.act(0, "lifted").status_code == 200
        wait_for_receipt(world, "lifted")
        follower.end()
