"""Looking at a legacy file leaves the locks that this process holds on it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from db.legacy.opening import check_file
from tests.db.transfer.transferring import seeded

WRITES = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('UPDATE users SET gold = 0')"


def test_a_file_that_this_process_holds_is_held_after_a_look_at_it(tmp_path: Path) -> None:
    path = seeded(tmp_path / "game.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        check_file(path)
        other = subprocess.run([sys.executable, "-c", WRITES, str(path)], check=False, capture_output=True, text=True)
        assert "database is locked" in other.stderr
