"""Plays scenarios: on a store with the scenario's players in it and nobody else, on either engine."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from db.files import private
from db.ops import statements
from db.samples import builders, moments
from db.samples.given import Given
from game import tables
from game.legacy import codec, sidecars, sqlite_values
from game.legacy.sqlite_values import Cell, placeholder
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rows import Rows
from game.unit_of_work import Store
from game.urls import PostgresUrl
from harness.scenarios.model import Scenario

TABLE_ORDER = (*tables.PLAYER_STATE, *tables.OTHER_STATE)
"""Parents before their children."""


@dataclass(frozen=True)
class StartingPlayer:
    """A player as either store gets it: the same one, as rows and as the legacy `users` row."""

    rows: Rows
    legacy: Mapping[str, Cell]


class PlayedStore(Protocol):
    """One store to play on."""

    @property
    def name(self) -> str:
        """Return the engine of the store: postgres or legacy."""
        ...

    @property
    def store(self) -> Store:
        """Return the store as it is now; another one after `place`."""
        ...

    def place(self, starts: Iterable[StartingPlayer]) -> None:
        """Empty the store and put these players into it."""
        ...


def starts(scenario: Scenario, *, named: Callable[[str], str] = str) -> dict[str, StartingPlayer]:
    """Return the scenario's players by handle; `named` gives a handle's player id."""
    clock = moments.absolute(scenario.clock)
    return {handle: start(named(handle), given, clock) for handle, given in scenario.given.items()}


def start(player: str, given: Given, clock: int) -> StartingPlayer:
    """Return the player of that id. clock: the moment from which distances count, in epoch milliseconds."""
    rows = builders.rows(player, given, clock_ms=clock)
    legacy = builders.legacy_row(rows)
    if not given.legacy:
        return StartingPlayer(rows, legacy)
    legacy |= given.legacy
    return StartingPlayer(codec.decode_row(legacy, rowid=1).rows, legacy)


def insert(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """Write the rows, parents first, within the transaction that is open."""
    for table in TABLE_ORDER:
        if records := list(rows.get(table.name, {}).values()):
            columns = list(records[0])
            places = [sql.Placeholder()] * len(columns)
            statement = statements.insert_into(sql.Identifier(table.name), columns, places)
            with connection.cursor() as cursor:
                cursor.executemany(statement, [[record[column] for column in columns] for record in records])


def insert_legacy(connection: sqlite3.Connection, row: Mapping[str, Cell]) -> None:
    """Write a row of `users`, within the transaction that is open."""
    statement = sqlite_values.insert_into("users", map(placeholder, row.values()), map(sqlite_values.quote, row))
    connection.execute(statement, [sqlite_values.bind(cell) for cell in row.values()])


class PostgresStage:
    """A database of one's own, emptied in place by `reset`."""

    name = "postgres"

    def __init__(self, service: PostgresUrl, reset: Callable[[], None]) -> None:
        self._reset = reset
        self._connection = psycopg.connect(service.conninfo)
        self.store: Store = PostgresStore(service)

    def place(self, starts: Iterable[StartingPlayer]) -> None:
        """Reset the database to its start state and insert these players.

        The reset is not part of the transaction of the inserts. It raises Failure for a lock that is still held.
        """
        self._reset()
        with self._connection.transaction():
            for start in starts:
                insert(self._connection, start.rows)

    def close(self) -> None:
        """Let the database go, so that it can be dropped."""
        self.store.close()
        self._connection.close()


class LegacyStage:
    """A legacy file of one's own, a copy of `empty` each time."""

    name = "legacy"

    def __init__(self, empty: Path, path: Path, *, opened_by: Callable[[Path], Store] = LegacyStore) -> None:
        self._empty = empty
        self.path = path
        self._opened_by = opened_by
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Return the store on the file as it was placed last."""
        assert self._store is not None, "a stage is placed before it is played on"
        return self._store

    def place(self, starts: Iterable[StartingPlayer]) -> None:
        """Make the file anew with these players in it."""
        self._copy(self._empty)
        with closing(sqlite_values.connect(self.path)) as connection, connection:
            connection.execute("BEGIN")
            for start in starts:
                insert_legacy(connection, start.legacy)
        self._store = self._opened_by(self.path)

    def place_copy(self, kept: Path) -> None:
        """Make the file anew as one that `copy_to` kept: some 0.3 ms."""
        self._copy(kept)
        self._store = self._opened_by(self.path)

    def _copy(self, other: Path) -> None:
        self.close()
        private.make(self.path)
        shutil.copyfile(other, self.path)

    def copy_to(self, path: Path) -> None:
        """Copy the file as it is now, with what is in its write-ahead log, to a new path."""
        private.make(path)
        with closing(sqlite_values.connect(self.path, readonly=True)) as old, closing(sqlite3.connect(path)) as new:
            old.backup(new)

    def close(self) -> None:
        """Close the store and remove its file, with what SQLite keeps beside it."""
        if self._store is not None:
            self._store.close()
            self._store = None
        for path in (self.path, *sidecars.beside(self.path)):
            path.unlink(missing_ok=True)
