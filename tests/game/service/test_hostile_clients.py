"""Clients that mean harm: each attack runs against the real service while an honest player plays, within a bound."""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from db import ops
from db.samples import builders
from db.web import authorities
from game import tables
from game.service import tokens
from game.service.connections import LINGER_BYTES
from game.service.logs import Sparing
from game.service.metrics import Closed
from harness.databases import Databases
from tests.game.places import Place, PostgresPlace
from tests.game.service.attacked import DESCRIPTORS, MAIL, MOST_GROWTH, Attacked, attacked, memory, put_players
from tests.game.service.hostile import (
    AMBIGUOUS,
    BODY,
    GOOD,
    HEAD,
    LENGTH,
    TOKEN,
    UNUSUAL,
    all_closed,
    connections,
    everything,
    send,
    status,
)
from tests.game.service.running import BEARER, PATIENCE_SECONDS, TOKEN_SECRET, Running, eventually

STORES = ("postgres", "legacy")
HALF = b"POST /players/hana/actions/claim_mail HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
SHARE = 4
"""Requests at once of one player; see `game.service.app`."""

SLOTS = 40
"""Requests at once that a service with the default pool carries out."""


LARGE = b" " * 4_000_000
CHUNK = b"%x\r\n%b\r\n" % (60_000, b" " * 60_000)
LARGE_HEAD = HEAD + b"Host: a\r\n" + GOOD + b"Content-Length: %d\r\n\r\n" % len(LARGE)
REFUSED_EARLY = {
    "a declared body": (LARGE_HEAD + LARGE, b"413"),
    "a body in chunks": (HEAD + b"Host: a\r\n" + GOOD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 60, b"413"),
    "a long head": (HEAD + b"Host: a\r\nX-A: " + LARGE, b"431"),
    "no HTTP": (b"no HTTP at all\r\n\r\n" + LARGE, b"400"),
    "an answer before the body": (LARGE_HEAD.replace(b"/players/hana/actions/claim_mail", b"/healthz") + LARGE, b"404"),
}
"""Requests that are answered before they are whole, and the status of their one answer."""


@pytest.fixture(scope="module", params=STORES)
def shared(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attacked]:
    """One service for each store: no attack ends it."""
    with attacked(request.param, databases, tmp_path_factory.mktemp("attacked")) as made:
        yield made


@pytest.fixture
def place(shared: Attacked) -> Place:
    """The store of the shared service, empty."""
    shared.empty()
    return shared.place


@pytest.fixture
def running(shared: Attacked, place: Place) -> Iterator[Running]:
    """The shared service, with two players on it; whole after the attack too."""
    put_players(place)
    yield shared.running
    shared.assert_whole()


@pytest.fixture(params=STORES)
def fresh(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Running]:
    """A service of the test's own, which has left no line out of its log yet."""
    with attacked(request.param, databases, tmp_path) as made:
        yield made.running


def test_who_never_reads_his_answers_keeps_nobody_out(running: Running, place: Place) -> None:
    bearer = f"Bearer {tokens.issue(TOKEN_SECRET, 'mallory')}"
    ask = f"GET /players/mallory HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n".encode()
    before = memory(running)
    with connections(running, SLOTS + 2, receive_bytes=4096) as attackers:
        for attacker in attackers:
            attacker.sendall(ask * 50)
        assert granted(running, 5) == ["granted"] * 5
        assert probes(running) == [200, 200]
        eventually(lambda: all_closed(attackers))
    assert memory(running) - before < MOST_GROWTH
    assert granted(running, 10)[5:] == ["granted"] * 5


@pytest.mark.core
def test_half_requests_and_idle_sockets_take_no_descriptor_from_others(running: Running) -> None:
    before = len(running.log.splitlines())
    with connections(running, DESCRIPTORS) as attackers:
        for attacker in attackers[::2]:
            send(attacker, HALF)
        assert granted(running, 5) == ["granted"] * 5
        assert probes(running) == [200, 200]
        eventually(lambda: all_closed(attackers))
    assert len(running.log.splitlines()) - before < 60


