"""The layers before the endpoints, which log requests and limit their bodies; and the places of requests at work.

AccessLog: one line of the log, the counters, and a defect anywhere within becomes a 500 that says nothing of itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from game.service import problems
from game.service.logs import logger
from game.service.metrics import Metrics
from game.service.problems import Rejected

PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
"""Paths of an operator's probes: never turned away, and logged only if something is wrong."""

LARGEST_BODY = 64 * 1024
FIRST_AT_ONCE = 3
"""Held requests that go on together once a store has opened; each that ends lets two follow."""

ASK_AGAIN = "Ask again with the same Idempotency-Key."
LOGGED = 1000
"""Characters of a path or a detail: both may be as long as a client likes."""

ErrorReporter = Callable[[Exception, "RequestFacts"], None]


@dataclass(slots=True)
class RequestFacts:
    """The facts of a request on its way, for the log and the counters, never for the client."""

    action: str = ""
    player: str = ""
    request_id: str = ""
    end: str = ""
    code: str = ""
    detail: str = ""
    error: Exception | None = None


def about(scope: Scope) -> RequestFacts:
    """Return the facts that are kept of this request."""
    request_state = scope["state"]["about"]
    assert isinstance(request_state, RequestFacts)
    return request_state


def refusing(scope: Scope, code: str, detail: str = "", *, headers: dict[str, str] | None = None) -> Response:
    """Return the answer with the code, which the log and the counters will bear."""
    about(scope).code = code
    return problems.response(code, detail, headers)


class AccessLog:
    """Logs and counts each request as its answer begins; answers what nothing else caught."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, report: ErrorReporter) -> None:
        self._app = app
        self._metrics = metrics
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its status and time. A defect before the answer began becomes a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["about"] = now = RequestFacts()
        began = time.perf_counter()
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                self._note(scope, now, status, time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception as error:
            self._report(error, now)
            if status:  # Half an answer is out: the server has to cut it off.
                raise
            now.error = error
            await refusing(scope, "internal_error")(scope, receive, seen)

    def _note(self, scope: Scope, now: RequestFacts, status: int, seconds: float) -> None:
        if now.code:
            self._metrics.refusals.labels(now.code).inc()
            now.end = problems.end_of(now.code)
        if now.action:
            self._metrics.requests.labels(now.action, now.end).inc()
            self._metrics.seconds.labels(now.action).observe(seconds)
        if scope["path"] in PROBES and not now.code:
            return
        log = logger().error if now.error else logger().warning if now.end == "failed" else logger().info
        line = {
            "method": scope["method"],
            "path": scope["path"][:LOGGED],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "request_id": now.request_id,
            "action": now.action,
            "player": now.player,
            "end": now.end,
            "code": now.code,
            "detail": now.detail[:LOGGED],
            "exc_info": now.error,
        }
        log("request", **{name: value for name, value in line.items() if value})


class BodyLimit:
    """Reads the body before anyone needs it; one that is too large is refused as soon as that is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Where the client goes away in the middle of its body, nothing was asked."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        body: bytes | None = b""
        if declared.isdecimal() and int(declared[:20]) > LARGEST_BODY:
            await _turn_away(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except _TooLarge:
            await _turn_away(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _given(body, receive), send)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A held request in the queue. place: done when it is given; reads: the request is a read."""

    place: asyncio.Future[None]
    reads: bool


class Capacity:
    """The requests at work or waiting for the store: so many at once, and so many of one player.

    most: the places that a command may take; for_reads: further places for reads, which may take any. So commands that
    all wait for a lock turn no read away.

    Used on the loop alone. A place is given back when the endpoint is done, before its answer is sent: a client that
    does not read keeps no place; the connection limits how long that may take.
    """

    def __init__(self, *, most: int, share: int, for_reads: int = 0) -> None:
        self.places = most + for_reads
        self._most = most
        self._share = share
        self._now = 0
        self._commands = 0
        self._players: Counter[str] = Counter()
        self._queue: deque[_Waiting] = deque()
        self._allowed = FIRST_AT_ONCE

    @property
    def has_queue(self) -> bool:
        """Return True if held requests wait for a place: a new request comes after them."""
        return bool(self._queue)

    def enter(self, *, reads: bool = False) -> bool:
        """Take a place. Returns False if none is free."""
        if not self._has_place(reads=reads):
            return False
        self._take(reads=reads)
        return True

    def leave(self, *, reads: bool = False) -> None:
        """Give a place back. If there is a queue, its first may come, and one more than before at once."""
        self._now -= 1
        self._commands -= not reads
        if self._queue:
            self._allowed += 1
            self._call_up()

    def line_up(self, *, reads: bool = False) -> asyncio.Future[None]:
        """Join the queue; the future is done when the place is taken. `step_out` ends what is waited for no longer."""
        place = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(place, reads))
        self._call_up()
        return place

    def _has_place(self, *, reads: bool) -> bool:
        return self._now < self.places and (reads or self._commands < self._most)

    def _take(self, *, reads: bool) -> None:
        self._now += 1
        self._commands += not reads

    def _call_up(self) -> None:
        """Give places to the first of the queue, to FIRST_AT_ONCE in the beginning.

        All at once would share the processor, and so the first of them would end when the last one does. Where commands
        have all places that they may take, the reads behind them come first.
        """
        while self._now < min(self.places, self._allowed) and (waiting := self._next()):
            self._queue.remove(waiting)
            if not waiting.place.done():
                self._take(reads=waiting.reads)
                waiting.place.set_result(None)
        if not self._queue:
            self._allowed = FIRST_AT_ONCE

    def _next(self) -> _Waiting | None:
        """Return the first of the queue for whom there is a place."""
        return next((waiting for waiting in self._queue if self._has_place(reads=waiting.reads)), None)

    def step_out(self, place: asyncio.Future[None], *, reads: bool = False) -> None:
        """Leave the queue, or the place that was given meanwhile."""
        if place.done() and not place.cancelled():
            self.leave(reads=reads)
            return
        place.cancel()
        with suppress(ValueError):  # Passed over already.
            self._queue.remove(_Waiting(place, reads))

    @contextmanager
    def share(self, player: str) -> Iterator[None]:
        """Count the block as one of the player's requests. Raises Rejected if the player has his share already."""
        if self._players[player] >= self._share:
            raise Rejected("too_busy", ASK_AGAIN)
        self._players[player] += 1
        try:
            yield
        finally:
            self._players[player] -= 1
            if not self._players[player]:
                del self._players[player]


class Private:
    """Answers 404 to a probe that does not come through the private port."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Without a server, as in a test of the application alone, all ports are private."""
        # The decoded path, as the routes compare it: /%6detrics is /metrics here too.
        if scope["type"] == "http" and scope["path"] in PROBES and not scope["state"].get("private", True):
            await refusing(scope, "not_found")(scope, receive, send)
            return
        await self._app(scope, receive, send)


class _TooLarge(Exception):
    """The body is; how much more of it would come is not known."""


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body; None where the client went away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """Return a receiver that gives the body once more, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    detail = f"at most {LARGEST_BODY} bytes"
    # The connection lingers, and throws the rest of the body away.
    await refusing(scope, "body_too_large", detail, headers={"Connection": "close"})(scope, receive, send)
