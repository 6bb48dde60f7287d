"""Listens to the service during a live move: how long requests take, which decides how much the move may work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from db import web
from db.transfer.live.leeway import Leeway

EVERY_SECONDS = 1.0
ANSWER_SECONDS = 2.0
END_SECONDS = 1.0
"""For the thread to end. It may wait for an answer; it ends with the process at the latest."""

COUNT, SECONDS = "sudamr_request_seconds_count", "sudamr_request_seconds_sum"
"""The metrics requested with `name[]`. An older service ignores the parameter and sends all."""

SILENT_SECONDS = 10.0
"""A service that has not answered for so long is not waited for."""


@contextmanager
def listening(urls: Sequence[str], leeway: Leeway) -> Iterator[None]:
    """Tell the leeway every second how long requests took, until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=_listen, args=(urls, leeway, ended), name="listening", daemon=True)
    leeway.begin()
    try:
        thread.start()
        yield
    finally:
        ended.set()
        thread.join(END_SECONDS)


def _listen(urls: Sequence[str], leeway: Leeway, ended: threading.Event) -> None:
    try:
        _note_requests(urls, leeway, ended)
    finally:
        leeway.free()  # However it ends: nobody would hear of requests any more.


def _note_requests(urls: Sequence[str], leeway: Leeway, ended: threading.Event) -> None:
    # trust_env=False: a proxy that the environment names must not answer for the service.
    with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, verify=web.authorities()) as client:
        before: dict[str, tuple[float, float]] = {}
        since = heard_at = time.monotonic()
        waits = 0.0  # The first answers are what the next ones are compared with.
        while not ended.wait(waits):
            waits = EVERY_SECONDS
            if leeway.is_resting:
                since = heard_at = time.monotonic()
                continue
            now = {url: heard for url in urls if (heard := _ask(client, url)) is not None}
            grown = [_grown(before[url], now[url]) for url in now if url in before]
            before, at = now, time.monotonic()
            heard_at = at if grown else heard_at
            if grown or not leeway.usual or at - heard_at > SILENT_SECONDS:
                # Who answered a moment ago, and does not now, may have too much to do.
                leeway.note(sum(count for count, _ in grown), sum(seconds for _, seconds in grown), at - since)
            if len(grown) == len(urls) and not leeway.usual and not any(count for count, _ in grown):
                leeway.free()  # Every process says that nobody plays.
            since = at


def _grown(before: tuple[float, float], now: tuple[float, float]) -> tuple[float, float]:
    """Return by how much the counters have grown; those of a process that was restarted since begin at 0 again."""
    if now[0] < before[0] or now[1] < before[1]:
        return 0.0, 0.0
    return now[0] - before[0], now[1] - before[1]


def _ask(client: httpx.Client, url: str) -> tuple[float, float] | None:
    """Return how many requests the process has answered, and how many seconds they took; None if it does not say so."""
    counted: dict[str, float] = {}
    try:
        answer = client.get(f"{url.rstrip('/')}/metrics", params=[("name[]", COUNT), ("name[]", SECONDS)])
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                counted[sample.name] = counted.get(sample.name, 0.0) + sample.value
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, IndexError):  # The parser raises both of the latter.
        return None  # Such as in a restart, or another program's answer.
    if COUNT not in counted or SECONDS not in counted:
        return None  # Taken for 0, all that the process ever answered would be new in its next answer.
    return counted[COUNT], counted[SECONDS]
