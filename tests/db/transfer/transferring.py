"""Helpers of the transfer's tests: a fenced database with a pass, a small file, a load."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from db import ops, transfer
from db.console.progress import Progress
from db.ops import fence
from db.samples import seed
from db.transfer import LoadResult
from game.legacy import fence as legacy_fence
from game.legacy import sqlite_values
from game.urls import PostgresUrl
from harness.databases import Database

PASS = "the pass of the tests"
SMALL_CHUNK_BYTES = 200_000


def seeded(path: Path, players: int = 12, **wish: Any) -> Path:
    """A legacy file of a few players, anomalies included; in WAL mode, with nothing in the log."""
    path.write_bytes(_seeded(players, tuple(wish.items())))
    return path


@cache
def _seeded(players: int, wish: tuple[tuple[str, Any], ...]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        seed.seed_legacy(Path(folder) / "game.db", players, **dict(wish))
        return (Path(folder) / "game.db").read_bytes()


def sqlite(path: Path, *statements: str) -> None:
    """Run the statements on the file, as a service would."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def value(url: PostgresUrl, query: str) -> object:
    with ops.connect(url) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def give_pass(database: Database) -> None:
    """Fence the database, with the pass of the tests."""
    with ops.connect(database.owner) as conn:
        fence.raise_fence(conn, pass_token=PASS)


def load(database: Database, source: Path, **wish: Any) -> LoadResult:
    """Load the file under the pass; the database is fenced with it first."""
    give_pass(database)
    return transfer.load(source, database.owner, **{"run": "run-1", "pass_token": PASS, **wish})


@contextmanager
def written_to(url: PostgresUrl) -> Iterator[ops.Connection]:
    """A transaction of the owner that the fence and the journals let through."""
    with ops.connect(url) as conn, fence.own_pass(conn):
        yield conn


def moved(path: Path) -> Path:
    """The file as a cutover leaves it: fenced, under the pass."""
    connection = sqlite_values.connect(path)
    legacy_fence.raise_fence(connection, state="moved", pass_token=PASS)
    connection.close()
    return path


class DiesAt:
    """A progress that kills its process, the hard way, once `units` units of the bar `title` are done."""

    def __init__(self, title: str, units: int) -> None:
        self._title = title
        self._units = units

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if title == self._title and done >= self._units:
                os.kill(os.getpid(), signal.SIGKILL)

        advance(0)
        yield advance

    def say(self, line: str) -> None:
        """Print nothing: a printer for tests."""


def load_and_die(source: Path, target: PostgresUrl, progress: Progress) -> None:
    """For a process of its own: a load in small chunks."""
    transfer.load(source, target, run="run-killed", pass_token=PASS, chunk_bytes=SMALL_CHUNK_BYTES, progress=progress)
