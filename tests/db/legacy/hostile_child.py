"""Runs the commands that take a legacy file on one file, each as a task does, and reports how each ended.

For a process of its own, so that its peak of memory is that of the commands. Prints a line of JSON for each command:
its exit code, the seconds it took, and the peak so far in MB. What is no expected error has its traceback in `defect`.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from pathlib import Path

from db import transfer
from db.console import output
from db.conversion import convert as conversion
from db.legacy.comparison import compare_files
from db.legacy.source import opened
from db.snapshots import legacy as snapshots
from db.snapshots.manifest import Label
from game.legacy import fence, sqlite_values
from game.legacy.store import LegacyStore
from game.urls import PostgresUrl, read
from tests.db.transfer.transferring import PASS
from tests.fixtures.figures import peak_mb

RUN = "run-1"


def profile(path: Path) -> None:
    transfer.profile(path)


def convert(path: Path) -> None:
    conversion.convert(path, path.with_name("converted.db"))


def check(path: Path) -> None:
    """Check the file as a rehearsal and a cutover's preflight do."""
    transfer.check(path)


def snapshot(path: Path) -> None:
    transfer.check(path)
    taken = snapshots.take(path, path.with_name("kept"), environment="test", label=Label.BEFORE, run=RUN, key=None)
    snapshots.verify(taken)


def load_and_rebuild(path: Path, target: PostgresUrl) -> None:
    """Load the file and rebuild it, as `invoke transfer --back` does."""
    transfer.check(path)
    transfer.load(path, target, run=RUN, pass_token=PASS)
    copy = path.with_name("copy.db")
    transfer.back(target, copy)
    assert compare_files(path, copy) == []


def play(path: Path) -> None:
    """Play a command that changes a player, as the service does."""
    with opened(path) as source:
        (player,) = source.connection.execute("SELECT id FROM users WHERE rowid = 2").fetchone()
    with closing(LegacyStore(path)) as store:
        store.status()
        with store.begin() as unit:
            loaded = unit.load(player, "00000000-0000-4000-8000-000000000001", ["users"])
            assert loaded is not None
            after = deepcopy(loaded.rows)
            after["users"][(player,)]["gold"] = 77
            unit.save(loaded.rows, after)
            unit.commit()


def fence_and_carry_back(path: Path, target: PostgresUrl) -> None:
    """Fence the file and write back to it, as a cutover and its rollback do."""
    transfer.check(path)
    with closing(sqlite_values.connect(path)) as connection:
        fence.raise_fence(connection, pass_token=PASS)
        fence.prove(connection)
    transfer.write_back(target, path, pass_token=PASS)
    with closing(sqlite_values.connect(path)) as connection:
        fence.lift(connection)


def run(name: str, act: Callable[[], None]) -> dict[str, object]:
    began = time.monotonic()
    defect = ""
    code = 0
    try:
        with output.outcome(None):
            act()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except Exception:  # noqa: BLE001 -- The test shows it: no kind of error is expected here.
        code, defect = 1, traceback.format_exc()
    return {
        "command": name,
        "code": code,
        "seconds": round(time.monotonic() - began, 1),
        "mb": peak_mb(),
        "defect": defect,
    }


def main(path: Path, target: PostgresUrl) -> None:
    commands: dict[str, Callable[[], None]] = {
        "profile": lambda: profile(path),
        "convert": lambda: convert(path),
        "check": lambda: check(path),
        "snapshot": lambda: snapshot(path),
        "transfer": lambda: load_and_rebuild(path, target),
        "fence": lambda: fence_and_carry_back(path, target),
        "play": lambda: play(path),
    }
    for name, act in commands.items():
        line = run(name, act)
        print(json.dumps(line), flush=True)
        if name == "transfer" and line["code"]:
            return  # Then no move fences it, and nobody plays on it because of us.


if __name__ == "__main__":
    url = read(sys.stdin.read())
    assert isinstance(url, PostgresUrl)
    main(Path(sys.argv[1]), url)
