"""Plants the defects of the service's processes: real ones, with players who ask over HTTP."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import LiteralString

import httpx

from db.samples import seed
from game.service import tokens
from game.urls import LegacyUrl
from tests.db.monitor.planting import Plant, Planted
from tests.db.monitor.watched import Watched
from tests.fixtures.waiting import until
from tests.game.service.running import TOKEN_SECRET, Running

POOL = 2
PLACES = 4 * POOL
"""Commands that a process admits at once: docs/service.md."""

READS_NEED = "lock table user_missions in access exclusive mode"
CLOSED = "http://127.0.0.1:9"
_keys = itertools.count()


@dataclass
class Players:
    """Requests of the two players of the database, each of them refused: nobody owns the mail that they claim."""

    own: Watched
    service: Running
    threads: ThreadPoolExecutor
    client: httpx.Client

    def ask(self, number: int) -> None:
        """Ask so many times at once, from threads, and wait for every answer."""
        for each in [self.threads.submit(self.one) for _ in range(number)]:
            each.result()

    def go_on(self, stop: threading.Event, *, reads: bool) -> None:
        while not stop.is_set():
            self.one(reads=reads)

    def one(self, *, reads: bool = False) -> httpx.Response:
        number = next(_keys)
        player = self.ids[number % 2]
        headers = {"Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, player)}", "Idempotency-Key": f"k{number}"}
        url = f"{self.service.urls[0]}/players/{player}"
        if reads:
            del headers["Idempotency-Key"]
            return self.client.get(url, headers=headers)
        return self.client.post(f"{url}/actions/claim_mail", json={"mail": "none"}, headers=headers)

    def __post_init__(self) -> None:
        self.ids = [str(self.own.value(f"select {which}(id) from users")) for which in ("min", "max")]


@contextmanager
def locked(own: Watched, statement: LiteralString = "select from users for update") -> Iterator[None]:
    """Lock every player's row until the end. statement: another lock."""
    with own.superuser() as conn:
        conn.execute("begin")
        conn.execute(statement)
        yield
        conn.execute("rollback")


def behind_a_lock(number: int, names: str, *, seen: str, value: int, reads: bool = False) -> Plant:
    """Requests that wait for a lock, again and again, once the service itself counts as many as it should.

    reads: they are reads, and wait for a table that only reads of a player need; else commands, and a player's row.
    """

    @contextmanager
    def plant(own: Watched) -> Iterator[Planted]:
        players = own.extra
        with locked(own, READS_NEED) if reads else locked(own):
            stop = threading.Event()
            asked = [players.threads.submit(players.go_on, stop, reads=reads) for _ in range(number)]
            try:
                until(lambda: [] if counted(players, seen) >= value else [f"{seen} is {counted(players, seen)}"])
                yield Planted(names.format(url=players.service.urls[0]))
            finally:
                stop.set()
        for each in asked:
            each.result()

    # A request whose lock timeout has passed gives its connection back for a moment.
    return Plant(plant, again=True)


def counted(players: Players, name: str) -> float:
    text = players.client.get(f"{players.service.urls[0]}/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


@contextmanager
def down(own: Watched) -> Iterator[Planted]:
    yield Planted(f"{CLOSED}: no answer", env=replace(own.env, services=(*own.env.services, CLOSED)))


@contextmanager
def two_stores(own: Watched) -> Iterator[Planted]:
    folder = own.env.pointer.path.parent / "legacy"
    folder.mkdir()
    path = folder / "game.db"
    seed.seed_legacy(path, 1, anomalies=False)
    other = Running(folder, LegacyUrl(path).as_text(), processes=1)
    try:
        other.ready()
        yield Planted("legacy ", env=replace(own.env, services=(*own.env.services, *other.urls)))
    finally:
        other.end()


@contextmanager
def no_database(own: Watched) -> Iterator[Planted]:
    role = own.database.service.user
    own.run(
        f"alter role {role} nologin", f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
    )
    try:
        own.extra.ask(2)
        yield Planted("2 ended failed")
    finally:
        own.run(f"alter role {role} login")


@contextmanager
def sessions_ended(own: Watched) -> Iterator[Planted]:
    players, role = own.extra, own.database.service.user
    with locked(own):
        asked = players.threads.submit(players.one)
        own.until("select count(*) > 0 from pg_locks where not granted")
        own.run(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
        own.until("select count(*) > 0 from pg_locks where not granted")
    asked.result()
    yield Planted("db_unreachable")


@contextmanager
def lock_timeouts(own: Watched) -> Iterator[Planted]:
    players = own.extra
    with locked(own):
        players.ask(PLACES)
    yield Planted("tx_rolled_back")


@contextmanager
def wrong_client(own: Watched) -> Iterator[Planted]:
    for _ in range(25):
        own.extra.ask(PLACES // 2)
    yield Planted("100 of 100; ")


@contextmanager
def slow_rows(own: Watched) -> Iterator[Planted]:
    players = own.extra
    for _ in range(9):
        with own.superuser() as conn:
            conn.execute("begin")
            conn.execute("select from users for update")
            asked = [players.threads.submit(players.one) for _ in range(PLACES // 2)]
            conn.execute("select pg_sleep(0.3)")
            conn.execute("rollback")
        for each in asked:
            each.result()
        players.ask(PLACES // 2)
    yield Planted("within it")


PLANTS = {
    "processes of the service": Plant(down),
    "one store": Plant(two_stores),
    "connection pool in use": behind_a_lock(PLACES - 2, "2 of 2 at {url}", seen="sudamr_pool_in_use", value=POOL),
    "waiting for a connection": behind_a_lock(PLACES - 2, " at {url}", seen="sudamr_pool_waiting", value=2, reads=True),
    "requests that failed": Plant(no_database),
    "database unreachable": Plant(sessions_ended),
    "transactions tried again": Plant(lock_timeouts),
    "turned away": behind_a_lock(PLACES + 4, "too_busy", seen='sudamr_refusals_total{code="too_busy"}', value=1),
    "refused requests": Plant(wrong_client),
    "time to answer": Plant(slow_rows),
}
