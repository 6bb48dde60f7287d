"""A client's connection: strict HTTP/1.1, one request at a time, each part within a time limit, only so many at once.

uvicorn limits none of these. Without limits a few hundred idle sockets use up the descriptors of a process, and clients
that never read their answers, or never finish a request, stay for ever. uvicorn's parser is httptools: it refuses what
proxies read in several ways (bare LF, folded headers, Content-Length beside Transfer-Encoding); `check_head` refuses
the rest.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from game.service import problems
from game.service.heads import cause_of, check_head
from game.service.limits import Limits
from game.service.logs import logger
from game.service.metrics import Closed, Metrics

KEEP_ALIVE_SECONDS = 75
"""An idle connection is closed after this. It is longer than the 60 s of nginx and haproxy, so that they close first:
a request sent into a connection that is just being closed would be lost."""

SLICE_BYTES = 4096
"""The parser is fed so many bytes at once, so that the limits hold within a segment too, which may have 256 KB."""

LAST_REQUEST_SECONDS = 0.5
"""A connection without a request stays open for so long when the process ends: one may be on its way."""

LINGER_SECONDS = 5.0
LINGER_BYTES = 16 * 1024 * 1024
"""After a connection's last answer it reads and throws away this many bytes, for this long (RFC 9112, 9.6). To close a
connection on unread bytes resets it, and a client that is still sending never reads the answer."""


@dataclass(slots=True)
class Door:
    """The open connections of one listening port, at most `most`.

    A new connection takes the place of the one that has waited longest for a request. Only when all of them are being
    answered is a new one turned away.
    """

    most: int
    private: bool
    metrics: Metrics
    limits: Limits = field(default_factory=Limits)
    _open: set[Connection] = field(default_factory=set)
    _waiting: dict[Connection, None] = field(default_factory=dict)
    """Connections without a whole request, in the order in which they began to wait."""

    def enter(self, connection: Connection) -> bool:
        """Let the connection in. Returns False if all are at work."""
        if len(self._open) >= self.most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self.count(Closed.TURNED_AWAY)
                return False
            self.leave(longest)
            longest.abort(Closed.DISPLACED)
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """Forget the connection. Safe to call again."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def works(self, connection: Connection) -> None:
        """Note that the connection's request is whole: it may not be displaced."""
        self._waiting.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """Note that the connection's answer is written: it waits for the next request."""
        if connection in self._open:
            self._waiting[connection] = None

    def count(self, reason: Closed) -> None:
        """Count a connection that was closed before its client closed it."""
        self.metrics.closed.labels(reason).inc()


