"""The fixtures of the places where the game's tests play, one for both stores, and of what is read there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from game.legacy import codec
from game.legacy.codec.decoded import Decoded
from game.legacy.sqlite_values import Cell
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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The columns that were decoded, each time that a row was."""
    noted: list[set[str]] = []
    decode = codec.decode_row

    def decode_row(row: Mapping[str, Cell], *, rowid: int) -> Decoded:
        noted.append(set(row))
        return decode(row, rowid=rowid)

    monkeypatch.setattr(codec, "decode_row", decode_row)
    return noted
