"""The stores on which histories are played and harmed: each test that asks for `harmed` runs on both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.samples import builders
from harness.databases import Database
from tests.game.places import LegacyPlace, PostgresPlace
from tests.harness.history.harming import Harmed, HarmedFile, HarmedPostgres
from tests.harness.history.playing import HANA, Client


@pytest.fixture(params=["postgres", "legacy"])
def harmed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harmed]:
    """A store with one player, hana, who has not done anything yet."""
    if request.param == "postgres":
        database: Database = request.getfixturevalue("database")
        with closing(PostgresPlace(database)) as place:
            place.put(builders.player("hana", **HANA))
            yield HarmedPostgres(place)
    else:
        with closing(LegacyPlace(tmp_path / "game.db")) as file:
            file.put(builders.player("hana", **HANA))
            yield HarmedFile(file)


@pytest.fixture
def client(harmed: Harmed) -> Client:
    return Client(harmed.place.store)
