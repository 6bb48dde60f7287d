"""Requests that meet the window of a move wait on the loop; each is answered once, by the store that is open then."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from httpx import Client
from structlog.testing import capture_logs

from db.ops.fence import new_pass
from db.samples import builders
from game.legacy import sqlite_values
from game.service import holding
from game.service.metrics import Metrics
from game.service.problems import PLANNED
from game.unit_of_work import Engine
from tests.game.service.running import eventually
from tests.game.service.serving import HANA, OPERATOR, act, assert_problem, bearer, client_of
from tests.game.service.test_metrics import value
from tests.game.two_stores import OTHER_ENGINE, POOL, TwoStores, two_stores

__all__ = ["two_stores"]

PATIENT = 100.0
BURST = 200
PLACES = 4 * POOL


@contextmanager
def serving(two: TwoStores, first: Engine = "legacy", *, hold_seconds: float = PATIENT) -> Iterator[Client]:
    """A process on both stores, which is ready to serve the other one."""
    metrics = Metrics()
    with (
        two.pair(first, metrics) as pair,
        client_of(pair, metrics=metrics, pool_size=POOL, hold_seconds=hold_seconds, connections=2 * BURST) as client,
    ):
        pair.served.warm()  # On a busy machine the first connections take longer than a request waits for one.
        eventually(lambda: next_is_ready(client))
        yield client


def next_is_ready(client: Client) -> None:
    assert client.get("/readyz").json()["next"]["ready"]


def served(client: Client) -> str:
    return str(client.get("/readyz").json()["engine"])


def held(client: Client, count: int) -> None:
    assert value(client, "sudamr_held_requests") == count


def ended(client: Client, end: str) -> float:
    return value(client, "sudamr_holds_total", hold=end)


@pytest.fixture
def hana(two_stores: TwoStores) -> TwoStores:
    two_stores.legacy.put(builders.player("hana", **HANA))
    return two_stores


class Burst:
    """Requests of many players at once, each on a connection of its own, by a thread of ours."""

    def __init__(
        self, client: Client, players: Sequence[str], bearer: Callable[[str], dict[str, str]] = bearer
    ) -> None:
        self.client, self.players, self.bearer = client, players, bearer
        self.thread = ThreadPoolExecutor(1)
        self.answers = self.thread.submit(asyncio.run, self._all())

    async def _all(self) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self.client.base_url, timeout=120, limits=limits) as client:
            return await asyncio.gather(*(self._one(client, player) for player in self.players))

    async def _one(self, client: httpx.AsyncClient, player: str) -> httpx.Response:
        headers = {"Idempotency-Key": "r1", **self.bearer(player)}
        return await client.post(f"/players/{player}/actions/claim_mail", json={"mail": "m1"}, headers=headers)

    def end(self) -> list[httpx.Response]:
        """Wait for the answers of all players and return them in the players' order."""
        try:
            return self.answers.result()
        finally:
            self.thread.shutdown()


@pytest.mark.parametrize("first", ["legacy", pytest.param("postgres", marks=pytest.mark.core)])
def test_a_burst_is_held_over_the_window_and_each_is_answered_once(two_stores: TwoStores, first: Engine) -> None:
    players = [f"p{n}" for n in range(BURST)]
    for player in players:
        two_stores.legacy.put(builders.player(player, gold=1, mail={"m1": {"gold": 50}}))
    if first == "postgres":
        two_stores.cut_over()
    window = two_stores.cutting_over if first == "legacy" else two_stores.rolling_back
    with serving(two_stores, first) as client:
        with window():
            burst = Burst(client, players)
            eventually(lambda: held(client, BURST))
        answers = burst.end()
        assert {answer.status_code for answer in answers} == {HTTPStatus.OK}, {answer.text for answer in answers}
        assert [answer.json()["replayed"] for answer in answers] == [False] * BURST
        again = [act(client, player=player, headers=bearer(player)).json() for player in players]
        assert again == [{**answer.json(), "replayed": True} for answer in answers]
        shown = [client.get(f"/players/{player}", headers=OPERATOR).json() for player in players]
        assert {one["users"][0]["gold"] for one in shown} == {51}
        assert served(client) == OTHER_ENGINE[first]
        assert (ended(client, "released"), ended(client, "timed_out"), ended(client, "too_many")) == (BURST, 0, 0)
        assert value(client, "sudamr_hold_seconds_count") == BURST
        held(client, 0)
        for engine in OTHER_ENGINE:
            assert value(client, "sudamr_serves", engine=engine) == (engine != first)