@pytest.mark.core
def test_one_player_takes_only_a_share_of_the_places(postgres: PostgresPlace, serve: Callable[..., Running]) -> None:
    put_players(postgres)
    running = serve(postgres.url, LOCK_TIMEOUT_MS="120000", STATEMENT_TIMEOUT_MS="120000")
    running.ready()
    bearer = {"Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, 'mallory')}"}

    def claim(n: int) -> int:
        return httpx.post(
            f"{running.public_urls[0]}/players/mallory/actions/claim_mail",
            json={"mail": f"m{n}"},
            headers={"Idempotency-Key": f"k{n}", **bearer},
            timeout=PATIENCE_SECONDS,
            verify=authorities(),
        ).status_code

    with ThreadPoolExecutor(len(MAIL)) as threads, ops.connect(postgres.database.owner) as holder:
        holder.execute("begin")
        holder.execute("select 1 from game.users where id = 'mallory' for update")
        asked = [threads.submit(claim, n) for n in range(len(MAIL))]
        turned_away = len(MAIL) - SHARE
        eventually(lambda: enough(asked, turned_away))
        assert [one.result() for one in asked if one.done()] == [503] * turned_away
        assert granted(running, 3) == ["granted"] * 3
        holder.execute("rollback")
    assert sorted({one.result() for one in asked}) == [200, 503]


def enough(asked: Sequence[Future[int]], number: int) -> None:
    assert sum(one.done() for one in asked) >= number


def test_who_was_accepted_in_a_flood_is_read_before_he_is_displaced(running: Running) -> None:
    """The process is stopped while they connect, so that it meets all of them in one turn of its loop."""
    (child,) = running.children()
    child.suspend()
    try:
        with connections(running, 1) as (honest,), connections(running, 3 * SLOTS):
            honest.sendall(b"GET /players/hana HTTP/1.1\r\nHost: a\r\n" + TOKEN + b"\r\n")
            child.resume()
            assert status(honest) == 200
    finally:
        child.resume()


