"""Fixtures of the tests of a legacy file that follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.servers import Server
from tests.db.cutover.cutover_world import World, made


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    """The game after a live cutover."""
    with made(server, tmp_path) as world:
        world.cutover(offline=False)
        yield world
