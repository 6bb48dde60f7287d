"""What the tests of the transfer share: a fenced database with a pass, a small file, a load."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from db import fence, ops, seed, transfer
from db.transfer import Loaded
from game.legacy import cells
from game.legacy import fence as legacy_fence
from game.urls import PostgresUrl
from harness.databases import Database

PASS = "the pass of the tests"


def seeded(path: Path, players: int = 12, **wish: Any) -> Path:
    """A legacy file of a few players, oddities included; in WAL mode, with nothing in the log."""
    path.write_bytes(_seeded(players, tuple(wish.items())))
    return path


@cache
def _seeded(players: int, wish: tuple[tuple[str, Any], ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        seed.seed_legacy(Path(folder) / "game.db", players, **dict(wish))
        return (Path(folder) / "game.db").read_bytes()


def load(database: Database, source: Path, **wish: Any) -> Loaded:
    """Load the file under the pass; the database is fenced with it first."""
    with ops.connect(database.owner) as conn:
        fence.set_on(conn, pass_token=PASS)
    return transfer.load(source, database.owner, **{"run": "run-1", "pass_token": PASS, **wish})


@contextmanager
def written_to(url: PostgresUrl) -> Iterator[ops.Connection]:
    """A transaction of the owner that the fence and the journals let through."""
    with ops.connect(url) as conn, fence.own_pass(conn):
        yield conn


def moved(path: Path) -> Path:
    """The file as a cutover leaves it: fenced, under the pass."""
    connection = cells.connect(path)
    legacy_fence.fence(connection, state="moved", pass_token=PASS)
    connection.close()
    return path
