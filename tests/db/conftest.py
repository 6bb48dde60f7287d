"""Fixtures of more than one module: a database before a migration, and one that players play on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from db import environments, ops
from db.environments import Environment, SnapshotPlan
from db.ops import Phase
from db.samples import seed
from db.servers import Server
from db.signing import SIGNING_KEY
from game.urls import PostgresUrl
from harness.databases import Database

settings.register_profile("wide", max_examples=8000)
"""For a search of hours: pytest tests/db --hypothesis-profile=wide."""


@pytest.fixture
def blank(server: Server) -> Iterator[PostgresUrl]:
    """A database with nothing in it, by its owner."""
    name = f"{server.mark}{secrets.token_hex(4)}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def env(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An open database of two players, which players play on."""
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    monkeypatch.chdir(tmp_path)  # No .env.
    seed.seed_postgres(database.owner, "test", 2)
    with ops.connect(database.owner) as conn:
        conn.execute("update ops.phase set phase = %s", (Phase.LIVE,))
    return environments.throwaway(
        owner=database.owner,
        service=database.service,
        legacy=tmp_path / "gone.db",
        folder=tmp_path,
        snapshots=SnapshotPlan(tmp_path / "snapshots"),
    )
