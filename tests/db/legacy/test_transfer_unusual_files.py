"""Unusual but sound files come back equal, and snapshot, fence and the way back accept them too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db import transfer
from db.console.progress import Silent
from db.legacy.comparison import compare_files
from db.snapshots import legacy as snapshots
from db.snapshots.manifest import Label
from game.legacy import fence, sqlite_values
from harness.databases import Database, Databases
from tests.db.legacy import unusual_schemas, unusual_values
from tests.db.legacy.unusual_cases import Case
from tests.db.transfer.transferring import PASS, load, moved

CARRIED = (*unusual_schemas.CARRIED, *unusual_values.CARRIED)


@pytest.fixture(scope="module")
def reused(databases: Databases) -> Iterator[Database]:
    """One fenced database for many files, put back between them."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


@pytest.mark.parametrize("file", CARRIED, ids=lambda file: file.name)
def test_an_unusual_file_is_carried_there_and_back(
    file: Case, reused: Database, databases: Databases, tmp_path: Path
) -> None:
    source, copy = file.write(tmp_path / "game.db"), tmp_path / "copy.db"
    transfer.check(source)
    assert transfer.profile(source).players == 6
    databases.reset(reused)
    load(reused, source)
    transfer.back(reused.owner, copy)
    assert compare_files(source, copy) == []
    taken = snapshots.take(source, tmp_path / "kept", environment="test", label=Label.BEFORE, run="run-1", key=None)
    assert snapshots.verify(taken)["users"] == 6
    connection = sqlite_values.connect(moved(source))
    assert fence.prove(connection) > 0
    connection.close()
    nothing = transfer.write_back(reused.owner, source, pass_token=PASS)
    assert (nothing.cells, nothing.inserted, nothing.deleted) == (0, 0, 0)
    assert compare_files(source, copy) == []


class Lines(Silent):
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_statistics_of_another_sqlite_are_left_out_and_named(fenced_database: Database, tmp_path: Path) -> None:
    (file,) = (file for file in CARRIED if file.name == "statistics of another SQLite, sqlite_stat2")
    lines = Lines()
    loaded = load(fenced_database, file.write(tmp_path / "game.db"), progress=lines)
    assert loaded.left_out == ("sqlite_stat2",)
    assert lines.said == ["left out: sqlite_stat2, the statistics of another SQLite; ANALYZE makes new ones"]
