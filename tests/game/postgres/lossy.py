"""A TCP proxy before a server that swallows the answer to a statement, and closes: a reply lost on its way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lossy:
    """Forwards bytes both ways. Once `statement` is set, the first answer to it is read and dropped."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.statement: bytes | None = None
        self.lost = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def serve(self) -> None:
        with suppress(OSError):  # The listener is closed at the end.
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        server = socket.create_connection(self.target)
        struck = threading.Event()
        threading.Thread(target=self._back, args=(server, client, struck), daemon=True).start()
        with suppress(OSError):
            while data := client.recv(65536):
                if self.statement is not None and self.statement in data:
                    self.statement = None
                    struck.set()
                server.sendall(data)
        _end(server)

    def _back(self, server: socket.socket, client: socket.socket, struck: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if struck.is_set():
                    self.lost += 1
                    break
                client.sendall(data)
        _end(client)
        _end(server)


def _end(connection: socket.socket) -> None:
    """Closing alone would wait for the thread that reads from it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def lossy(target: tuple[str, int]) -> Iterator[Lossy]:
    """A proxy on a port of its own."""
    proxy = Lossy(target)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.listener.close()
