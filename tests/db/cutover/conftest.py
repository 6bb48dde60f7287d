"""Fixtures of the tests of the way back: one game a module, which is on Postgres as each test begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.servers import Server
from tests.db.cutover.cutover_world import World, made


@pytest.fixture(scope="module")
def moved(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made(server, tmp_path_factory.mktemp("moved")) as world:
        yield world


@pytest.fixture
def on_postgres(moved: World) -> World:
    """The game on Postgres; each test leaves it there, or back on the file."""
    if moved.phase() != "live":
        moved.cutover()
    return moved
