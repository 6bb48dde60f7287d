"""A PostgreSQL wire proxy that sees every round trip of code that runs unmodified, and decides what comes of it.

A round trip is a Query, or all up to a Sync: BEGIN and COMMIT are each one. Two threads a connection; a round trip
costs some 0.1 ms more. Clients in the same process cancel with `cancel_safe`: `cancel` holds the interpreter.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

from game.urls import PostgresUrl
from harness.wire.round_trips import Decision, Pass, RoundTrip
from harness.wire.session import GONE_SECONDS, Address, Interceptor, ProxySession


class Open:
    """An interceptor that lets every round trip through."""

    def intercept(self, session: ProxySession, trip: RoundTrip) -> Decision:
        """Let the round trip through."""
        del session, trip
        return Pass()

    def answered(self, session: ProxySession, trip: RoundTrip) -> None:
        """Do nothing with an answered round trip."""


def address(url: PostgresUrl) -> Address:
    """Return the address on which the server of a URL listens."""
    return f"{url.host}/.s.PGSQL.{url.port}" if url.host.startswith("/") else (url.host, url.port)


class Proxy:
    """Listens on a port of its own before one server. `interceptor` may be changed between round trips."""

    def __init__(self, upstream: Address, interceptor: Interceptor | None = None) -> None:
        self.upstream = upstream
        self.interceptor: Interceptor = interceptor or Open()
        self._sessions: set[ProxySession] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name=f"wire {self.port}", daemon=True)
        self._accepting.start()

    def url(self, url: PostgresUrl) -> PostgresUrl:
        """Return the URL of the same database, by way of the proxy."""
        parameters = tuple(pair for pair in url.parameters if pair[0] != "sslmode")
        return url.with_(host="127.0.0.1", port=self.port, parameters=(*parameters, ("sslmode", "disable")))

    @property
    def sessions(self) -> list[ProxySession]:
        """Return the connections that are open."""
        with self._lock:
            return list(self._sessions)

    def close(self) -> None:
        """End every connection and every thread; no interceptor may be waiting any more."""
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
        assert not stuck, f"an interceptor still waits for round trips of {stuck}"

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
            session = ProxySession(client, self.upstream, lambda: self.interceptor, self._forget, f"wire {self.port}")
            with self._lock:
                self._sessions.add(session)
            session.start()

    def _forget(self, session: ProxySession) -> None:
        with self._lock:
            self._sessions.discard(session)
