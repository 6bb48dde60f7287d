"""A service that answers as it is told to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]] | None
"""A status and a body, or None: the connection is closed without an answer."""


class FakeService:
    """Answers as the rule given says, from how often it was asked under the same player and key."""

    def __init__(self, rule: Callable[[str, int], Answer]) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.bodies: dict[tuple[str, str], set[bytes]] = {}
        self._rule = rule
        self._lock = threading.Lock()

    def answer(self, path: str, key: str, body: bytes) -> Answer:
        player = path.split("/")[2]
        with self._lock:
            self.asked[player, key] += 1
            self.bodies.setdefault((player, key), set()).add(body)
            return self._rule(key, self.asked[player, key])


@contextmanager
def served(service: FakeService) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = service.answer(self.path, self.headers["Idempotency-Key"], body)
            if answer is None:
                self.close_connection = True
                return
            text = json.dumps(answer[1]).encode()
            try:
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True  # A client that went away is what this is about.

        def log_message(self, *_args: object) -> None:
            """Log nothing: the test reads the answers."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