def test_a_burst_that_finds_every_thread_waiting_for_the_mover_is_held_too(two_stores: TwoStores) -> None:
    """Those at work find the fence beside the mover's lock; those behind them find it by a look."""
    players = [f"p{n}" for n in range(3 * PLACES)]
    for player in players:
        two_stores.legacy.put(builders.player(player, mail={"m1": {"gold": 50}}))
    with serving(two_stores) as client:
        with two_stores.cutting_over(), closing(sqlite_values.connect(two_stores.legacy.path)) as mover:
            mover.execute("BEGIN IMMEDIATE")
            burst = Burst(client, players)
            eventually(lambda: held(client, len(players)))
            mover.rollback()
        assert {answer.status_code for answer in burst.end()} == {HTTPStatus.OK}
        assert value(client, "sudamr_refusals_total", code="too_busy") == 0


def test_more_than_can_be_carried_out_without_a_window_are_turned_away_as_ever(two_stores: TwoStores) -> None:
    players = [f"p{n}" for n in range(3 * PLACES)]
    for player in players:
        two_stores.legacy.put(builders.player(player, mail={"m1": {"gold": 50}}))
    with serving(two_stores) as client:
        with closing(sqlite_values.connect(two_stores.legacy.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            burst = Burst(client, players)
            eventually(lambda: turned_away(client, len(players) - PLACES))
            other.rollback()
        codes = [answer.status_code for answer in burst.end()]
        assert codes.count(HTTPStatus.OK) == PLACES


def turned_away(client: Client, count: int) -> None:
    assert value(client, "sudamr_refusals_total", code="too_busy") == count


def test_a_move_that_is_given_up_lets_the_held_go_on_where_they_were(hana: TwoStores) -> None:
    with serving(hana) as client, ThreadPoolExecutor() as threads:
        hana.close("legacy")
        waiting = threads.submit(act, client)
        eventually(lambda: held(client, 1))
        hana.open("legacy")
        assert waiting.result().json()["replayed"] is False
        assert served(client) == "legacy"


@pytest.mark.parametrize(("state", "code"), [("fenced", "fenced"), ("moved", "moved")])
def test_a_window_that_does_not_end_is_a_503_and_later_requests_do_not_wait(
    hana: TwoStores, state: Any, code: str
) -> None:
    with serving(hana, hold_seconds=0.3) as client:
        first = act(client)
        hana.close("legacy", state)
        assert_problem(act(client, "equip", "r2", item="fan"), code)
        assert ended(client, "timed_out") == 1
        assert_problem(act(client, "equip", "r3", item="fan"), code)
        assert (ended(client, "timed_out"), ended(client, "refused")) == (1, 1)
        if state == "fenced":
            assert act(client).json() == {**first.json(), "replayed": True}
        assert value(client, "sudamr_requests_total", action="equip", end=PLANNED[code]) == 2


def test_more_than_may_be_held_are_a_503_at_once(hana: TwoStores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HELD_A_SECOND", 2 / PATIENT)
    players = ["p1", "p2"]
    for player in players:
        hana.legacy.put(builders.player(player, mail={"m1": {"gold": 50}}))
    with serving(hana) as client:
        with hana.cutting_over():
            burst = Burst(client, players)
            eventually(lambda: held(client, 2))
            assert_problem(act(client), "too_busy")
            assert ended(client, "too_many") == 1
        assert {answer.status_code for answer in burst.end()} == {HTTPStatus.OK}


def test_a_fence_that_names_no_store_of_the_process_is_answered_at_once(hana: TwoStores) -> None:
    with serving(hana) as client:
        for peer in (None, "a third"):
            hana.turn("legacy", "fenced", peer)
            assert_problem(act(client), "fenced")
            assert client.get("/players/hana").is_success
            hana.turn("legacy", "moved", peer)
            assert_problem(act(client), "moved")
            assert_problem(client.get("/players/hana"), "moved")


def test_who_bears_the_pass_is_not_held(hana: TwoStores) -> None:
    token = new_pass()
    with serving(hana) as client:
        hana.close("legacy", pass_token=token)
        assert act(client, headers={"X-Fence-Pass": token, **OPERATOR}).is_success
        wrong = {"X-Fence-Pass": new_pass(), **OPERATOR}
        assert_problem(act(client, "equip", "r2", headers=wrong, item="fan"), "fenced")


def test_a_player_is_shown_in_the_window_and_waits_only_where_the_store_has_moved(hana: TwoStores) -> None:
    with serving(hana) as client, ThreadPoolExecutor() as threads:
        with hana.cutting_over():
            assert client.get("/players/hana").json()["users"][0]["gold"] == HANA["gold"]
            hana.close("legacy", "moved")
            waiting = threads.submit(client.get, "/players/hana")
            eventually(lambda: held(client, 1))
        assert waiting.result().json()["users"][0]["gold"] == HANA["gold"]
        assert served(client) == "postgres"


def test_a_player_is_never_shown_what_is_old_already(hana: TwoStores) -> None:
    """Postgres is open, and another process has granted there; the file only says that it is fenced."""
    with serving(hana) as client:
        with hana.cutting_over():
            pass
        hana.close("legacy", "fenced")
        with client_of(hana.postgres.store) as another:
            assert act(another).is_success
            assert client.get("/players/hana").json()["users"][0]["gold"] == HANA["gold"] + 50
            # The store that served it is this test's own, and is closed with the client.


def test_what_was_granted_before_the_move_is_answered_after_it_and_after_the_way_back(hana: TwoStores) -> None:
    with serving(hana) as client:
        first = act(client).json()
        hana.cut_over()
        assert act(client).json() == {**first, "replayed": True}
        second = act(client, "equip", "r2", item="fan").json()
        assert second["replayed"] is False
        assert served(client) == "postgres"
        hana.roll_back()
        assert act(client).json() == {**first, "replayed": True}
        assert act(client, "equip", "r2", item="fan").json() == {**second, "replayed": True}
        assert served(client) == "legacy"


def test_a_client_that_goes_away_while_it_is_held_leaves_no_trace(hana: TwoStores) -> None:
    with serving(hana) as client:
        with hana.cutting_over():
            body = json.dumps({"mail": "m1"})
            head = [
                "POST /players/hana/actions/claim_mail HTTP/1.1",
                "Host: game",
                "Idempotency-Key: r1",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *(f"{name}: {value}" for name, value in bearer("hana").items()),
            ]
            port = client.base_url.port
            assert port is not None
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
                eventually(lambda: held(client, 1))
            eventually(lambda: held(client, 0))
            assert ended(client, "left") == 1
        rows = hana.postgres.store.read("hana")
        assert rows is not None
        assert rows["action_receipts"] == {}
        assert act(client).json()["replayed"] is False


@pytest.mark.parametrize("first", ["legacy", "postgres"])
def test_a_process_that_starts_late_finds_the_game_where_it_is(hana: TwoStores, first: Engine) -> None:
    hana.cut_over()
    if first == "postgres":
        hana.roll_back()
    with serving(hana, first) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["engine"]) == (HTTPStatus.OK, OTHER_ENGINE[first])
        assert (ready.json()["next"]["engine"], ready.json()["next"]["fence"]) == (first, "moved")
        assert act(client).json()["replayed"] is False


def test_a_change_of_stores_is_one_line_of_the_log(hana: TwoStores) -> None:
    with serving(hana) as client, capture_logs() as lines:
        hana.cut_over()
        act(client)
        act(client, "equip", "r2", item="fan")
    changes = [line for line in lines if line["event"] == "store_changed"]
    assert len(changes) == 1
    assert changes[0]["engine"] == "postgres"
    assert changes[0]["left"] == hana.identity("legacy")
    assert changes[0]["serves"] == hana.identity("postgres")
    assert not [line for line in lines if line["log_level"] in ("warning", "error")]


def test_without_another_store_readiness_says_null(hana: TwoStores) -> None:
    with client_of(hana.legacy.store) as client:
        assert client.get("/readyz").json()["next"] is None
