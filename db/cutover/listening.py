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
COUNT, SECONDS = "sudamr_request_seconds_count", "sudamr_request_seconds_sum"
"""What is asked for, by the parameter that Prometheus uses for it; a service of before it answers with everything."""


@contextmanager
def listening(urls: Sequence[str], leeway: Leeway) -> Iterator[None]:
    """Tell the leeway every second how long requests took, until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=_listen, args=(urls, leeway, ended), name="listening", daemon=True)
    leeway.begin()
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _listen(urls: Sequence[str], leeway: Leeway, ended: threading.Event) -> None:
    # trust_env=False: a proxy that the environment names must not answer for the service.
    with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, verify=web.authorities()) as client:
        before: dict[str, tuple[float, float]] = {}
        since = time.monotonic()
        while not ended.wait(EVERY_SECONDS):
            if leeway.is_resting:
                continue
            now = {url: heard for url in urls if (heard := _ask(client, url)) is not None}
            grown = [_grown(before[url], now[url]) for url in now if url in before]
            before, at = now, time.monotonic()
            leeway.note(sum(count for count, _ in grown), sum(seconds for _, seconds in grown), at - since)
            since = at


def _grown(before: tuple[float, float], now: tuple[float, float]) -> tuple[float, float]:
    """Return by how much the counters have grown; those of a process that was restarted since begin at 0 again."""
    if now[0] < before[0]:
        return 0.0, 0.0
    return now[0] - before[0], now[1] - before[1]


def _ask(client: httpx.Client, url: str) -> tuple[float, float] | None:
    """Return how many requests the process has answered, and how many seconds they took; None without an answer."""
    try:
        answer = client.get(f"{url.rstrip('/')}/metrics", params=[("name[]", COUNT), ("name[]", SECONDS)])
        counted = {COUNT: 0.0, SECONDS: 0.0}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name in counted:
                    counted[sample.name] += sample.value
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None  # Such as in a restart, or another program's answer.
    return counted[COUNT], counted[SECONDS]
