"""One client's connection through the proxy, and ours to the server: what is under way on them, and whose turn it is.

Both directions run at once, as COPY and pipelines need; TLS and GSS are declined, so the server must take a plain
connection.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol, TypeAlias

from harness.wire import frames
from harness.wire.frames import Frame, Frames, Statements
from harness.wire.round_trips import Decision, DropReply, InjectError, Pass, RoundTrip

CHUNK = 1 << 16
GONE_SECONDS = 10.0
"""How long a connection that was ended may take to be gone; longer is a defect of the proxy or its interceptor."""

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a socket."""


class Interceptor(Protocol):
    """Judges round trips. It is asked on the connection's own thread and may wait; other connections go on."""

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        """Decide what becomes of a round trip that the server has not got yet. The client waits meanwhile."""
        ...

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """Hear that the server has answered; the client hears after this, unless the answer is to be lost."""
        ...


class ProxySession(threading.Thread):
    """One client's connection and ours to the server, and what is under way on them."""

    def __init__(
        self,
        client: socket.socket,
        upstream: Address,
        interceptor: Callable[[], Interceptor],
        gone: Callable[[ProxySession], None],
        name: str,
    ) -> None:
        """Take over the client's connection. interceptor: called at each round trip; gone: called once both are closed.

        pid: the server's process. opened_as: what the client said when it began: user, database, application_name …
        raised: the SQLSTATE of the last error that the client heard from the server, since `forget`.
        """
        super().__init__(name=f"{name} up", daemon=True)
        self.pid: int | None = None
        self.opened_as: Mapping[str, str] = {}
        self.raised: str | None = None
        self._client = client
        self._upstream = upstream
        self._interceptor = interceptor
        self._gone = gone
        self._server: socket.socket | None = None
        self._down: threading.Thread | None = None
        self._state = threading.Condition()
        self._pending: deque[RoundTrip] = deque()
        self._copying = False
        self._swallow = 0
        self._mute = False
        self._over = False
        self._count = 0
        self._statements = Statements()
        self._batch: list[Frame] = []
        self._flushed = 0

    @property
    def busy(self) -> bool:
        """Return True if the server owes an answer."""
        return bool(self._pending)

    @property
    def over(self) -> bool:
        """Return True if the connection was ended; its client hears of it after that."""
        return self._over

    def forget(self) -> None:
        """Forget the errors that were raised before."""
        self.raised = None

    def await_end(self) -> None:
        """Wait until the server has ended the connection by itself. Raises AssertionError after GONE_SECONDS."""
        with self._state:
            assert self._state.wait_for(lambda: self._over, GONE_SECONDS), f"the server still serves {self}"

    def run(self) -> None:
        """Carry frames from the client to the server, until either is gone."""
        try:
            self._serve(Frames(opening=True))
        except OSError:
            self._drain()  # What the server said last, that it was told to end, say, is still for the client.
        finally:
            self.end()
            if self._down is not None:
                self._down.join(GONE_SECONDS)
            self._close()
            self._gone(self)

    def end(self) -> None:
        """End both connections; their threads then end by themselves."""
        with self._state:
            self._over = True
            self._state.notify_all()
        for end in (self._client, self._server):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        self._client.close()
        if self._server is not None:
            self._server.close()

    def _serve(self, incoming: Frames) -> None:
        _without_delay(self._client)
        while data := self._client.recv(CHUNK):
            for frame in incoming.feed(data):
                if not self._take(frame):
                    return

    def _take(self, frame: Frame) -> bool:
        """Take one frame of the client's: send it on, or keep it for its round trip. Return False if it is the last."""
        if frame.kind == b"":
            return self._open(frame)
        if frame.kind in (frames.COPY_DATA, frames.COPY_DONE, frames.COPY_FAIL) or not self._proven():
            self._send([frame])
            return True
        if frame.kind == frames.TERMINATE:
            self._send([frame])
            return False
        self._batch.append(frame)
        if frame.kind == frames.FLUSH:
            self._send(self._batch[self._flushed :])
            self._flushed = len(self._batch)
        elif frame.kind in (frames.QUERY, frames.SYNC):
            return self._round_trip()
        return True

    def _open(self, frame: Frame) -> bool:
        """Decline encryption, or connect to the server for anything else that the client begins with."""
        if frame.code in (frames.SSL_REQUEST, frames.GSSENC_REQUEST):
            self._client.sendall(b"N")
            return True
        self._server = _connect(self._upstream)
        self._server.sendall(frame.data)
        if frame.code != frames.CANCEL_REQUEST:
            self.opened_as = frames.parameters(frame)
        else:
            self._server.recv(1)  # The server closes once it has passed the request on; so do we.
            return False
        down = f"{self.name.removesuffix('up')}down"
        self._down = threading.Thread(target=self._bring_back, name=down, daemon=True)
        self._down.start()
        return True

    def _proven(self) -> bool:
        """Return True if the server has let the client in; before that, passwords are sent."""
        return self.pid is not None

    def _round_trip(self) -> bool:
        trip = RoundTrip(self._count, self._statements.of(self._batch), tuple(self._batch[self._flushed :]))
        self._count, self._batch, self._flushed = self._count + 1, [], 0
        decision = self._interceptor().intercept(self, trip)
        if isinstance(decision, Pass):
            self._forward(trip, trip.frames)
            return True
        self._settle()
        if isinstance(decision, DropReply):
            self._mute = True
            self._forward(trip, trip.frames)
            self._settle()
        elif isinstance(decision, InjectError):
            self._forward(trip, self._instead(trip, decision.sqlstate))
            return True
        return False

    def _instead(self, trip: RoundTrip, sqlstate: str) -> list[Frame]:
        """Return frames that raise the error in place of the round trip, after a rollback in place of a commit.

        The client gets no answer to the rollback. A failed Query and a failed extended query are answered alike.
        """
        raised = frames.query(f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{sqlstate}'; END $$")
        if not trip.commits:
            return [raised]
        self._swallow = 1
        return [frames.query("ROLLBACK"), raised]

    def _forward(self, trip: RoundTrip, sent: Iterable[Frame]) -> None:
        with self._state:
            # A client that began to copy by an extended query syncs twice, and the server drops the first.
            if not (self._copying and trip.extended):
                self._pending.append(trip)
        self._send(sent)

    def _send(self, sent: Iterable[Frame]) -> None:
        assert self._server is not None, "a client opens before it asks"
        self._server.sendall(b"".join(frame.data for frame in sent))

    def _settle(self) -> None:
        """Wait until every round trip is answered, or the connection is over."""
        with self._state:
            self._state.wait_for(lambda: self._over or not self._pending)

    def _drain(self) -> None:
        if self._down is not None:
            self._down.join(GONE_SECONDS)

    def _bring_back(self) -> None:
        """Carry frames from the server to the client, until either is gone."""
        assert self._server is not None
        incoming = Frames()
        with suppress(OSError):
            while data := self._server.recv(CHUNK):
                kept = [frame for frame in incoming.feed(data) if self._heard(frame)]
                if kept:
                    self._client.sendall(b"".join(frame.data for frame in kept))
        self.end()

    def _heard(self, frame: Frame) -> bool:
        """Note what a frame of the server's says of the session. Return True if the client is to get it."""
        if frame.kind == frames.KEY_DATA:
            self.pid = frames.backend(frame)
        if self._swallow:
            self._swallow -= frame.kind == frames.READY
            return False
        if frame.kind == frames.ERROR and not self._mute:
            self.raised = frames.sqlstate(frame)
        if frame.kind in (frames.READY, frames.COPY_IN, frames.COPY_BOTH):
            self._answered(frame.kind)
        return not self._mute

    def _answered(self, kind: bytes) -> None:
        with self._state:
            trip = self._pending[0] if self._pending else None
            copying = kind != frames.READY
        if trip is not None and not copying:
            self._interceptor().answered(self, trip)
        with self._state:
            self._copying = copying
            if trip is not None and (not copying or self._mute):
                self._pending.popleft()
            self._state.notify_all()


def _connect(upstream: Address) -> socket.socket:
    if isinstance(upstream, str):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(upstream)
        return server
    server = socket.create_connection(upstream)
    _without_delay(server)
    return server


def _without_delay(connection: socket.socket) -> None:
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
