"""A move hears from the service how long requests take, and nothing that answers otherwise harms it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from urllib.parse import parse_qsl, urlsplit

import pytest

from db.cutover import listening
from db.transfer.live.leeway import LEAST_REQUESTS, LEAST_SHARE, Leeway
from game.service.metrics import Metrics

PATIENCE_SECONDS = 60
NOTHING = (0.0, 0.0)
ANOTHERS = ["", "<html></html>", '{"detail":"Not Found"}', "Service Unavailable", "{ , ={{ ", "up 1"]
"""The answers of other programs; the fifth is one that the parser of metrics raises IndexError for."""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "EVERY_SECONDS", 0.001)


def counted(requests: float, seconds: float) -> str:
    """Return what a process says that has answered so many requests in so many seconds, of two actions."""
    return "\n".join(
        f'sudamr_request_seconds_{what}{{action="{action}"}} {value / 2}'
        for what, value in (("count", requests), ("sum", seconds))
        for action in ("equip", "show")
    )


@contextmanager
def answering(*answers: str | None) -> Iterator[tuple[str, list[str]]]:
    """A process that gives these answers, the last one for ever; None ends the connection. Yield its URL, and the paths
    that it is asked for."""
    left, asked = list(answers), []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is None:
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing: the standard error is the caller's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Ear(Leeway):
    """A leeway that hands on what it is told. rests: so many times it says that it rests."""

    def __init__(self, rests: int = 0) -> None:
        self.notes: Queue[tuple[float, float]] = Queue()
        self.rests = rests
        super().__init__()

    @property
    def is_resting(self) -> bool:
        self.rests -= 1
        return self.rests >= 0

    @is_resting.setter
    def is_resting(self, _value: bool) -> None: ...

    def note(self, requests: float, seconds: float, during: float) -> None:
        assert during > 0
        self.notes.put((requests, seconds))

    def heard(self, times: int) -> list[tuple[float, float]]:
        """Return what it is told so many times."""
        notes = [self.notes.get(timeout=PATIENCE_SECONDS) for _ in range(times)]
        return [(requests, pytest.approx(seconds)) for requests, seconds in notes]


def heard(times: int, *processes: tuple[str | None, ...]) -> list[tuple[float, float]]:
    """Return what a leeway is told that listens to processes that answer so."""
    ear = Ear()
    with ExitStack() as stack:
        urls = [stack.enter_context(answering(*answers))[0] for answers in processes]
        stack.enter_context(listening.listening(urls, ear))
        return ear.heard(times)


def test_what_the_counters_of_all_processes_have_grown_by_is_noted() -> None:
    one = counted(100, 1.0), counted(130, 1.6), counted(140, 1.8)
    another = counted(1000, 9.0), counted(1000, 9.0), counted(1002, 9.5)
    assert heard(4, one, another) == [NOTHING, (30, 0.6), (12, 0.7), NOTHING]


def test_the_service_is_asked_for_nothing_else_and_says_it_under_these_names() -> None:
    before, after = Metrics(), Metrics()
    for metrics, times in ((before, 1), (after, 3)):
        for _ in range(times):
            metrics.seconds.labels("show").observe(0.25)
            metrics.seconds.labels("equip").observe(0.5)
    names = [listening.COUNT, listening.SECONDS]
    ear = Ear()
    with answering(*(metrics.text(names).decode() for metrics in (before, after))) as (url, asked):
        with listening.listening([f"{url}/"], ear):
            assert ear.heard(3) == [NOTHING, (4, 1.5), NOTHING]
        assert {urlsplit(path).path for path in asked} == {"/metrics"}
        assert parse_qsl(urlsplit(asked[0]).query) == [("name[]", name) for name in names]


def test_a_process_that_was_restarted_is_left_out_until_it_has_answered_twice() -> None:
    restarted = counted(100, 1.0), counted(5, 0.5), counted(15, 0.9)
    other = counted(0, 0.0), counted(1, 0.1), counted(2, 0.2)
    assert heard(3, restarted, other) == [NOTHING, (1, 0.1), (11, 0.5)]


@pytest.mark.parametrize("answer", [None, *ANOTHERS])
def test_a_process_that_does_not_say_it_once_does_no_harm(answer: str | None) -> None:
    """What it has answered up to then is not new when it says it again."""
    silent = counted(100, 1.0), answer, counted(200, 3.0), counted(230, 3.6)
    other = counted(0, 0.0), counted(1, 0.1), counted(2, 0.2), counted(3, 0.3)
    assert heard(4, silent, other) == [NOTHING, (1, 0.1), (1, 0.1), (31, 0.7)]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:port", "nothing"])
def test_a_process_that_is_away_does_no_harm(url: str) -> None:
    ear = Ear()
    with answering(counted(0, 0.0), counted(1, 0.1)) as (other, _), listening.listening([url, other], ear):
        assert ear.heard(2) == [NOTHING, (1, 0.1)]


def test_who_answered_before_and_answers_no_more_may_have_too_much_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    ear.usual = 0.1
    monkeypatch.setattr(ear, "begin", lambda: None)
    answers = counted(0, 0.0), None, None, counted(5, 0.5), counted(6, 0.7)
    with answering(*answers) as (url, _), listening.listening([url], ear):
        assert ear.heard(1) == [(1, 0.2)], "that nobody plays is not known"


def test_nobody_is_asked_while_the_move_rests() -> None:
    ear = Ear(rests=5)
    with answering(counted(0, 0.0)) as (url, asked), listening.listening([url], ear):
        assert ear.heard(1) == [NOTHING]
        assert ear.rests < 0, "somebody was asked before the rest was over"
        assert asked


def test_it_begins_with_the_least_share_and_its_thread_ends_with_the_block() -> None:
    with answering(counted(0, 0.0), counted(LEAST_REQUESTS, 0.1)) as (url, _):
        leeway = Leeway()
        with suppress(ZeroDivisionError), listening.listening([url], leeway):
            assert leeway.share == LEAST_SHARE
            assert threads() == 1
            raise ZeroDivisionError
        assert threads() == 0


def threads() -> int:
    return len([thread for thread in threading.enumerate() if thread.name == "listening"])


def shares(*processes: tuple[str | None, ...]) -> tuple[float, float]:
    """Return the share after the first answers, and after the second ones."""
    noted: list[float] = []
    told = threading.Event()

    class Noting(Leeway):
        def note(self, requests: float, seconds: float, during: float) -> None:
            noted.append(self.share)
            if len(noted) == 3:
                told.set()
            super().note(requests, seconds, during)

    with ExitStack() as stack:
        urls = [stack.enter_context(answering(*answers))[0] for answers in processes]
        stack.enter_context(listening.listening(urls, Noting()))
        assert told.wait(PATIENCE_SECONDS)
    return noted[1], noted[2]


def test_a_game_that_nobody_plays_leaves_the_move_all_the_time_at_once() -> None:
    unplayed = (counted(100, 1.0),)
    assert shares(unplayed, unplayed) == (LEAST_SHARE, 1.0)


@pytest.mark.parametrize("other", [counted(1, 0.1), None], ids=["one that answers requests", "one that is silent"])
def test_one_process_that_may_be_played_on_is_enough_for_a_careful_beginning(other: str | None) -> None:
    assert shares((counted(100, 1.0),), (counted(0, 0.0), other)) == (LEAST_SHARE, LEAST_SHARE)
