"""The fixture of the places where the game's tests play: one for both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.databases import Database
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.service.running import Running


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
    fixture: Place = request.getfixturevalue(request.param)
    return fixture


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts services; they end with the test. Asked for last, so that they end before their store does."""
    started: list[Running] = []

    def start(url: str, *, processes: int = 1, descriptors: int = 0, **variables: str) -> Running:
        folder = tmp_path / f"service{len(started)}"
        folder.mkdir()
        started.append(Running(folder, url, processes=processes, descriptors=descriptors, **variables))
        return started[-1]

    yield start
    for running in started:
        running.end()
