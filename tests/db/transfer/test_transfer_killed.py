"""Killed at any moment, a load goes on where its last chunk ended, and ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from db import ops, transfer
from db.console.progress import Progress, Silent
from db.errors import Refusal
from db.ops import locks
from db.tables import quarantine, transfer_checkpoints
from db.transfer import preconditions
from game import tables
from harness.databases import Database, Databases
from tests.db.transfer.transferring import PASS, SMALL_CHUNK_BYTES, DiesAt, give_pass, load, load_and_die, seeded
from tests.fixtures.waiting import until

PLAYERS = 30
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["db.transfer"])

WAITING = """select from pg_locks l join pg_stat_activity a using (pid)
where a.application_name = 'sudamr transfer' and a.datname = current_database() and not l.granted"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return seeded(tmp_path / "game.db", PLAYERS)


@pytest.fixture(scope="module")
def unbroken(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the database's contents after a load that nothing disturbed."""
    clone = databases.clone(fenced=True)
    load(clone, seeded(tmp_path_factory.mktemp("unbroken") / "game.db", PLAYERS), chunk_bytes=SMALL_CHUNK_BYTES)
    texts = contents(clone)
    databases.drop(clone)
    return texts


def contents(database: Database) -> dict[str, str]:
    """Each table's rows, hashed; of quarantine and checkpoints all but which run wrote them."""
    with ops.connect(database.owner) as conn:
        texts = {}
        for table in (*tables.ALL, quarantine, transfer_checkpoints):
            row = conn.execute(
                f"select md5(string_agg((to_jsonb(x) - 'run')::text, ',' order by (to_jsonb(x) - 'run')::text))"
                f" from {table.name} x"
            ).fetchone()
            assert row is not None
            texts[table.name] = row[0]
        return texts


def begun(source: Path, database: Database, progress: Progress) -> BaseProcess:
    """A load in a process of its own, begun."""
    process = FORK.Process(target=load_and_die, args=(source, database.owner, progress))
    process.start()
    return process


@pytest.mark.parametrize(
    ("title", "units"), [("loading", 0), ("loading", 1), ("loading", 15), ("loading", PLAYERS), ("proving", 7)]
)
def test_a_load_that_was_killed_between_chunks_goes_on(
    title: str, units: int, source: Path, fenced_database: Database, unbroken: dict[str, str]
) -> None:
    give_pass(fenced_database)
    process = begun(source, fenced_database, DiesAt(title, units))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    loaded = load(fenced_database, source, run="run-again", chunk_bytes=SMALL_CHUNK_BYTES)
    assert loaded.resumed
    assert loaded.source == loaded.loaded + loaded.quarantined
    assert contents(fenced_database) == unbroken


@pytest.mark.parametrize("table", ["legacy_schema", "user_mail", "quarantine", "transfer_checkpoints"])
def test_a_load_that_was_killed_within_a_chunk_goes_on(
    table: str,
    source: Path,
    fenced_database: Database,
    unbroken: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preconditions, "ORPHAN_TIMEOUT", "50ms")
    give_pass(fenced_database)
    with ops.connect(fenced_database.owner) as conn, conn.transaction():
        conn.execute(f"lock table {table} in share mode")
        process = begun(source, fenced_database, Silent())
        until(lambda: [] if waits(fenced_database) else ["a load that waits for no lock yet"])
        with pytest.raises(Refusal, match="no other transfer at work"):
            transfer.load(source, fenced_database.owner, run="run-2", pass_token=PASS)
        process.kill()
        process.join()
    until(lambda: at_work(fenced_database))
    load(fenced_database, source, run="run-again", chunk_bytes=SMALL_CHUNK_BYTES)
    assert contents(fenced_database) == unbroken


def test_the_session_of_a_run_that_was_killed_a_moment_ago_is_waited_for(fenced_database: Database) -> None:
    def write() -> bool:
        with preconditions.writing(fenced_database.owner):
            return True

    with ThreadPoolExecutor(1) as executor:
        with preconditions.writing(fenced_database.owner):
            writing = executor.submit(write)
            until(lambda: [] if waits(fenced_database) else ["a transfer that does not wait"])
        assert writing.result()


def waits(database: Database) -> bool:
    """Return True if a load waits for a lock. Each look has its own session: one transaction sees the same activity."""
    with ops.connect(database.owner) as conn:
        return conn.execute(WAITING).fetchone() is not None


def at_work(database: Database) -> list[str]:
    """The sessions of the server that write chunks."""
    with ops.connect(database.owner) as conn:
        rows = conn.execute(
            "select 'server process ' || pid from pg_locks join pg_database d on d.oid = database and datname = %s"
            " where locktype = 'advisory' and classid = %s and objid = %s",
            (database.name, locks.LOCK_CLASS, locks.TRANSFER_LOCK),
        ).fetchall()
        return [str(name) for (name,) in rows]


def test_a_resume_with_chunks_of_another_size_ends_the_same(
    source: Path, fenced_database: Database, unbroken: dict[str, str]
) -> None:
    give_pass(fenced_database)
    begun(source, fenced_database, DiesAt("loading", 12)).join()
    load(fenced_database, source, run="run-again")
    ended = contents(fenced_database)
    assert {name: text for name, text in ended.items() if name != "transfer_checkpoints"} == {
        name: text for name, text in unbroken.items() if name != "transfer_checkpoints"
    }
