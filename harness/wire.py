"""A PostgreSQL wire proxy that sees every round trip of code that runs unmodified, and decides what comes of it.

A round trip is a Query, or all up to a Sync: BEGIN and COMMIT are each one. Both directions run at once, as COPY and
pipelines need; TLS and GSS are declined, so the server must take a plain connection. Two threads a connection; a round
trip costs some 0.1 ms more. Clients in the same process cancel with `cancel_safe`: `cancel` holds the interpreter.
"""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from game.urls import PostgresUrl
from harness import frames
from harness.frames import Frame, Frames, Statements

CHUNK = 1 << 16
SHOWN, SHOWN_END = 100, 30
GONE_SECONDS = 10.0
"""How long a connection that was ended may take to be gone; longer is a defect of the proxy's, or of its judge's."""

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a socket."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Let the round trip through."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection: the server never sees it."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Let the server carry it out, and close the connection in place of its answer."""


@dataclass(frozen=True, slots=True)
class Raise:
    """Have the server itself raise an error in place of it. One in place of a COMMIT rolls back, as a real one does."""

    sqlstate: str


Verdict: TypeAlias = Pass | Cut | Lose | Raise


@dataclass(frozen=True, slots=True)
class Trip:
    """A round trip as the client sent it, `number` from 0 on its connection; `frames` less what it flushed before."""

    number: int
    sql: str
    frames: tuple[Frame, ...]

    @property
    def verb(self) -> str:
        """Its first word, in capitals."""
        found = re.match(r"\s*(\w+)", self.sql)
        return found[1].upper() if found else ""

    @property
    def commits(self) -> bool:
        """Whether it ends a transaction and keeps it."""
        return self.verb in ("COMMIT", "END")

    @property
    def short(self) -> str:
        """The SQL on one line, as much of it as a line takes: how it begins, and how it ends."""
        line = " ".join(self.sql.split())
        return line if len(line) <= SHOWN else f"{line[: SHOWN - SHOWN_END]} … {line[-SHOWN_END:]}"

    @property
    def extended(self) -> bool:
        """Whether it ends with a Sync."""
        return self.frames[-1].kind == frames.SYNC


class Judge(Protocol):
    """Who decides. It is asked on the connection's own thread, and may wait; the answer to others is not held up."""

    def judge(self, session: Session, trip: Trip) -> Verdict:
        """What comes of the round trip."""
        ...

    def answered(self, session: Session, trip: Trip) -> None:
        """The server has answered it; the client, unless the answer is to be lost, is about to hear."""
        ...


class Open:
    """Lets everything through."""

    def judge(self, session: Session, trip: Trip) -> Verdict:
        """Always Pass."""
        del session, trip
        return Pass()

    def answered(self, session: Session, trip: Trip) -> None:
        """Nothing to note."""


def address(url: PostgresUrl) -> Address:
    """Where the server of a URL listens."""
    return f"{url.host}/.s.PGSQL.{url.port}" if url.host.startswith("/") else (url.host, url.port)


class Proxy:
    """Listens on a port of its own before one server. `judge` may be changed between round trips."""

    def __init__(self, upstream: Address, judge: Judge | None = None) -> None:
        self.upstream = upstream
        self.judge: Judge = judge or Open()
        self._sessions: set[Session] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name=f"wire {self.port}", daemon=True)
        self._accepting.start()

    def url(self, url: PostgresUrl) -> PostgresUrl:
        """The same database, by way of the proxy."""
        parameters = tuple(pair for pair in url.parameters if pair[0] != "sslmode")
        return url.with_(host="127.0.0.1", port=self.port, parameters=(*parameters, ("sslmode", "disable")))

    @property
    def sessions(self) -> list[Session]:
        """The connections that are open."""
        with self._lock:
            return list(self._sessions)

    def close(self) -> None:
        """End every connection and every thread; whoever judges must not be waiting any more."""
        self._closed = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass  # Closing a socket does not wake who accepts on it; a caller does.
        self._accepting.join(GONE_SECONDS)
        self._listener.close()
        for session in self.sessions:
            session.end()
        for session in self.sessions:
            session.join(GONE_SECONDS)
        stuck = [session for session in self.sessions if session.is_alive()]
        assert not stuck, f"a judge still waits for round trips of {stuck}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closed:
                client.close()
                return
            session = Session(self, client)
            with self._lock:
                self._sessions.add(session)
            session.start()

    def _forget(self, session: Session) -> None:
        with self._lock:
            self._sessions.discard(session)


