"""A steady load: so many commands a second over HTTP, each noted with when it was sent and answered, and bursts on top.

Each player's commands go one by one, from one thread; a command's time begins when it was due, so a slow answer is not
hidden by the commands that waited behind it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import secrets
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from urllib.parse import quote, urlsplit

from harness.load import scripts
from harness.load.scripts import Script

THREADS = 24
ANSWER_SECONDS = 10.0
GRANTED = 200
READS = "show"
"""The name of a request that only reads, beside those of the actions."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: what it asked for, monotonic seconds when it was sent and answered, and HTTP's status; 0: none."""

    action: str
    sent: float
    ended: float
    status: int

    @property
    def seconds(self) -> float:
        """Return how long the client waited."""
        return self.ended - self.sent

    @property
    def granted_write(self) -> bool:
        """Return True if the request changed something."""
        return self.status == GRANTED and self.action != READS


@dataclass
class SteadyLoad:
    """Clients that send `rate` commands a second while the context is entered.

    scripts: the commands of each player; after the last one a player repeats those that can be repeated. token_of: a
    player's bearer token. answers: of every request that has ended.
    """

    services: Sequence[str]
    scripts: Mapping[str, Script]
    token_of: Callable[[str], str]
    rate: float
    threads: int = THREADS
    answers: list[Answered] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _bursts: list[threading.Thread] = field(default_factory=list)
    _begun: float = 0.0

    def __post_init__(self) -> None:
        draw = Random(1)  # noqa: S311 - variety, not secrecy
        players = [player for player, script in self.scripts.items() if script]
        draw.shuffle(players)
        spare = max(1, len(players) // 10)
        self._spare = players[:spare]
        shares = [players[spare:][n :: self.threads] for n in range(self.threads)]
        self._repeated = {player: scripts.repeated(script) for player, script in self.scripts.items()}
        self._run = secrets.token_hex(4)
        self._threads = [
            threading.Thread(target=self._play, args=(n, share), daemon=True) for n, share in enumerate(shares)
        ]

    def __enter__(self) -> SteadyLoad:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for thread in (*self._threads, *self._bursts):
            thread.join(ANSWER_SECONDS)

    def burst(self, requests: int) -> None:
        """Send so many requests of every kind at once, a third of them reads; returns when all are on their way."""
        kinds = itertools.cycle(self._spare)
        sent = threading.Barrier(requests + 1)
        for n in range(requests):
            player = next(kinds)
            script = self.scripts[player]
            action, fields = (READS, {}) if n % 3 == 0 or not script else script.pop(0)
            key = f"burst-{len(self._bursts)}"  # Another burst's keys would be answered from its receipts.
            thread = threading.Thread(target=self._once, args=(player, key, action, fields, sent), daemon=True)
            self._bursts.append(thread)
            thread.start()
        sent.wait(ANSWER_SECONDS)

    def _once(self, player: str, request: str, action: str, fields: dict[str, object], sent: threading.Barrier) -> None:
        key = f"{self._run}-{request}"
        with _connected() as clients:
            clients.at(self._service_of(key)).connect()
            sent.wait(ANSWER_SECONDS)
            self._ask(clients, player, key, action, fields, time.monotonic())

    def _play(self, number: int, share: list[str]) -> None:
        waiting = deque(share)
        period = self.threads / self.rate
        with _connected() as clients:
            for turn in itertools.count():
                due = self._begun + (number / self.threads + turn) * period
                if self._ended.wait(max(0.0, due - time.monotonic())) or not waiting:
                    return
                player = waiting.popleft()
                script = self.scripts[player]
                action, fields = script.pop(0)
                self._ask(clients, player, f"{self._run}-{number}-{turn}", action, fields, due)
                if not script:
                    script.extend(self._repeated[player])
                if script:
                    waiting.append(player)

    def _service_of(self, key: str) -> str:
        return self.services[hash(key) % len(self.services)]

    def _ask(
        self, clients: _Connections, player: str, key: str, action: str, fields: dict[str, object], due: float
    ) -> None:
        path = f"/players/{quote(player, safe='')}"
        headers = {"Authorization": f"Bearer {self.token_of(player)}"}
        client = clients.at(self._service_of(key))
        try:
            if action == READS:
                client.request("GET", path, headers=headers)
            else:
                headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
                client.request("POST", f"{path}/actions/{action}", json.dumps(fields), headers)
            answer = client.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            client.close()
            status = 0
        self.answers.append(Answered(action, due, time.monotonic(), status))


class _Connections:
    """The connections of one client, one for each service, kept between requests.

    Uses http.client: the load shares the processors with the service, and httpx takes three times as much of them for a
    request.
    """

    def __init__(self) -> None:
        self._clients: dict[str, http.client.HTTPConnection] = {}

    def at(self, service: str) -> http.client.HTTPConnection:
        """Return the connection to the service, to be opened anew if the service has closed it since."""
        client = self._clients.get(service)
        if client is None:
            address = urlsplit(service)
            client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=ANSWER_SECONDS)
            self._clients[service] = client
        elif client.sock is not None and _has_something(client):
            client.close()
        return client

    def close(self) -> None:
        """Close all of them."""
        for client in self._clients.values():
            client.close()


def _has_something(client: http.client.HTTPConnection) -> bool:
    """Return True if the service has closed the connection: there is something to read though no answer is due."""
    poll = select.poll()
    poll.register(client.sock, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _connected() -> Iterator[_Connections]:
    clients = _Connections()
    try:
        yield clients
    finally:
        clients.close()