def test_a_head_without_an_end_and_a_late_body_are_answered_and_closed(running: Running) -> None:
    with connections(running, 2) as (endless, late):
        send(endless, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Filler: aaaaaaaaaaaaaaaa\r\n" * 4000)
        assert status(endless) == 431
        late.sendall(HALF)
        assert status(late) == 408


def test_who_sends_all_of_a_refused_request_reads_one_answer_and_its_end(running: Running) -> None:
    for name, (request, code) in REFUSED_EARLY.items():
        with connections(running, 1) as (client,):
            client.sendall(request)
            assert (name, statuses(client)) == (name, [code])


def test_who_goes_on_sending_after_a_timeout_reads_one_answer_and_its_end(running: Running) -> None:
    early = LARGE_HEAD.replace(b"/players/hana/actions/claim_mail", b"/healthz") + b"{"
    for request, code in ((HALF, b"408"), (early, b"404")):
        with connections(running, 1) as (client,):
            client.sendall(request)
            client.recv(1, socket.MSG_PEEK)
            client.sendall(LARGE[:50])
            assert statuses(client) == [code]


def test_who_sends_for_ever_after_a_refusal_is_cut_off_and_keeps_nothing(running: Running) -> None:
    before = descriptors(running)
    with connections(running, SLOTS + 2) as attackers:
        for attacker in attackers:
            attacker.sendall(LARGE_HEAD)
        assert granted(running, 5) == ["granted"] * 5
        eventually(lambda: all_cut_off(attackers))  # A byte now and then: the time ends them.
    eventually(lambda: one_is_cut_off_by_its_bytes(running))
    eventually(lambda: few_descriptors(running, before))


def one_is_cut_off_by_its_bytes(running: Running) -> None:
    """Send as fast as the service reads. Raises AssertionError if the time ended the connection, or nothing did."""
    before = closed(running, Closed.ENDLESS)
    with connections(running, 1) as (attacker,):
        attacker.sendall(LARGE_HEAD)
        size = sent_until_cut_off(attacker)
    assert closed(running, Closed.ENDLESS) == before + 1
    assert size < 4 * LINGER_BYTES


def closed(running: Running, reason: Closed) -> float:
    """Return how many connections the service has closed for this reason."""
    text = httpx.get(f"{running.urls[0]}/metrics", timeout=PATIENCE_SECONDS, verify=authorities()).text
    counted = re.search(rf'^sudamr_connections_closed_total{{reason="{reason}"}} (\S+)', text, re.MULTILINE)
    return float(counted[1]) if counted else 0.0


def statuses(client: socket.socket) -> list[bytes]:
    """Read up to the connection's end. Raises ConnectionResetError if it is reset. Returns each answer's status."""
    answer = b""
    while part := client.recv(65536):
        answer += part
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


def sent_until_cut_off(client: socket.socket) -> int:
    """Send until the service resets the connection. Returns the number of bytes."""
    size = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while size < 16 * LINGER_BYTES:
            size += client.send(LARGE[:65536])
    return size


def all_cut_off(clients: Sequence[socket.socket]) -> None:
    """Send a byte over each connection. Raises AssertionError if one is still taken."""
    open_ones = 0
    for client in clients:
        with suppress(BrokenPipeError, ConnectionResetError):
            client.send(b" ")
            open_ones += 1
    assert not open_ones


def descriptors(running: Running) -> int:
    return sum(child.num_fds() for child in running.children())


def few_descriptors(running: Running, before: int) -> None:
    assert descriptors(running) <= before + 2  # The honest player's requests open files of the store.


def test_many_chunks_take_little_more_time_than_one(running: Running, place: Place) -> None:
    """Without a limit 50 of these take seconds of a process, and its probes and players wait as long."""
    head = b"POST /players/mallory/actions/claim_mail HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    time_of_one = time_of_requests(running, head + b"%x\r\n%b\r\n" % (200_000, b" " * 200_000))
    assert time_of_requests(running, head + b"1\r\n \r\n" * 33_000) < 4 * time_of_one + 0.3
    assert granted(running, 3) == ["granted"] * 3
    assert probes(running) == [200, 200]


def time_of_requests(running: Running, request: bytes) -> float:
    """Send the request over 50 connections, until all are closed. Returns the service's seconds of CPU."""
    before = seconds(running)
    with connections(running, 50) as attackers:
        for attacker in attackers:
            send(attacker, request)
        eventually(lambda: all_closed(attackers))
    return seconds(running) - before


def seconds(running: Running) -> float:
    return sum(sum(child.cpu_times()[:2]) for child in running.children())


def test_a_flood_of_refusals_is_a_few_lines_of_the_log(fresh: Running) -> None:
    before = len(fresh.log.splitlines())
    for _ in range(300):
        with connections(fresh, 1) as (attacker,):
            attacker.sendall(b"no HTTP at all\r\n\r\n")
            assert status(attacker) == 400
    lines = fresh.log.splitlines()[before:]
    assert len(lines) < 5 * Sparing.LINES
    assert {json.loads(line)["event"] for line in lines} == {"request_refused"}


def test_what_a_proxy_may_read_otherwise_is_refused_and_the_connection_closed(running: Running, place: Place) -> None:
    before = place.store.read("hana")
    for name, request in AMBIGUOUS.items():
        with connections(running, 1) as (attacker,):
            send(attacker, request)
            assert (name, status(attacker)) == (name, 400)
            eventually(lambda attacker=attacker: all_closed([attacker]))  # type: ignore[misc]
    assert place.store.read("hana") == before
    plain = HEAD + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY
    with connections(running, 1) as (client,):
        client.sendall(plain)
        assert status(client) == 200


def test_unusual_requests_keep_nobody_out_and_nothing_grows(running: Running) -> None:
    before, log_before = memory(running), len(running.log)
    mallory = f"Authorization: Bearer {tokens.issue(TOKEN_SECRET, 'mallory')}\r\n".encode()
    for name, request in UNUSUAL.items():
        with connections(running, SLOTS + 2) as attackers:
            for attacker in attackers:
                send(attacker, request.replace(TOKEN, mallory).replace(b"/hana", b"/mallory"))
            assert (name, granted(running, 1)) == (name, ["granted"])
    assert memory(running) - before < MOST_GROWTH
    assert len(running.log) - log_before < 2_000 * (SLOTS + 2) * len(UNUSUAL)
    assert "Traceback" not in running.log


def test_a_request_sent_before_the_last_one_is_answered_is_not_read(running: Running) -> None:
    ask = b"GET /players/hana HTTP/1.1\r\nHost: a\r\n" + TOKEN + b"\r\n"
    with connections(running, 1) as (client,):
        client.sendall(ask * 3)
        answer = everything(client)
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer.lower()


def test_what_follows_a_whole_request_does_not_take_the_place_of_its_answer(running: Running) -> None:
    with connections(running, 1) as (client,):
        client.sendall(HEAD + b"Host: a\r\n" + GOOD + LENGTH + b"\r\n" + BODY + b"no HTTP at all\r\n\r\n")
        assert status(client) == 200


def test_probes_answer_on_the_private_port_alone(running: Running) -> None:
    for path in ("/metrics", "/%6detrics", "/readyz", "/healthz", "/openapi.json", "/%72eadyz"):
        assert (
            httpx.get(f"{running.public_urls[0]}{path}", timeout=PATIENCE_SECONDS, verify=authorities()).status_code
            == 404
        ), path
        assert (
            httpx.get(f"{running.urls[0]}{path}", timeout=PATIENCE_SECONDS, verify=authorities()).status_code == 200
        ), path


def test_a_refusal_repeats_little_of_what_was_sent(running: Running) -> None:
    name = "%ED%95%9C" * 3000
    answer = httpx.get(
        f"{running.public_urls[0]}/players/{name}", headers=BEARER, timeout=PATIENCE_SECONDS, verify=authorities()
    )
    assert answer.status_code in (403, 404)
    assert len(answer.json()["detail"]) <= 201


def test_a_players_state_is_read_without_his_journals(place: Place) -> None:
    place.put(builders.player("hana", gold=1))
    state = place.store.state("hana")
    assert state is not None
    assert {name for name, rows in state.items() if rows} <= {table.name for table in tables.PLAYER_STATE}
    assert place.store.state("nobody") is None


def test_lines_of_one_kind_are_limited_and_the_next_says_how_many_were_left_out() -> None:
    clock = [0.0]
    sparing = Sparing(lambda: clock[0])
    kept = [record for record in records(100) if sparing.filter(record)]
    assert len(kept) == Sparing.LINES
    clock[0] = Sparing.SECONDS
    (late,) = records(1)
    assert sparing.filter(late)
    assert late.msg["left_out"] == 100 - Sparing.LINES  # type: ignore[call-overload,index]


def records(number: int) -> list[logging.LogRecord]:
    return [
        logging.LogRecord("game.service", logging.INFO, "", 0, {"event": "request"}, (), None)  # type: ignore[arg-type]
        for _ in range(number)
    ]


def granted(running: Running, until: int) -> list[str]:
    """An honest player claims his first letters, each over a connection of its own; how each request ended."""
    ends = []
    for n in range(until):
        answer = httpx.post(
            f"{running.public_urls[0]}/players/hana/actions/claim_mail",
            json={"mail": f"m{n}"},
            headers={"Idempotency-Key": f"honest-{n}", **BEARER},
            timeout=PATIENCE_SECONDS,
            verify=authorities(),
        )
        ends.append("granted" if answer.status_code == 200 else answer.json()["code"])
    return ends


def probes(running: Running) -> list[int]:
    return [
        httpx.get(f"{running.urls[0]}{path}", timeout=PATIENCE_SECONDS, verify=authorities()).status_code
        for path in ("/readyz", "/healthz")
    ]
