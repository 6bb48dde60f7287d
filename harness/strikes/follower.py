"""A stand-in for the service: it serves the store that the pointer named at its last restart.

The real service takes a second to start, and hundreds of moves are made here. It answers /readyz as a process that
began at that restart, with the fence that the store shows. Its store can be asked to carry commands out.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dotenv import dotenv_values

from game.errors import StoreFailure
from game.service.openapi import ABILITIES
from game.service.pair import ProbedStore, StorePair
from game.stores import open_probe, open_store
from game.unit_of_work import PairedStore, Store

NO_PROCESS = 1 << 23
"""An id above the largest that Linux gives: no process of this machine is taken for the service."""


def restart(env_file: Path) -> str:
    """Return the hook `restart`: from then on the store is served that the pointer names at that moment."""
    return f"cp '{env_file}' '{env_file}.next' && mv '{env_file}.next' '{env_file}.served'"


class Follower:
    """One process of the service. routed: gives for the pointer's URL the one to open the store by."""

    def __init__(self, env_file: Path, routed: Callable[[str], str] = str) -> None:
        self._served = env_file.with_name(f"{env_file.name}.served")
        self._env_file = env_file
        self._routed = routed
        self._lock = threading.Lock()
        self._pair: StorePair | None = None
        self._store: PairedStore | None = None
        self._since = -1

    def store(self) -> Store:
        """Return the store that it serves, by the service's own rule. Raises BadUrl where the pointer named none."""
        with self._lock:
            return self._opened()

    def _opened(self) -> Store:
        since = self.restarted
        if self._store is None or since != self._since:
            self._leave()
            values = dotenv_values(self._served if since else self._env_file)
            url, beside = (self._routed(values.get(name) or "") for name in ("DATABASE_URL", "DATABASE_URL_NEXT"))
            self._store, self._since = open_store(url, pool_size=2), since
            if beside:
                other = ProbedStore(open_store(beside, pool_size=2), open_probe(beside))
                self._pair = StorePair(ProbedStore(self._store, open_probe(url)), other)
                self._pair.tend()
        if self._pair is None:
            return self._store
        self._pair.look()
        return self._pair.served

    def leave(self) -> None:
        """Close the store, so that its file and its database can be replaced."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        store, self._store, pair, self._pair = self._store, None, self._pair, None
        if pair is not None:
            pair.close()
        elif store is not None:
            store.close()

    @property
    def restarted(self) -> int:
        """Return when it was restarted last, in nanoseconds; 0: never."""
        with suppress(FileNotFoundError):
            return self._served.stat().st_mtime_ns
        return 0

    def ready(self) -> dict[str, object]:
        """Return the answer of /readyz as the service gives it, from the store that is served now."""
        since = self.restarted
        started = datetime.fromtimestamp(since / 1e9, UTC).isoformat()
        process = {"pid": NO_PROCESS + since % 1_000_000_007, "started": started, "abilities": ABILITIES}
        try:
            status = self.store().status()
        except StoreFailure as error:
            return {**process, "engine": "", "store": "", "fence": str(error)}
        served = {**process, "engine": status.engine, "store": status.store, "fence": status.fence}
        return served if self._pair is None else {**served, "next": self._next(self._pair)}

    def _next(self, pair: StorePair) -> dict[str, object]:
        with self._lock:
            pair.look()
            pair.tend()
            return dataclasses.asdict(pair.next_store())


@contextmanager
def answering(ready: Callable[[], dict[str, object]]) -> Iterator[str]:
    """Yield the base URL at which /readyz answers what `ready` returns, for as long as the block lasts."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(ready()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: the standard error is the caller's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
