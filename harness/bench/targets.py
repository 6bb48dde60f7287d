"""The targets of a benchmark of commands: dispatch, the bare driver, a client of the service; one request at a time.

A client keeps its connection. The bare driver sends what dispatch sends, in the same round trips, and decides nothing.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Protocol
from urllib.parse import urlsplit

import psycopg

from db.errors import Failure
from game.postgres.store import PostgresStore
from game.urls import PostgresUrl
from harness.bench.setup import COMMANDS, Recorded, ask

ANSWER_SECONDS = 30.0

Act = Callable[[str, str, str], None]
"""Carries out an action of a player's under a request id."""


class BenchTarget(Protocol):
    """One way to have a command carried out."""

    def open(self, clients: int, stack: ExitStack) -> Sequence[Act]:
        """Open one connected act for each client; they are closed with the stack."""
        ...


@dataclass(frozen=True)
class Dispatched:
    """`game.dispatch` on the Postgres store, with a pool of as many connections as there are clients."""

    service: PostgresUrl

    def open(self, clients: int, stack: ExitStack) -> Sequence[Act]:
        """Open the target for one client; see `BenchTarget`."""
        store = PostgresStore(self.service, pool_size=clients)
        stack.callback(store.close)
        with ExitStack() as warming:
            for _ in range(clients):
                unit = warming.enter_context(store.begin())
                unit.connection.exec_driver_sql("SELECT 1")

        def act(action: str, player: str, request_id: str) -> None:
            ask(store, player, request_id, COMMANDS[action])

        return [act] * clients


@dataclass(frozen=True)
class Bare:
    """psycopg alone: BEGIN, the same statements, COMMIT."""

    service: PostgresUrl
    recorded: Recorded

    def open(self, clients: int, stack: ExitStack) -> Sequence[Act]:
        """Open the target for one client; see `BenchTarget`."""
        return [self._act(stack) for _ in range(clients)]

    def _act(self, stack: ExitStack) -> Act:
        conn = stack.enter_context(psycopg.connect(self.service.conninfo, prepare_threshold=None))

        def act(action: str, player: str, request_id: str) -> None:
            for statement in self.recorded[action]:
                cursor = conn.execute(statement.sql.encode(), statement.bound(player, request_id))
                if cursor.description:
                    cursor.fetchall()
            conn.commit()

        return act


@dataclass(frozen=True)
class Web:
    """The service over HTTP, each client at one of its processes, with a connection that is kept."""

    urls: tuple[str, ...]
    token: str
    first: int = 0

    def open(self, clients: int, stack: ExitStack) -> Sequence[Act]:
        """Open the target for one client; see `BenchTarget`."""
        return [self._act(self.urls[(self.first + n) % len(self.urls)], stack) for n in range(clients)]

    def _act(self, url: str, stack: ExitStack) -> Act:
        address = urlsplit(url)
        conn = http.client.HTTPConnection(str(address.hostname), address.port, timeout=ANSWER_SECONDS)
        stack.callback(conn.close)
        conn.connect()

        def act(action: str, player: str, request_id: str) -> None:
            headers = {
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
                "Idempotency-Key": request_id,
            }
            conn.request("POST", f"/players/{player}/actions/{action}", json.dumps(asdict(COMMANDS[action])), headers)
            answer = conn.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise Failure("status 200", f"{answer.status}: {body[:200].decode(errors='replace')}", where=url)

        return act
