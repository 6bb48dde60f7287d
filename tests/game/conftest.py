"""Where the game's tests play: one fixture for both stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import LegacyPlace, Place, PostgresPlace

from harness.databases import Database


@pytest.fixture
def postgres(database: Database) -> Iterator[PostgresPlace]:
    place = PostgresPlace(database)
    yield place
    place.store.close()


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[LegacyPlace]:
    place = LegacyPlace(tmp_path / "game.db")
    yield place
    place.store.close()


@pytest.fixture(params=["postgres", "legacy"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each test that asks for it runs on both stores."""
    found: Place = request.getfixturevalue(request.param)
    return found
