"""Clients in a process of their own: what they were answered comes back, and they end with whoever started them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from db.errors import Failure
from harness.bench.clients import Clients
from harness.load.scripts import Script

PLAYERS = [f"player-{n}" for n in range(20)]
BURST = 6


@contextmanager
def answering(enough: int) -> Iterator[tuple[str, threading.Event]]:
    """A service that grants everything; the event is set once so many requests have come."""
    asked, came = [], threading.Event()

    class Grants(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            asked.append(self.headers["Authorization"])
            if len(asked) >= enough:
                came.set()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815  # the name that http.server asks for

        def log_message(self, *_parts: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # Of five, connections of a burst are reset before they are accepted.

    with Server(("127.0.0.1", 0), Grants) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", came
        finally:
            server.shutdown()
            thread.join()


def clients(url: str) -> Clients:
    scripts: dict[str, Script] = {player: [("equip", {"item": "fan"})] * 50 for player in PLAYERS}
    return Clients([url], scripts, {player: f"token of {player}" for player in PLAYERS}, rate=200)


def test_every_answer_comes_back_the_bursts_too() -> None:
    with answering(enough=BURST + 10) as (url, came), clients(url) as load:
        load.burst(BURST)
        assert came.wait(60)
    assert len(load.answers) >= BURST + 10
    assert {answer.status for answer in load.answers} == {200}
    assert sum(answer.action == "show" for answer in load.answers) == BURST // 3
    assert all(answer.sent <= answer.ended for answer in load.answers)


def test_clients_end_with_what_they_were_started_for() -> None:
    def fails(load: Clients, came: threading.Event) -> None:
        with load:
            assert came.wait(60)
            raise ZeroDivisionError

    with answering(enough=1) as (url, came):
        load = clients(url)
        with pytest.raises(ZeroDivisionError):
            fails(load, came)
        assert load._process.exitcode is not None


def test_clients_whose_process_is_gone_are_a_failure() -> None:
    with answering(enough=1) as (url, _came):
        load = clients(url)
        load.__enter__()
        load._process.kill()
        load._process.join()
        with pytest.raises(Failure, match="their process ended"):
            load._hear()
        load.__exit__(Failure)
