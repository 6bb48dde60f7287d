"""Fixtures of the tests of the live write-back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.transfer.live_back.session import LiveWriteBack
from harness.databases import Database
from tests.db.transfer.live_back.carrying import cut_over, session
from tests.db.transfer.transferring import seeded


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return seeded(tmp_path / "game.db", 40)


@pytest.fixture
def live(fenced_database: Database, source: Path) -> Iterator[LiveWriteBack]:
    """A live write-back right after a cutover."""
    cut_over(fenced_database, source)
    with session(fenced_database, source) as one:
        assert one.begin() is None
        yield one
