"""Fixtures of the tests that begin before a migration."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import settings

from db.servers import Server
from game.urls import PostgresUrl

settings.register_profile("wide", max_examples=8000)
"""For a search of hours: pytest tests/db --hypothesis-profile=wide."""


@pytest.fixture
def blank(server: Server) -> Iterator[PostgresUrl]:
    """A database with nothing in it, by its owner."""
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)