class Connection(HttpToolsProtocol):
    """One connection to one of the doors. See the module."""

    def __init__(self, *args: Any, doors: Mapping[int, Door], **named: Any) -> None:
        super().__init__(*args, **named)
        self._doors = doors
        self._request_timer: TimerHandle | None = None
        self._send_timer: TimerHandle | None = None
        self._received = 0
        """Bytes of the request that is being read."""
        self._parts = 0
        """Its headers and chunks."""
        self._line = bytearray()
        """Its bytes up to the end of the first line, which the parser reads too leniently; see `check_head`."""
        self._in_head = True
        self._has_ended = False
        """True if a request has ended within the slice that is being parsed."""
        self._deaf = False
        """Further input is discarded: the client was refused, or asked again before it was answered."""
        self._discarded = 0
        """Bytes that were thrown away."""
        self._lingers = False
        """True after the last answer; see `linger`."""
        self._linger_timer: TimerHandle | None = None
        self._ends = False
        """True once the process ends: the connection takes one more request at most."""
        self._end_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a place at the door, and await a request; without a place, abort. See `asyncio.Protocol`."""
        super().connection_made(transport)
        assert self.server is not None
        port = self.server[1]
        assert port is not None
        self._door = self._doors[port]
        self.app_state = {**self.app_state, "private": self._door.private}
        # Each answer is then sent wholly before the next is begun, and pause_writing says when a client does not read.
        transport.set_write_buffer_limits(high=0)
        if self._door.enter(self):
            self._expect_request()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place and stop its timers. See `asyncio.Protocol`."""
        self._door.leave(self)
        self._stop_request_timer()
        self._stop_send_timer()
        self._stop_linger_timer()
        if self._end_timer is not None:
            self._end_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, slice by slice, as far as the limits allow. See `asyncio.Protocol`."""
        self._unset_keepalive_if_required()
        if self._deaf:
            self._discard(len(data))
            return
        if self._request_timer is None and not self._at_work:
            self._expect_request()
        unfed = memoryview(data)
        while unfed and not self._deaf:
            limits = self._door.limits
            room = (limits.head_bytes if self._in_head else limits.request_bytes) - self._received
            if room <= 0:
                self._refuse_this(self._too_large)
                return
            size = min(room, SLICE_BYTES)
            self._feed(unfed[:size])
            unfed = unfed[size:]

    def _feed(self, part: memoryview) -> None:
        """Parse bytes that are within the limits."""
        self._received += len(part)
        self._has_ended = False
        if self._in_head and b"\n" not in self._line:
            self._line = (self._line + part).lstrip(b"\r\n")
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:
            # The request itself is answered as HTTP/1.1; nothing may follow it, since the parser has ended.
            self._hear_no_more()
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse_this(Closed.BAD_REQUEST, cause_of(error))

    def on_message_begin(self) -> None:
        """Begin a request; one before the last one is answered is not read. See `httptools.HttpRequestParser`."""
        if self._at_work:
            self._hear_no_more()
        if self._deaf:
            return
        if self._has_ended:  # After a body that was answered before it came; where the new request begins is unknown.
            raise ValueError("a request together with the end of the last one")
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take the URL, unless nothing more is read. See `httptools.HttpRequestParser`."""
        if not self._deaf:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count and take a header. Raises ValueError after the body. See `httptools.HttpRequestParser`."""
        if self._deaf:
            return
        if not self._in_head:  # It would join the headers that were checked already.
            raise ValueError("a header after the body")
        self._count_part()
        super().on_header(name, value.strip(b" \t"))  # The parser leaves what follows a value.

    def on_headers_complete(self) -> None:
        """Check the head once it is complete. See `httptools.HttpRequestParser`."""
        if self._deaf:
            return
        line = bytes(self._line.partition(b"\n")[0])
        check_head(line, self.parser.get_method(), self.parser.get_http_version(), self.url, self.headers)
        super().on_headers_complete()
        self._in_head = False
        if self._ends:
            self.cycle.keep_alive = False
        self.cycle.transport = cast(Transport, _AnswersTransport(self))

    def on_chunk_header(self) -> None:
        """Count a chunk of the body. See `httptools.HttpRequestParser`."""
        # Many tiny chunks cost time that a limit of bytes does not see.
        if not self._deaf:
            self._count_part()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, unless nothing more is read. See `httptools.HttpRequestParser`."""
        if not self._deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Reset the limits for the next request. See `httptools.HttpRequestParser`."""
        if self._deaf:
            return
        self._stop_request_timer()
        self._received, self._parts, self._in_head, self._has_ended = 0, 0, True, True
        self._line.clear()
        self._door.works(self)
        if self.cycle.response_complete:  # Answered before its body had come, as a body that is too large.
            self._door.waits(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Count the connection as waiting for its next request. See uvicorn's `HttpToolsProtocol`."""
        self._door.waits(self)
        super().on_response_complete()
        if self._lingers:
            self._unset_keepalive_if_required()

    def shutdown(self) -> None:
        """End after the answer to the request that is here, or on its way; soon, if none is. See uvicorn's protocol."""
        self._ends = True
        if self._lingers or (self.cycle is not None and not self.cycle.response_complete):
            super().shutdown()
        else:
            self._unset_keepalive_if_required()
            self._end_timer = self.loop.call_later(LAST_REQUEST_SECONDS, self._end_unasked)

    def _end_unasked(self) -> None:
        """Close the connection if no byte of a request has come; else the request's own timer is running."""
        if self._received == 0 and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def pause_writing(self) -> None:
        """Start the timer for a client that has not read all that was sent. See `asyncio.Protocol`."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(self._door.limits.send_seconds, self.abort, Closed.UNREAD)

    def resume_writing(self) -> None:
        """Stop that timer: the client has read all that was sent. See `asyncio.Protocol`."""
        self._stop_send_timer()
        super().resume_writing()
        if self._lingers:
            self._start_linger_timer()

    def linger(self) -> None:
        """End the connection after what is written: half-close it, and discard what still comes, within bounds.

        The client that closes its side, or the bounds, then close it wholly. A new connection may take its place.
        """
        if self._lingers or self.transport.is_closing():
            return
        self._hear_no_more()
        self._lingers = True
        self._door.waits(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        if not self.flow.write_paused:  # Otherwise the client has the time for an answer first.
            self._start_linger_timer()

    def abort(self, reason: Closed) -> None:
        """Close the connection at once, whatever is unsent."""
        self._door.count(reason)
        self.transport.abort()

    @property
    def _at_work(self) -> bool:
        """Return True if a request is whole and its answer is not yet written."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _expect_request(self) -> None:
        self._request_timer = self.loop.call_later(self._door.limits.request_seconds, self._too_late)

    def _too_late(self) -> None:
        self._request_timer = None
        if self._received == 0:
            self.abort(Closed.IDLE)
        else:
            self._refuse(Closed.REQUEST_TIMEOUT)

    def _hear_no_more(self) -> None:
        self._deaf = True
        self._stop_request_timer()
        if self.cycle is not None:
            self.cycle.keep_alive = False

    @property
    def _too_large(self) -> Closed:
        return Closed.HEAD_TOO_LARGE if self._in_head else Closed.BODY_TOO_LARGE

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts > self._door.limits.parts:
            self._refuse_this(self._too_large)

    def _refuse_this(self, code: Closed, detail: str = "") -> None:
        """Refuse what is being read. What follows a whole request must not take the place of its answer."""
        if self._at_work:
            self._hear_no_more()
        else:
            self._refuse(code, detail)

    def _refuse(self, code: Closed, detail: str = "") -> None:
        """Answer with the problem, unless an answer has begun, and close the connection."""
        self._hear_no_more()
        if self._lingers or self.transport.is_closing():
            return
        if self._answered_early:  # One request has one answer.
            self._door.count(code)
            self.linger()
            return
        self._door.count(code)
        self._door.metrics.refusals.labels(code).inc()
        logger().info("request_refused", code=code, detail=detail)
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True  # The application waits for the rest of the body.
            self.cycle.message_event.set()
        answer = problems.response(code, detail, {"Connection": "close"})
        head = b"".join(b"%b: %b\r\n" % pair for pair in answer.raw_headers)
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
        self.linger()

    @property
    def _answered_early(self) -> bool:
        """Return True if the request whose body is being read has its whole answer."""
        return not self._in_head and self.cycle.response_complete

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded <= LINGER_BYTES:
            return
        if self._lingers:
            self.abort(Closed.ENDLESS)
        else:  # The answer to a whole request is still to come.
            self.flow.pause_reading()

    def _start_linger_timer(self) -> None:
        if self._linger_timer is None:
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _stop_linger_timer(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


@dataclass(frozen=True, slots=True)
class _AnswersTransport:
    """The connection's transport as uvicorn's answers use it: they close it as soon as the last byte is written."""

    connection: Connection

    def write(self, data: bytes) -> None:
        self.connection.transport.write(data)

    def is_closing(self) -> bool:
        return self.connection.transport.is_closing()

    def close(self) -> None:
        self.connection.linger()
