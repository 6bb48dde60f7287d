"""Remedies for problems outside the file's contents: each is followed exactly, and the file is then accepted."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db import environments, snapshots, transfer
from db.environments import Environment
from db.errors import Refusal, ToolError
from db.legacy.comparison import compare_files
from db.legacy.source import opened
from db.snapshots import Side
from harness.databases import Database
from tests.db.transfer.transferring import seeded
from tests.fixtures.users import unprivileged

DIES = """
import os, sqlite3, sys
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute("PRAGMA journal_mode=DELETE")
writer.execute("PRAGMA cache_size = 1")
writer.execute("BEGIN")
writer.execute("CREATE TABLE filler (text)")
writer.executemany("INSERT INTO filler VALUES (?)", [("x" * 500,)] * 2000)
os.kill(os.getpid(), 9)
"""


def refusal(path: Path, do: str) -> ToolError:
    with pytest.raises(ToolError) as raised:
        transfer.check(path)
    assert raised.value.do == do
    return raised.value


def test_opening_a_file_with_a_hot_journal_for_writing_rolls_back(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    do = "Have SQLite roll that write back, as the user of the service: sqlite3 {} 'PRAGMA integrity_check'"
    refusal(path, do.format(path))
    with closing(sqlite3.connect(path)) as once:
        assert once.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    transfer.check(path)
    assert transfer.profile(path).players == 12


@pytest.mark.parametrize("code", ["CHECK (a LIKE '%x%')", "g AS (instr(a, 'x'))"])
def test_a_text_that_is_no_utf8_is_corrected_where_the_schema_compares_it(tmp_path: Path, code: str) -> None:
    path = seeded(tmp_path / "game.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE notes (a, {code})")
        connection.execute("INSERT INTO notes (a) VALUES (CAST(x'78ff' AS TEXT))")
    refusal(path, "Correct that text in the file, with the game stopped; or rebuild its table without the call.")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE notes SET a = 'x'")
    transfer.check(path)


@pytest.fixture
def env(database: Database, tmp_path: Path) -> Environment:
    legacy = seeded(tmp_path / "game.db")
    return environments.throwaway(owner=database.owner, service=database.service, legacy=legacy, folder=tmp_path)


@pytest.mark.parametrize("first_page", [True, False])
def test_a_damaged_file_is_restored_from_a_snapshot(first_page: bool, env: Environment) -> None:
    path = env.legacy.path
    sound = path.with_name("whole.db")
    shutil.copy(path, sound)
    taken = snapshots.take(env, Side.LEGACY)
    snapshots.verify(env, taken)
    with path.open("r+b") as file:
        file.seek(100 if first_page else 4096 * 20)
        file.write(b"\xff" * (3996 if first_page else 4096 * 10))
    with pytest.raises(Refusal, match="Restore it from a snapshot"):
        transfer.check(path)
    anew = path.with_name("anew.db")
    snapshots.restore(env, taken, keep_fence=False, into=anew)
    transfer.check(anew)
    assert compare_files(sound, anew) == []


def test_stopping_what_holds_the_file_frees_it(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refusal) as raised, opened(path, lock_timeout_seconds=0.1):
            pass
        assert raised.value.do == f"Stop the process that writes it (lsof {path}), or wait until it is done."
    transfer.check(path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that any user of the machine may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_who_may_not_write_beside_a_sound_file_in_wal_mode_is_let(shared: Path) -> None:
    closed = shared / "closed"
    closed.mkdir()
    path = seeded(closed / "game.db")
    path.chmod(0o644)
    transfer.check(path)  # Whatever is imported on the way is imported by now.
    closed.chmod(0o555)
    with unprivileged():
        refusal(
            path,
            "SQLite writes beside a file in WAL mode, also to read it. Allow this user to write in"
            f" {closed}, or run as the user of the service.",
        )
    closed.chmod(0o777)
    with unprivileged():
        transfer.check(path)
    closed.chmod(0o700)


def test_a_file_that_this_user_may_read_is_taken(shared: Path) -> None:
    path = seeded(shared / "game.db")
    transfer.check(path)
    path.chmod(0)
    with unprivileged():
        refusal(path, "Allow this user to read it.")
    shared.chmod(0o777)
    path.chmod(0o444)
    with unprivileged():
        transfer.check(path)
