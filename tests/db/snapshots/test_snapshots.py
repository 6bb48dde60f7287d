"""Snapshots of both stores: whole, hashed, verified by restoring, restored with a fence or without on purpose."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from db import environments, ops, snapshots
from db.environments import Environment, SnapshotPlan
from db.errors import Refusal
from db.legacy.comparison import compare_files
from db.ops import fence
from db.samples import seed
from db.servers import Server
from db.snapshots import Label, Side, manifest, postgres
from db.snapshots.tools import installed
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from harness.databases import Database


@pytest.fixture
def env(database: Database, tmp_path: Path) -> Environment:
    """A legacy file of three players, and a migrated database that is open."""
    legacy = tmp_path / "game.db"
    seed.seed_legacy(legacy, 3, anomalies=False)
    return environments.throwaway(
        owner=database.owner,
        service=database.service,
        legacy=legacy,
        folder=tmp_path,
        snapshots=SnapshotPlan(tmp_path / "snapshots", keep=2),
    )


@pytest.fixture
def played(env: Environment) -> Iterator[sqlite3.Connection]:
    """The file while it is played on: what was written last lies in the write-ahead log."""
    with closing(sqlite_values.connect(env.legacy.path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE users SET gold = 77")
        assert env.legacy.path.with_name("game.db-wal").stat().st_size > 0
        yield connection


@pytest.mark.plan(16, 19)
def test_a_snapshot_of_a_file_that_is_played_on_has_what_is_in_its_log(
    env: Environment, played: sqlite3.Connection, tmp_path: Path
) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    counts = snapshots.verify(env, taken)

    snapshots.restore(env, taken, keep_fence=False, into=tmp_path / "back.db")

    assert counts["users"] == 3
    assert taken.manifest.counts == counts
    assert snapshots.is_verified(taken)
    assert compare_files(env.legacy.path, tmp_path / "back.db") == []
    with closing(sqlite_values.connect(tmp_path / "back.db", readonly=True)) as back:
        assert back.execute("SELECT DISTINCT gold FROM users").fetchall() == [(77,)]


def test_a_snapshot_is_for_its_owner_alone(env: Environment) -> None:
    taken = snapshots.take(env, Side.LEGACY)

    assert taken.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in taken.folder.iterdir()} == {0o600}


def test_a_file_that_changed_since_is_not_restored(env: Environment, tmp_path: Path) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    with taken.path.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")

    with pytest.raises(Refusal, match="sha256"):
        snapshots.verify(env, taken)
    with pytest.raises(Refusal, match="sha256"):
        snapshots.restore(env, taken, keep_fence=False, into=tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()
    assert not snapshots.is_verified(snapshots.read(taken.folder))


def test_rows_that_are_missing_once_restored_are_found(env: Environment) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    with closing(sqlite3.connect(taken.path)) as connection, connection:
        connection.execute("DELETE FROM users WHERE rowid = 1")
    text = (taken.folder / manifest.MANIFEST).read_text()
    (taken.folder / manifest.MANIFEST).write_text(text.replace(taken.manifest.sha256, manifest.digest(taken.path)))

    with pytest.raises(Refusal, match="3 rows in users; found 2"):
        snapshots.verify(env, snapshots.read(taken.folder))


@pytest.mark.parametrize("keep", [True, False])
def test_a_fence_is_restored_or_removed_on_purpose(env: Environment, tmp_path: Path, keep: bool) -> None:
    with closing(sqlite_values.connect(env.legacy.path)) as connection:
        legacy_fence.raise_fence(connection)
    taken = snapshots.take(env, Side.LEGACY)

    snapshots.restore(env, taken, keep_fence=keep, into=tmp_path / "back.db")

    assert taken.manifest.fence == "fenced"
    with closing(sqlite_values.connect(tmp_path / "back.db", readonly=True)) as back:
        assert legacy_fence.state(back) == ("fenced" if keep else "open")


def test_a_file_is_replaced_only_when_that_is_asked_for_and_its_log_goes_with_it(
    env: Environment, played: sqlite3.Connection
) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    played.execute("UPDATE users SET gold = 78")

    with pytest.raises(Refusal, match="no file there"):
        snapshots.restore(env, taken, keep_fence=False)
    aside = Path(snapshots.restore(env, taken, keep_fence=False, replace=True))

    with closing(sqlite_values.connect(env.legacy.path, readonly=True)) as back:
        assert back.execute("SELECT DISTINCT gold FROM users").fetchall() == [(77,)]
    with closing(sqlite_values.connect(aside, readonly=True)) as old:
        assert old.execute("SELECT DISTINCT gold FROM users").fetchall() == [(78,)]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_log_that_lies_there_without_its_file_is_never_played_into_a_snapshot(
    env: Environment, tmp_path: Path, suffix: str
) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    into = tmp_path / "back.db"
    log = into.with_name(into.name + suffix)
    shutil.copy(env.legacy.path, into)
    with closing(sqlite3.connect(into)) as player:
        player.execute(f"PRAGMA journal_mode = {'wal' if suffix == '-wal' else 'persist'}")
        player.execute("UPDATE users SET gold = 777777")
        player.commit()
        left = log.read_bytes()
    into.unlink()
    log.write_bytes(left)

    with pytest.raises(Refusal, match=f"found back.db{suffix}"):
        snapshots.restore(env, taken, keep_fence=False, into=into)
    aside = snapshots.restore(env, taken, keep_fence=False, into=into, replace=True)

    assert compare_files(env.legacy.path, into) == []
    assert Path(aside + suffix).read_bytes() == left


def test_a_verifying_that_was_killed_leaves_no_copy_for_longer_than_the_next_one(env: Environment) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    left = taken.folder / f"{manifest.SCRATCH}of-a-killed-run"
    left.mkdir()
    (left / "legacy.sqlite").write_bytes(b"all that players own")

    snapshots.verify(env, taken)

    assert sorted(path.name for path in taken.folder.iterdir()) == [
        taken.path.name,
        manifest.MANIFEST,
        manifest.VERIFIED,
    ]


def test_what_a_killed_taking_began_goes_with_the_next_and_what_is_under_way_stays(env: Environment) -> None:
    left = env.snapshots.folder / "test-legacy-manual-20260101T000000.000000Z.partial"
    left.mkdir(parents=True)
    (left / "legacy.sqlite").write_bytes(b"all that players own")
    with manifest.being_made(env.snapshots.folder, env.name, Side.LEGACY, Label.MANUAL) as (under_way, _):
        assert not left.exists()
        snapshots.take(env, Side.LEGACY)
        assert under_way.exists()


def test_a_scratch_database_that_a_killed_verifying_left_goes_with_the_next(env: Environment, server: Server) -> None:
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)
    with ops.connect(env.target_direct) as conn:
        with postgres._scratch(env.target_direct) as scratch:
            left = scratch.with_(dbname=scratch.dbname[:-1] + "z").dbname
            conn.execute(f"CREATE DATABASE {left}")
            rights = conn.execute("SELECT has_database_privilege(%s, %s, 'connect')", [env.target.user, scratch.dbname])
            assert rights.fetchone() == (False,)
        snapshots.verify(env, taken, tools=server.tool)
        databases = conn.execute("SELECT datname FROM pg_database WHERE datname = %s", [left]).fetchall()
    assert databases == []


@pytest.mark.plan(16)
def test_postgres_is_dumped_without_ops_and_verified_in_a_scratch_database(env: Environment, server: Server) -> None:
    _insert_user(env)
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)

    counts = snapshots.verify(env, taken, tools=server.tool)

    assert counts["users"] == 1
    assert snapshots.is_verified(taken)
    assert taken.manifest.schema
    assert b"lock_holder" not in taken.path.read_bytes()
    with psycopg.connect(env.target_direct.conninfo) as conn:
        left = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'sudamr~_verify~_%' ESCAPE '~'")
        assert env.target_direct.dbname not in [name for (name,) in left.fetchall()]


@pytest.mark.plan(26)
@pytest.mark.parametrize("keep", [True, False])
def test_a_schema_is_put_back_beside_the_one_in_its_place(env: Environment, server: Server, keep: bool) -> None:
    _insert_user(env)
    taken = snapshots.take(env, Side.TARGET, tools=server.tool)
    with ops.connect(env.target_direct) as conn:
        conn.execute("UPDATE users SET gold = 5")
    if not keep:
        env.legacy.path.unlink()  # Postgres is opened only if nobody plays on the file.

    with pytest.raises(Refusal, match="no schema game"):
        snapshots.restore(env, taken, keep_fence=keep, tools=server.tool)
    aside = snapshots.restore(env, taken, keep_fence=keep, replace=True, tools=server.tool)

    with ops.connect(env.target_direct) as conn:
        assert conn.execute("SELECT gold FROM users").fetchall() == [(0,)]
        assert conn.execute(f'SELECT gold FROM "{aside}".users').fetchall() == [(5,)]
        assert fence.state(conn) == ("fenced" if keep else "open")
    with ops.connect(env.target) as conn:
        assert conn.execute("SELECT gold FROM users").fetchall() == [(0,)]


def test_what_a_killed_run_left_is_no_snapshot(env: Environment) -> None:
    (env.snapshots.folder / "test-legacy-manual-20260101T000000.000000Z.partial").mkdir(parents=True)

    assert snapshots.find(env.snapshots.folder, env.name) == []
    with pytest.raises(Refusal, match="no such file"):
        snapshots.read(env.snapshots.folder)


def test_another_environment_s_snapshot_is_refused(env: Environment) -> None:
    taken = snapshots.take(env, Side.LEGACY)
    staging = Environment(**{**vars(env), "name": "staging"})

    with pytest.raises(Refusal, match="one of test"):
        snapshots.restore(staging, taken, keep_fence=False)


def test_a_server_newer_than_every_client_here_is_refused() -> None:
    with pytest.raises(Refusal, match="version 99 or newer"):
        installed(99)("pg_dump")


def _insert_user(env: Environment) -> None:
    with ops.connect(env.target_direct) as conn:
        conn.execute("INSERT INTO users (id) VALUES ('user-1')")
