"""A service that one test after another attacks: to start one takes two seconds of a processor, an attack less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.samples import builders
from game.legacy import sqlite_values
from harness.databases import Databases
from tests.game.places import LegacyPlace, Place, PostgresPlace
from tests.game.service.running import Running

DESCRIPTORS = 256
LIMITS = {"REQUEST_TIMEOUT_SECONDS": "2", "SEND_TIMEOUT_SECONDS": "2"}
MAIL = {f"m{n}": {"gold": 1} for n in range(12)}
MOST_GROWTH = 100_000_000
"""Bytes that the service's process may grow by, over all attacks."""


@dataclass(frozen=True)
class Attacked:
    """A service with few descriptors and short limits, and its store. `empty` deletes every row of the store."""

    place: Place
    running: Running
    empty: Callable[[], None]
    children: list[int]
    memory: int

    def assert_whole(self) -> None:
        """Raise AssertionError unless the service's process is the one that was started, and has grown by little."""
        assert [child.pid for child in self.running.children()] == self.children, self.running.log[-3000:]
        assert memory(self.running) - self.memory < MOST_GROWTH


@contextmanager
def attacked(store: str, databases: Databases, folder: Path) -> Iterator[Attacked]:
    """Start a service on an empty store of its own, and end it before the store goes."""
    with ExitStack() as stack:
        place, empty = stack.enter_context(_on_postgres(databases) if store == "postgres" else _on_legacy(folder))
        running = Running(folder, place.url, processes=1, descriptors=DESCRIPTORS, **LIMITS)
        stack.callback(running.end)
        running.ready()
        yield Attacked(place, running, empty, [child.pid for child in running.children()], memory(running))


def put_players(place: Place) -> None:
    place.put(builders.player("hana", mail=MAIL, gold=0))
    place.put(builders.player("mallory", mail=MAIL))


def memory(running: Running) -> int:
    """Return the bytes that the service's processes hold."""
    return sum(child.memory_info().rss for child in running.children())


@contextmanager
def _on_postgres(databases: Databases) -> Iterator[tuple[Place, Callable[[], None]]]:
    database = databases.clone()
    with closing(PostgresPlace(database)) as place:
        yield place, lambda: databases.reset(database)
    databases.drop(database)


@contextmanager
def _on_legacy(folder: Path) -> Iterator[tuple[Place, Callable[[], None]]]:
    with closing(LegacyPlace(folder / "game.db")) as place:
        yield place, lambda: _delete_all(place.path)


def _delete_all(path: Path) -> None:
    with closing(sqlite_values.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        )
        for (name,) in tables.fetchall():
            connection.execute(f"DELETE FROM {sqlite_values.quote(name)}")
