"""Upkeep backs up what players play on, tries the backup, mends indexes, and never removes the last good backup."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg import errors

from db import ops, snapshots
from db.cutover.ports import SmokeResult
from db.environments import Environment, SnapshotPlan
from db.errors import Refusal
from db.monitor.checks import indexes
from db.ops import fence, locks
from db.samples import seed
from db.snapshots import Side, Snapshot, manifest, postgres
from db.upkeep import jobs
from db.upkeep.jobs import DONE, FAILED, NOT_DUE, JobReport, UpkeepConfig
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.urls import PostgresUrl
from tests.db.legacy import absent_files, hostile_files
from tests.fixtures.waiting import until

BACKUP = "backup of Postgres"


def passing(url: PostgresUrl) -> SmokeResult:
    """Say that one scenario passed."""
    del url
    return SmokeResult(1)


def run(env: Environment, **options: object) -> dict[str, JobReport]:
    """Run an upkeep and return its jobs by name."""
    report = jobs.run(env, UpkeepConfig(**{"play": passing, **options}))  # type: ignore[arg-type]  # a test names only what it is about
    return {job.name: job for job in report.jobs}


def taken(env: Environment, side: Side = Side.TARGET) -> list[Snapshot]:
    return snapshots.find(env.snapshots.folder, env.name, side=side)


@pytest.mark.plan(32)
def test_the_first_upkeep_backs_up_and_the_next_has_nothing_to_do(env: Environment) -> None:
    first = run(env)
    assert first[BACKUP].status == DONE, first[BACKUP].detail
    assert "2 players checked, 1 scenarios played" in first[BACKUP].detail
    assert snapshots.is_verified(taken(env)[0])
    assert first["statistics"].status == DONE
    again = run(env)
    assert (again[BACKUP].status, len(taken(env))) == (NOT_DUE, 1)
    assert run(env, dump=True)[BACKUP].status == DONE


@pytest.mark.plan(32)
def test_a_week_later_the_backup_is_due(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    run(env)
    now = manifest.now()
    monkeypatch.setattr(manifest, "now", lambda: now + timedelta(days=7))
    assert run(env)[BACKUP].status == DONE
    assert len(taken(env)) == 2


def test_what_the_smoke_finds_on_the_copy_fails_the_backup(env: Environment) -> None:
    failed = run(env, play=lambda _url: SmokeResult(1, ("the forge gave nothing",)))[BACKUP]
    assert (failed.status, failed.detail) == (
        FAILED,
        "the restored copy: expected the smoke to pass; found the forge gave nothing.",
    )
    assert not snapshots.is_verified(taken(env)[0])


@pytest.fixture
def booked(env: Environment) -> str:
    """Open the books of a player: opening, a receipt, and the whole bag as one history. Return the player's id."""
    with ops.connect(env.target_direct) as conn:
        ((player, gold, diamonds),) = conn.execute(
            "select u.id, u.gold, u.diamonds from users u join user_inventory i on i.user_id = u.id order by 1 limit 1"
        ).fetchall()
        stock = conn.execute("select id, quantity from user_inventory where user_id = %s", [player]).fetchall()
        conn.execute("insert into player_openings values (%s, %s, %s, '{}')", [player, gold, diamonds])
        conn.execute(
            "insert into action_receipts values (%s, 'r', '{}', '{}', 1, 1, '')",
            [player],
        )
        for number, (item, quantity) in enumerate(stock, 1):
            conn.execute(
                "insert into inventory_history (user_id, request_id, n, action, item_id, delta, stock)"
                " values (%s, 'r', %s, 'reward', %s, %s, %s)",
                [player, number, item, quantity, quantity],
            )
    return str(player)


def test_books_that_agree_pass(env: Environment, booked: str) -> None:
    assert booked
    assert run(env)[BACKUP].status == DONE


@pytest.mark.parametrize(
    ("damage", "law"),
    [
        ("update users set gold = gold + 7 where id = %s", "gold and diamonds = opening + ledger"),
        ("update user_inventory set quantity = quantity + 1 where user_id = %s", "stock = opening + history"),
    ],
)
def test_a_player_whose_books_do_not_agree_fails_the_backup(
    env: Environment, booked: str, damage: str, law: str
) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute(damage.encode(), [booked])
    failed = run(env)[BACKUP]
    assert (failed.status, law in failed.detail, booked in failed.detail) == (FAILED, True, True)


def overwritten(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(64))


def truncated(path: Path, size: int) -> None:
    os.truncate(path, size // 2)


@pytest.mark.parametrize("harm", [overwritten, truncated], ids=["overwritten", "truncated"])
def test_a_dump_that_is_harmed_is_found_by_its_restore(
    env: Environment, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path, int], None]
) -> None:
    monkeypatch.setattr(postgres, "take", harmed(harm))
    assert run(env)[BACKUP].status == FAILED
    assert not snapshots.is_verified(taken(env)[0])


