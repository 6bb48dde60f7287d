"""Who waits for the file's write lock: as long as its patience, unless a move keeps the lock of a closed file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from db.samples import seed
from game.errors import Fenced, Moved
from game.legacy import fence, sqlite_values, write_lock
from game.unit_of_work import FenceState

LONG = 100.0
"""Seconds that no test waits for."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "game.db"
    seed.seed_legacy(path, 2, anomalies=False)
    return path


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite_values.connect(file)) as opened:
        yield opened


@pytest.fixture
def keeper(file: Path) -> Iterator[sqlite3.Connection]:
    """Another connection, as a move has it."""
    with closing(sqlite_values.connect(file)) as opened:
        yield opened


@pytest.mark.parametrize(("state", "error"), [("fenced", Fenced), ("moved", Moved)])
def test_nobody_waits_for_the_lock_that_a_move_keeps(
    connection: sqlite3.Connection, keeper: sqlite3.Connection, state: FenceState, error: type[Exception]
) -> None:
    fence.raise_fence(keeper, state=state)
    keeper.execute("BEGIN IMMEDIATE")
    with pytest.raises(error):
        write_lock.take(connection, LONG, past_the_fence=False)
    assert not connection.in_transaction


def test_who_bears_the_pass_waits_for_it_as_anybody_does_for_an_open_file(
    connection: sqlite3.Connection, keeper: sqlite3.Connection
) -> None:
    keeper.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_lock.take(connection, 0.01, past_the_fence=False)
    keeper.rollback()
    fence.raise_fence(keeper)
    keeper.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_lock.take(connection, 0.01, past_the_fence=True)


def test_a_closed_file_that_nobody_keeps_is_locked_and_its_fence_decides_later(
    connection: sqlite3.Connection, keeper: sqlite3.Connection
) -> None:
    fence.raise_fence(keeper)
    write_lock.take(connection, LONG, past_the_fence=False)
    assert connection.in_transaction
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (int(LONG * 1000),)