class Session(threading.Thread):
    """One client's connection and ours to the server, and what is under way on them."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        super().__init__(name=f"wire {proxy.port} up", daemon=True)
        self.pid: int | None = None
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._down: threading.Thread | None = None
        self._state = threading.Condition()
        self._pending: deque[Trip] = deque()
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
        """Whether the server owes an answer."""
        return bool(self._pending)

    def await_end(self) -> None:
        """Wait until the server has ended the connection, on its own account."""
        with self._state:
            assert self._state.wait_for(lambda: self._over, GONE_SECONDS), f"the server still serves {self}"

    def run(self) -> None:
        """From the client to the server, until either is gone."""
        try:
            self._serve(Frames(opening=True))
        except OSError:
            self._drain()  # What the server said last, that it was told to end, say, is still for the client.
        finally:
            self.end()
            if self._down is not None:
                self._down.join(GONE_SECONDS)
            self._close()
            self._proxy._forget(self)

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
        """Whether the connection goes on after this frame of the client's."""
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
        """The client's first words: encryption is declined, all else goes to a server of its own."""
        if frame.code in (frames.SSL_REQUEST, frames.GSSENC_REQUEST):
            self._client.sendall(b"N")
            return True
        self._server = _connect(self._proxy.upstream)
        self._server.sendall(frame.data)
        if frame.code == frames.CANCEL_REQUEST:
            self._server.recv(1)  # The server closes once it has passed the request on; so do we.
            return False
        self._down = threading.Thread(target=self._bring_back, name=f"wire {self._proxy.port} down", daemon=True)
        self._down.start()
        return True

    def _proven(self) -> bool:
        """Whether the server has let the client in; what is said before that are passwords."""
        return self.pid is not None

    def _round_trip(self) -> bool:
        trip = Trip(self._count, self._statements.of(self._batch), tuple(self._batch[self._flushed :]))
        self._count, self._batch, self._flushed = self._count + 1, [], 0
        verdict = self._proxy.judge.judge(self, trip)
        if isinstance(verdict, Pass):
            self._forward(trip, trip.frames)
            return True
        self._settle()
        if isinstance(verdict, Lose):
            self._mute = True
            self._forward(trip, trip.frames)
            self._settle()
        elif isinstance(verdict, Raise):
            self._forward(trip, self._instead(trip, verdict.sqlstate))
            return True
        return False

    def _instead(self, trip: Trip, sqlstate: str) -> list[Frame]:
        """An error and a ReadyForQuery are what a failed Query and a failed extended query are answered with alike."""
        raised = frames.query(f"DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{sqlstate}'; END $$")
        if not trip.commits:
            return [raised]
        self._swallow = 1
        return [frames.query("ROLLBACK"), raised]

    def _forward(self, trip: Trip, sent: Iterable[Frame]) -> None:
        with self._state:
            # A client that began to copy by an extended query syncs twice, and the server drops the first.
            if not (self._copying and trip.extended):
                self._pending.append(trip)
        self._send(sent)

    def _send(self, sent: Iterable[Frame]) -> None:
        assert self._server is not None, "a client opens before it asks"
        self._server.sendall(b"".join(frame.data for frame in sent))

    def _settle(self) -> None:
        """Wait until the server owes nothing."""
        with self._state:
            self._state.wait_for(lambda: self._over or not self._pending)

    def _drain(self) -> None:
        if self._down is not None:
            self._down.join(GONE_SECONDS)

    def _bring_back(self) -> None:
        """From the server to the client, until either is gone."""
        assert self._server is not None
        incoming = Frames()
        with suppress(OSError):
            while data := self._server.recv(CHUNK):
                kept = [frame for frame in incoming.feed(data) if self._heard(frame)]
                if kept:
                    self._client.sendall(b"".join(frame.data for frame in kept))
        self.end()

    def _heard(self, frame: Frame) -> bool:
        """Whether the client is to hear it."""
        if frame.kind == frames.KEY_DATA:
            self.pid = frames.backend(frame)
        if self._swallow:
            self._swallow -= frame.kind == frames.READY
            return False
        if frame.kind in (frames.READY, frames.COPY_IN, frames.COPY_BOTH):
            self._answered(frame.kind)
        return not self._mute

    def _answered(self, kind: bytes) -> None:
        with self._state:
            trip = self._pending[0] if self._pending else None
            copying = kind != frames.READY
        if trip is not None and not copying:
            self._proxy.judge.answered(self, trip)
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
