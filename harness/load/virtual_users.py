"""Players' devices: threads that act through HTTP and keep each request until it is answered.

A request goes out with one Idempotency-Key for as long as it has no answer: refused for a while (503), refused
connections, time-outs and answers never read are all tried again, at whichever process of the service. What was granted
is remembered with its outcome; some of it is asked for again later, and must be answered alike. A few clients go away
before the answer and never come back. Each request is noted with its instants in a log, for the history checker.
"""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

import httpx

from db.errors import Inconclusive
from db.web import authorities
from harness.history.client_log import ClientLog

CLIENTS = 4
PAUSE_SECONDS = 0.2
"""Between two tries of one request: short, so that the freeze that players see is measured well."""

THINK_SECONDS = 0.03
"""Between two requests of one client; IDLE_SECONDS where only old ones are left to be asked for again."""

IDLE_SECONDS = 0.4
AT_ONCE = 2  # Of one player in a burst, at most.
ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 120.0
GOING_AWAY = 0.05
FORGETTING = 0.2
"""The share of those that never come back: no client learns what became of their request."""

ASKING_AGAIN = 0.15
_UNAVAILABLE = 503

PlannedRequest: TypeAlias = tuple[str, Mapping[str, object]]
"""An action and its fields."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One thing that a player asks for."""

    player: str
    id: str
    action: str
    fields: Mapping[str, object]

    @property
    def key(self) -> tuple[str, str]:
        """Return player and id, under which the log has it."""
        return self.player, self.id

    @property
    def body(self) -> bytes:
        """Return the fields as JSON, the same bytes each time."""
        return json.dumps(dict(self.fields)).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers, with the key under which the service knows the request again."""
        return {"Idempotency-Key": self.id, "Content-Type": "application/json"}


@dataclass
class AnswerLog:
    """The answers that all clients got. wrong: answers that no service should give, in words.

    refused_at: when one was told to come back later, which a client does, and the code of the answer. spans: when each
    request was sent, and when its answer came.
    """

    requests: ClientLog = field(default_factory=ClientLog)
    wrong: list[str] = field(default_factory=list)
    retried: int = 0
    dropped: int = 0
    granted_at: list[float] = field(default_factory=list)
    unanswered_at: list[float] = field(default_factory=list)
    refused_at: list[tuple[float, str]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)

    def freeze(self, since: float, *, refused_only: bool = False) -> float:
        """Return the longest time in seconds from a request without an answer to the next that was granted.

        `since` is a time.monotonic(); 0 where every request was answered at once. refused_only: of those
        alone whose client was told to come back later; a connection that a restart dropped is none.
        """
        unanswered = [at for at, _code in self.refused_at] if refused_only else self.unanswered_at
        grants = sorted(at for at in self.granted_at if at >= since)
        spans: dict[int, float] = {}
        for at in sorted(at for at in unanswered if at >= since):
            place = bisect(grants, at)
            if place < len(grants):
                spans.setdefault(place, grants[place] - at)
        return max(spans.values(), default=0.0)

    def locked_out(self, since: float) -> int:
        """Count the requests that went unanswered since then."""
        return sum(1 for at in self.unanswered_at if at >= since)

    def told_to_wait(self, since: float) -> Counter[str]:
        """Count the answers since then that told a client to come back later, by code."""
        return Counter(code for at, code in self.refused_at if at >= since)

    def newly_granted(self, since: float) -> int:
        """Count the requests that were carried out since then."""
        return sum(1 for at in self.granted_at if at >= since)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """The final answer of the service: granted with an outcome, or refused with a code."""

    outcome: Mapping[str, object] | None
    code: str
    replayed: bool


class VirtualUsers:
    """Clients on threads of their own, each with players of its own, so that a player's requests come one by one.

    They ask for nothing new but what `allow` and `play` let them; between that they ask for old things again.
    kept: scripts of other players, for `burst`. token_of: a player's bearer token.
    """

    def __init__(
        self,
        services: Sequence[str],
        scripts: Mapping[str, Sequence[PlannedRequest]],
        *,
        token_of: Callable[[str], str],
        clients: int = CLIENTS,
        seed: int = 1,
        kept: Mapping[str, Sequence[PlannedRequest]] = {},
    ) -> None:
        self.answers = AnswerLog()
        self._token_of = token_of
        self._services = tuple(services)
        self._run = f"rehearsal-{secrets.token_hex(4)}"
        self._changed = threading.Condition()
        self._leaving = False
        self._allowed = 0
        self._busy = 0
        self._left = sum(map(len, scripts.values()))
        self._kept = {player: list(script) for player, script in kept.items()}
        self._bursts: list[threading.Thread] = []
        players = list(scripts)
        shares = [{player: list(scripts[player]) for player in players[n::clients]} for n in range(clients)]
        self._threads = [
            threading.Thread(target=self._play, args=(n, share, seed), name=f"client-{n}", daemon=True)
            for n, share in enumerate(shares)
        ]

    def __enter__(self) -> VirtualUsers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        for thread in (*self._threads, *self._bursts):
            thread.join(ANSWER_SECONDS + PAUSE_SECONDS)

    def burst(self, requests: int, *, at: threading.Event | None = None) -> int:
        """Send so many requests of kept players at once, or once `at` is set; how many are on their way now."""
        turns = [player for player, script in self._kept.items() for _ in script[:AT_ONCE]]
        begun = threading.Barrier(1 + min(requests, len(turns)))
        gates = [begun.wait] if at is None else [begun.wait, at.wait]
        draw = Random(requests)  # noqa: S311 - variety, not secrecy
        for n, player in enumerate(draw.sample(turns, begun.parties - 1), len(self._bursts)):
            action, fields = self._kept[player].pop(0)
            request = ServiceRequest(player, f"{self._run}-burst-{n}", action, fields)
            thread = threading.Thread(target=self._at_once, args=(request, gates, n), daemon=True)
            self._bursts.append(thread)
            thread.start()
        begun.wait(ANSWER_SECONDS)
        return begun.parties - 1

    def _at_once(self, request: ServiceRequest, gates: Sequence[Callable[[float], object]], seed: int) -> None:
        """Send one request at the moment at which the others send theirs. Runs on a thread of its own."""
        draw = Random(seed)  # noqa: S311 - variety, not secrecy
        with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, verify=authorities()) as web:
            for wait in gates:
                wait(ANSWER_SECONDS)
            _Client(self, web, self._services, self._token_of, draw).carry(request)

    def allow(self, requests: int) -> None:
        """Let that many new requests begin from now on, whatever is left of what was allowed before."""
        with self._changed:
            self._allowed = requests
            self._changed.notify_all()

    def play(self, requests: int) -> None:
        """Let so many begin, as far as they are planned, and wait until all that began are answered.

        Inconclusive after two minutes without.
        """
        self.allow(requests)
        with self._changed:
            if not self._changed.wait_for(self._settled, PATIENCE_SECONDS):
                raise Inconclusive(
                    f"every request answered within {PATIENCE_SECONDS:.0f} s",
                    f"{self._busy} without an answer and {self._allowed} not begun",
                    where=", ".join(self._services),
                    do=" ".join([*self.answers.wrong[-1:], "Mend what the service's own log says, and run again."]),
                )

    def _settled(self) -> bool:
        return self._busy == 0 and (self._allowed == 0 or self._left == 0)

    def _play(self, n: int, share: dict[str, list[PlannedRequest]], seed: int) -> None:
        """Play as one user until the users leave. Runs on a thread of its own."""
        draw = Random(f"{seed}/{n}")  # noqa: S311 - variety, not secrecy
        with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, verify=authorities()) as web:
            client = _Client(self, web, self._services, self._token_of, draw)
            turn = 0
            while not self._leaving:
                request = self._next(share, f"{self._run}-{n}-{turn}", draw)
                turn += 1
                client.act(request)
                self._rest(request)

    def _next(self, share: dict[str, list[PlannedRequest]], request_id: str, draw: Random) -> ServiceRequest | None:
        """Take the next request of a random player out of its script, and count it as begun.

        Return None if no new request is allowed or all scripts are at their end.
        """
        able = [player for player, script in share.items() if script]
        with self._changed:
            if not able or not self._allowed:
                return None
            self._allowed -= 1
            self._left -= 1
            self._busy += 1
        player = draw.choice(able)
        action, fields = share[player].pop(0)
        return ServiceRequest(player, request_id, action, fields)

    def _rest(self, request: ServiceRequest | None) -> None:
        """Count the request as done; then wait as a user would who thinks, or until new requests are allowed."""
        with self._changed:
            if request is not None:
                self._busy -= 1
                self._changed.notify_all()
            nothing_new = request is None
            self._changed.wait_for(
                lambda: self._leaving or (nothing_new and self._allowed), IDLE_SECONDS if nothing_new else THINK_SECONDS
            )

    def wait_a_little(self) -> bool:
        """Pause between two tries. Returns False if the clients are leaving."""
        with self._changed:
            self.answers.unanswered_at.append(time.monotonic())
            return not self._changed.wait_for(lambda: self._leaving, PAUSE_SECONDS)

    def sending(self, request: ServiceRequest) -> None:
        """Note that a request is about to be sent."""
        self.answers.requests.sending(request.player, request.id, request.action, request.fields)

    def record(self, request: ServiceRequest, answer: ServiceAnswer) -> None:
        """Remember what was answered; the log keeps an answer that contradicts an earlier one."""
        if answer.outcome is None:
            self.answers.requests.refused(*request.key, answer.code)
        else:
            self.answers.requests.granted(*request.key, answer.outcome)
        with self._changed:
            if answer.outcome is not None and not answer.replayed:
                self.answers.granted_at.append(time.monotonic())
            self._changed.notify_all()

    def wrong(self, request: ServiceRequest, what: str) -> None:
        """Note what should never be."""
        self.answers.wrong.append(f"{request.action} of {request.player}, request {request.id}: {what}")

    def count(self, *, retried: int = 0, dropped: int = 0) -> None:
        """Count what was sent again, and what went away before its answer."""
        with self._changed:
            self.answers.retried += retried
            self.answers.dropped += dropped


class _Client:
    """One device: sends, waits, sends again."""

    def __init__(
        self,
        users: VirtualUsers,
        web: httpx.Client,
        services: Sequence[str],
        token_of: Callable[[str], str],
        draw: Random,
    ) -> None:
        self._users = users
        self._web = web
        self._services = services
        self._token_of = token_of
        self._draw = draw
        self._mine: list[ServiceRequest] = []

    def act(self, request: ServiceRequest | None) -> None:
        """Carry one request to its answer; now and then, go away before it, or ask for an earlier one again."""
        if request is not None:
            if self._draw.random() < GOING_AWAY:
                self._go_away(request)
                if self._draw.random() < FORGETTING:
                    self._users.count(dropped=1)
                    return
                self._users.count(retried=1, dropped=1)
            if (answer := self.carry(request)) and answer.outcome is not None:
                self._mine.append(request)
        if self._mine and (request is None or self._draw.random() < ASKING_AGAIN):
            self._ask_again(self._draw.choice(self._mine))

    def _ask_again(self, request: ServiceRequest) -> None:
        self._users.count(retried=1)
        answer = self.carry(request)
        if answer is not None and not answer.replayed:
            self._users.wrong(request, "known to be granted, and carried out again")

    def carry(self, request: ServiceRequest) -> ServiceAnswer | None:
        """Send until there is an answer; None where the clients leave before."""
        while True:
            answer = self._send(request)
            if answer is not None:
                self._users.record(request, answer)
                return answer
            if not self._users.wait_a_little():
                return None
            self._users.count(retried=1)

    def _send(self, request: ServiceRequest) -> ServiceAnswer | None:
        self._users.sending(request)
        sent = time.monotonic()
        try:
            response = self._web.post(
                self._draw.choice(self._services) + _path(request),
                content=request.body,
                headers=self._headers(request),
            )
        except httpx.TransportError:
            return None
        self._users.answers.spans.append((sent, time.monotonic()))
        if response.status_code == _UNAVAILABLE:
            self._users.answers.refused_at.append((time.monotonic(), _code(response)))
            return None
        return self._read(request, response)

    def _read(self, request: ServiceRequest, response: httpx.Response) -> ServiceAnswer | None:
        try:
            body: Any = response.json()
        except ValueError:
            body = {}
        match response.status_code // 100, body:
            case 2, {"outcome": dict(outcome), "replayed": bool(replayed)}:
                return ServiceAnswer(outcome, "", replayed)
            case 4, {"code": str(code)}:
                return ServiceAnswer(None, code, replayed=False)
            case _:
                self._users.wrong(request, f"status {response.status_code}: {response.text[:200]}")
                return None

    def _headers(self, request: ServiceRequest) -> dict[str, str]:
        return {**request.headers, "Authorization": f"Bearer {self._token_of(request.player)}"}

    def _go_away(self, request: ServiceRequest) -> None:
        """Send, and close the connection without reading: whether it was granted is not known."""
        self._users.sending(request)
        address = urlsplit(self._draw.choice(self._services))
        connection = http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", _path(request), request.body, self._headers(request))
        except OSError:
            return
        finally:
            connection.close()


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json()["code"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"


def _path(request: ServiceRequest) -> str:
    return f"/players/{quote(request.player, safe='')}/actions/{request.action}"
