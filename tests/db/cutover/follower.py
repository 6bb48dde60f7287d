"""A stand-in for the service in tests of the move's states: it follows the pointer and really opens the store.

The real service takes a second to start; hundreds of states are set up and ended here. It answers /readyz as a process
that was restarted after the pointer was written last, and says what the store itself says of its fence.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dotenv import dotenv_values

from game.errors import StoreFailure
from game.service.openapi import ABILITIES
from game.stores import open_store

NO_PROCESS = 1 << 23
"""An id above the largest that Linux gives: no process of this machine is taken for a service of the test."""


@contextmanager
def following(env_file: Path) -> Iterator[str]:
    """The base URL of a service that follows the pointer in the file, for as long as the block lasts."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_ready(env_file)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: the standard error is the test's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def restart(env_file: Path) -> str:
    """The hook `restart` of such a service."""
    return f"touch {env_file}.restarted"


def _ready(env_file: Path) -> dict[str, object]:
    restarted = Path(f"{env_file}.restarted")
    since = restarted.stat().st_mtime_ns if restarted.exists() else 0
    started = datetime.fromtimestamp(since / 1e9, UTC).isoformat()
    process = {"pid": NO_PROCESS + since % 1_000_000_007, "started": started, "abilities": ABILITIES}
    url = dotenv_values(env_file).get("DATABASE_URL") or ""
    try:
        with closing(open_store(url, pool_size=1)) as store:
            status = store.status()
    except StoreFailure as error:
        return {**process, "engine": "", "store": "", "fence": str(error)}
    return {**process, "engine": status.engine, "store": status.store, "fence": status.fence}
