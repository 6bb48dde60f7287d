"""There and back: whatever a file holds, the file that is rebuilt from the database alone is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from db import transfer
from db.legacy.comparison import compare_files
from db.transfer.figures import NAMES
from harness.databases import Database, Databases
from tests.db.legacy.unusual_files import UnusualFile, unusual_files
from tests.db.transfer.transferring import PASS, load, moved, seeded, sqlite


@pytest.fixture(scope="module")
def reused(databases: Databases) -> Iterator[Database]:
    """One fenced database for many examples, put back between them."""
    clone = databases.clone(fenced=True)
    yield clone
    databases.drop(clone)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("odd")


EXAMPLES = settings().max_examples // 4
"""25 in a gate; thousands with `pytest tests/db --hypothesis-profile=wide`, which tests/db/conftest.py registers."""


@pytest.mark.core
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(file=unusual_files())
def test_an_unusual_file_comes_back_from_the_database_alone(
    file: UnusualFile, reused: Database, databases: Databases, folder: Path
) -> None:
    source, copy = folder / "odd.db", folder / "copy.db"
    file.write(source)
    copy.unlink(missing_ok=True)
    databases.reset(reused)
    loaded = load(reused, source)
    assert loaded.source == loaded.loaded + loaded.quarantined
    assert loaded.mismatches == 0
    figures = loaded.independent
    assert (figures.mismatches, figures.compared + figures.left_out) == (0, figures.players * len(NAMES))
    transfer.back(reused.owner, copy)
    assert compare_files(source, copy) == []
    nothing_written = transfer.write_back(reused.owner, moved(source), pass_token=PASS)
    assert (nothing_written.cells, nothing_written.inserted, nothing_written.deleted) == (0, 0, 0)
    assert compare_files(source, copy) == []


def test_a_seeded_file_comes_back_with_all_its_oddities(fenced_database: Database, tmp_path: Path) -> None:
    source = seeded(tmp_path / "game.db", 60)
    load(fenced_database, source)
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert compare_files(source, tmp_path / "copy.db") == []


@pytest.mark.parametrize("column", ["nationalRewardClaimed", "lastNationalPlayedDate", "lastNationalTournament"])
def test_a_column_that_the_file_lacks_is_not_added_for_a_tournament_that_nobody_touched(
    fenced_database: Database, tmp_path: Path, column: str
) -> None:
    source = seeded(tmp_path / "game.db", 60)
    dated = "UPDATE users SET lastNationalTournament = NULL, lastNationalPlayedDate = 'a day' WHERE rowid % 2"
    sqlite(source, dated, f'ALTER TABLE users DROP COLUMN "{column}"')
    assert load(fenced_database, source).mismatches == 0
    transfer.back(fenced_database.owner, tmp_path / "copy.db")
    assert compare_files(source, tmp_path / "copy.db") == []
