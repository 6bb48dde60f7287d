"""The places where the game's tests play: a store of the test's own, and what an operator can do to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

import psycopg

from db import ops
from db.ops import fence
from db.samples import builders, seed
from game.legacy import codec, sqlite_values
from game.legacy import fence as legacy_fence
from game.legacy.sqlite_values import Cell
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.unit_of_work import FenceState, Store
from harness.databases import Database
from harness.play import arena


class Place(Protocol):
    """A store of the test's own, and what an operator can do to it."""

    store: Store
    url: str

    def put(self, rows: Rows) -> None: ...

    def put_row(self, row: Mapping[str, Cell]) -> None: ...

    def fence(self, state: FenceState = "fenced", *, pass_token: str | None = None) -> None: ...

    def lift(self) -> None: ...


class PostgresPlace:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.url = database.service.as_text()
        self.store: Store = PostgresStore(database.service, pool_size=4)

    def close(self) -> None:
        self.store.close()

    def put(self, rows: Rows) -> None:
        with psycopg.connect(self.database.service.conninfo) as connection:
            arena.insert(connection, rows)

    def put_row(self, row: Mapping[str, Cell]) -> None:
        """As a transfer loads it."""
        self.put(codec.decode_row(row, rowid=1).rows)

    def fence(self, state: FenceState = "fenced", *, pass_token: str | None = None) -> None:
        with ops.connect(self.database.owner) as connection:
            fence.raise_fence(connection, state=state, pass_token=pass_token)

    def lift(self) -> None:
        with ops.connect(self.database.owner) as connection:
            fence.lift(connection)


class LegacyPlace:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file:{path}"
        seed.empty_legacy(path)
        self.store: Store = LegacyStore(path, busy_timeout_seconds=0.2)

    def close(self) -> None:
        self.store.close()

    def put(self, rows: Rows) -> None:
        self.put_row(builders.legacy_row(rows))

    def put_row(self, row: Mapping[str, Cell]) -> None:
        with closing(sqlite_values.connect(self.path)) as connection:
            arena.insert_legacy(connection, row)

    def fence(self, state: FenceState = "fenced", *, pass_token: str | None = None) -> None:
        with closing(sqlite_values.connect(self.path)) as connection:
            legacy_fence.raise_fence(connection, state=state, pass_token=pass_token)

    def lift(self) -> None:
        with closing(sqlite_values.connect(self.path)) as connection:
            legacy_fence.lift(connection)