def test_a_dump_of_an_empty_database_is_found(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn, fence.own_pass(conn):
        conn.execute("truncate users cascade")
    failed = run(env)[BACKUP]
    assert failed.status == FAILED
    assert "expected players in the backup of a game that is played; found none" in failed.detail
    assert not snapshots.is_verified(taken(env)[0])


def harmed(harm: Callable[[Path, int], None]) -> Callable[..., Snapshot]:
    """Return what takes a snapshot, whose dump is harmed before anybody verifies it."""
    real = postgres.take

    def take(*args: object, **options: object) -> Snapshot:
        made = real(*args, **options)  # type: ignore[arg-type]  # as upkeep itself calls it
        harm(made.path, made.manifest.size)
        return made

    return take


def test_twenty_corrupt_new_dumps_leave_the_old_good_one(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    env = replace(env, snapshots=SnapshotPlan(env.snapshots.folder, keep=1))
    run(env)
    (good,) = taken(env)
    monkeypatch.setattr(postgres, "take", harmed(overwritten))
    for _ in range(20):
        assert run(env, dump=True)[BACKUP].status == FAILED
    assert good.folder in [each.folder for each in taken(env)]
    assert snapshots.is_verified(good)


def test_the_newest_verified_of_two_days_stay_whatever_keep_says(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = replace(env, snapshots=SnapshotPlan(env.snapshots.folder, keep=1))
    now = manifest.now()
    for hours in (0, 24, 25, 26):
        monkeypatch.setattr(manifest, "now", lambda hours=hours: now + timedelta(hours=hours))
        assert run(env, dump=True)[BACKUP].status == DONE
    days = {each.manifest.taken_at[:10] for each in taken(env)}
    assert len(days) == 2
    assert len(taken(env)) == 2


@pytest.mark.plan(33)
def test_an_invalid_index_is_built_anew_while_players_play(env: Environment) -> None:
    schema = env.target_direct.schema
    with ops.connect(env.target_direct) as conn:
        conn.execute("create index concurrently spare on users (gold)")
        conn.execute("set lock_timeout = '50ms'")
        with ops.connect(env.target_direct) as other, other.transaction():
            other.execute("update users set gold = gold")
            with pytest.raises(errors.LockNotAvailable):
                conn.execute("create index concurrently broken on users (diamonds)")
        assert [subject for _, subject in conn.execute(indexes.INVALID, [schema]).fetchall()]
    assert run(env)["invalid indexes"].status == DONE
    with ops.connect(env.target_direct) as conn:
        assert not conn.execute(indexes.INVALID, [schema]).fetchall()
    assert run(env)["invalid indexes"].status == NOT_DUE


@pytest.mark.plan(33)
def test_every_table_is_analyzed(env: Environment) -> None:
    never = "select relname from pg_stat_user_tables where schemaname = %s and last_analyze is null"
    schema = env.target_direct.schema
    with ops.connect(env.target_direct) as conn:
        assert conn.execute(never, [schema]).fetchall()
    run(env)
    with ops.connect(env.target_direct) as conn:
        until(lambda: conn.execute(never, [schema]).fetchall())


def test_two_at_once_and_one_beside_a_move_are_refused(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("select pg_advisory_lock(%s, %s)", (locks.LOCK_CLASS, locks.UPKEEP_LOCK))
        with pytest.raises(Refusal, match="no other upkeep at work"):
            run(env)
    with ops.lock(env.target_direct, run="r", why="cutover"), pytest.raises(Refusal, match="no move at work"):
        run(env)


def test_a_job_that_fails_keeps_none_of_the_others_from_running(env: Environment) -> None:
    env.snapshots.folder.write_text("a file where the folder should be")
    done = run(env)
    assert done[BACKUP].status == FAILED
    assert done["statistics"].status == DONE


def test_what_killed_runs_left_is_removed(env: Environment) -> None:
    left = env.snapshots.folder / f"{env.name}-target-of-yesterday{manifest.PARTIAL}"
    left.mkdir(parents=True)
    scratch = postgres._mark_of(env.target_direct) + "0123456789ab"
    with ops.connect(env.target_direct) as conn:
        conn.execute(f'create database "{scratch}"')
    assert run(env)["what dead runs left"].detail == "1 scratch databases and 1 folders removed"
    assert not left.exists()
    with ops.connect(env.target_direct) as conn:
        assert not conn.execute("select 1 from pg_database where datname = %s", [scratch]).fetchall()


def test_the_legacy_file_is_backed_up_daily_while_players_play_on_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "backup of the legacy file"
    assert run(env)[name].detail == "there is no legacy file"
    seed.seed_legacy(env.legacy.path, 3, 1)
    assert run(env)[name].status == DONE
    assert run(env)[name].status == NOT_DUE
    now = manifest.now()
    monkeypatch.setattr(manifest, "now", lambda: now + timedelta(days=1))
    assert run(env)[name].status == DONE
    assert len(taken(env, Side.LEGACY)) == 2
    with closing(sqlite_values.connect(env.legacy.path)) as file:
        legacy_fence.raise_fence(file)
    assert run(env)[name].detail == "players do not play on it: it is fenced"


@pytest.mark.parametrize("kind", ["a pipe", "encrypted", "a type that is none", *absent_files.LEADS_AWAY])
def test_a_legacy_file_that_can_not_be_read_fails_its_own_backup_alone(env: Environment, kind: str) -> None:
    if kind in absent_files.LEADS_AWAY:
        env = absent_files.leading_away(env, kind)
    else:
        (hostile,) = (one for one in hostile_files.ALL if one.name == kind)
        hostile.write(env.legacy.path)
    jobs = run(env)
    assert {name for name, job in jobs.items() if job.status == FAILED} == {"backup of the legacy file"}
    assert str(env.legacy.path) in jobs["backup of the legacy file"].detail
