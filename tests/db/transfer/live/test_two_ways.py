"""Copied, or copied empty and then caught up: whatever a row holds, both ways leave the same rows in the target."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from db import ops
from db import tables as db_tables
from db.errors import Refusal
from db.legacy.source import Source, opened
from db.transfer.live import capture
from db.transfer.live.copying import require_live
from db.transfer.live.session import transferring
from game import tables
from game.legacy.sqlite_values import quote
from harness.databases import Database, Databases
from tests.db.legacy.unusual_files import UnusualFile, unusual_files
from tests.db.transfer.transferring import PASS, give_pass, load, seeded

EXAMPLES = settings().max_examples // 8


@pytest.fixture(scope="module")
def pair(databases: Databases) -> Iterator[tuple[Database, Database]]:
    """Two fenced databases for many examples."""
    both = databases.clone(fenced=True), databases.clone(fenced=True)
    yield both
    for clone in both:
        databases.drop(clone)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ways")


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(file=unusual_files())
def test_an_unusual_file_is_the_same_by_both_ways(
    file: UnusualFile, pair: tuple[Database, Database], databases: Databases, folder: Path
) -> None:
    source = folder / "unusual.db"
    file.write(source)
    in_wal_mode(source)
    try:
        with opened(source) as legacy:
            require_live(legacy)
            capture.captured(legacy)
    except Refusal:
        assume(False)
    for database in pair:
        databases.reset(database)
    both_ways(source, pair)


def test_a_seeded_file_is_the_same_by_both_ways(
    pair: tuple[Database, Database], databases: Databases, folder: Path
) -> None:
    for database in pair:
        databases.reset(database)
    both_ways(seeded(folder / "seeded.db", 60), pair)


def in_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def both_ways(source: Path, pair: tuple[Database, Database]) -> None:
    loaded, caught_up = pair
    rest = source.with_name("rest.db")
    give_pass(caught_up)
    with transferring(source, caught_up.owner, run="run-1", pass_token=PASS) as live:
        log = live.begin()
        with closing(sqlite3.connect(source, isolation_level=None)) as file:
            take_out(file, str(source), rest)
            live.copy(log, lambda _progress: None)
            put_in(file, str(source), rest)
        live.round()
        assert live.round().rows == 0
    load(loaded, source, run="run-1")
    assert rows(caught_up) == rows(loaded)


def take_out(file: sqlite3.Connection, where: str, rest: Path) -> None:
    """Keep every row in another file, and delete it."""
    rest.unlink(missing_ok=True)
    file.execute(f"ATTACH '{rest}' AS rest")
    for table in Source(file, where).tables.values():
        if not table.name.startswith("sqlite_"):
            rowid = f"{table.rowid} AS place, " if table.rowid else ""
            columns = ", ".join(map(quote, table.columns))
            file.execute(f"CREATE TABLE rest.{quote(table.name)} AS SELECT {rowid}{columns} FROM {quote(table.name)}")
            file.execute(f"DELETE FROM {quote(table.name)}")


def put_in(file: sqlite3.Connection, where: str, rest: Path) -> None:
    """Put every row back, with its rowid."""
    file.execute("PRAGMA ignore_check_constraints=ON")
    for table in Source(file, where).tables.values():
        if not table.name.startswith("sqlite_"):
            names = [*([table.rowid] if table.rowid else []), *map(quote, table.columns)]
            kept = [*(["place"] if table.rowid else []), *map(quote, table.columns)]
            file.execute(
                f"INSERT INTO {quote(table.name)} ({', '.join(map(str, names))})"
                f" SELECT {', '.join(kept)} FROM rest.{quote(table.name)}"
            )
    file.execute("DETACH rest")


def rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table but the checkpoints, as text; findings without their numbers."""
    kept = (*tables.ALL, db_tables.quarantine)
    with ops.connect(database.owner) as conn:
        return {
            table.name: sorted(
                conn.execute(
                    f"select {', '.join(column.name for column in table.columns if column.name not in ('n', 'run'))}"
                    f" from {table.name}".encode()
                ).fetchall(),
                key=repr,
            )
            for table in kept
        }
