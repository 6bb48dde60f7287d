"""A power cut on a SQLite file: what a setting keeps is there, what it does not keep is gone each time."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from db.samples import seed
from game.legacy import sqlite_values
from harness import scenarios
from harness.play.arena import LegacyStage
from harness.sweeps import legacy_faults
from harness.sweeps.forkserver import CrashableWorker
from harness.sweeps.power_loss import lose_unsynced

FOLDER = Path(__file__).parents[3]
MAIL = FOLDER / "scenarios" / "reward" / "mail_is_claimed_once.yaml"

WRITER = """
import os, sqlite3, sys
from pathlib import Path
from harness.sweeps.power_loss import SyncedCopies

path, copies, mode, level = sys.argv[1:]
layer = SyncedCopies(Path(copies))
layer.install()
connection = sqlite3.connect(path, isolation_level=None)
connection.execute(f"PRAGMA journal_mode={mode}")
connection.execute(f"PRAGMA synchronous={level}")
connection.execute("INSERT INTO told VALUES (2)")
os._exit(0)
"""


@pytest.mark.parametrize(
    ("mode", "level", "kept"),
    [
        ("wal", "EXTRA", True),
        ("wal", "FULL", True),
        ("wal", "NORMAL", False),
        ("wal", "OFF", False),
        ("delete", "EXTRA", True),
        ("delete", "FULL", False),
        ("delete", "OFF", False),
        ("truncate", "FULL", True),
        ("persist", "FULL", True),
    ],
)
def test_only_what_was_synced_outlives_the_power(mode: str, level: str, kept: bool, tmp_path: Path) -> None:
    path, copies = tmp_path / "game.db", tmp_path / "copies"
    copies.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE told (n)")
        connection.execute("INSERT INTO told VALUES (1)")
    shutil.copyfile(path, copies / path.name)
    subprocess.run([sys.executable, "-c", WRITER, str(path), str(copies), mode, level], cwd=FOLDER, check=True)
    lose_unsynced(path, copies)
    with closing(sqlite_values.connect(path)) as connection:
        told = [n for (n,) in connection.execute("SELECT n FROM told")]
    assert told == ([1, 2] if kept else [1])


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_a_player_was_told_outlives_the_power_in_both_kinds_of_file(
    mode: str, crashable: CrashableWorker, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.db"
    seed.empty_legacy(empty)
    with closing(sqlite_values.connect(empty)) as connection:
        assert connection.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
    stage = LegacyStage(empty, tmp_path / "game.db")
    swept = legacy_faults.sweep_power_cut(scenarios.read_file(MAIL).scenario, stage, crashable)
    stage.close()
    assert swept.cases == swept.fired > 0
    assert not swept.failures
