"""Commands come to a store's threads in turn: the others wait on the loop, and take nothing that reads need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from db.samples import builders
from game.service.admission import ON_THE_FILE
from game.service.app import commands_at_once
from game.service.metrics import Metrics
from game.unit_of_work import Engine, Store, Unit
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.playing_on_stores import Failing, lost
from tests.game.service.running import eventually
from tests.game.service.serving import OPERATOR, act, assert_problem, bearer, client_of
from tests.game.service.test_metrics import value

POOL = 10
PLAYERS = [f"p{n}" for n in range(3 * POOL)]
AT_ONCE: dict[Engine, int] = {"legacy": ON_THE_FILE, "postgres": commands_at_once(POOL)}


class Stopped(Failing):
    """A store whose commands wait at their beginning; `entered` counts the threads that came there."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "", lost())
        self.gate, self.entered = threading.Event(), 0

    @contextmanager
    def begin(self, fence_pass: str | None = None) -> Iterator[Unit]:
        self.entered += 1
        self.gate.wait()
        with super().begin(fence_pass) as unit:
            yield unit

    def state(self, player: str) -> object:
        return self.store.state(player)


@pytest.fixture(params=AT_ONCE)
def stopped(request: pytest.FixtureRequest) -> Stopped:
    place: LegacyPlace | PostgresPlace = request.getfixturevalue(request.param)
    for player in PLAYERS:
        place.put(builders.player(player, mail={"m1": {"gold": 50}}))
    return Stopped(place.store)


def test_so_many_commands_are_at_work_as_the_store_carries_out_at_once(stopped: Stopped) -> None:
    most, metrics = AT_ONCE[stopped.engine], Metrics()
    with (
        client_of(stopped, metrics=metrics, pool_size=POOL, hold_seconds=100.0) as client,
        ThreadPoolExecutor(len(PLAYERS)) as threads,
    ):
        try:
            asked = [threads.submit(act, client, player=player, headers=bearer(player)) for player in PLAYERS]
            eventually(lambda: waiting(metrics, len(PLAYERS) - most))
            assert stopped.entered == most
            assert client.get(f"/players/{PLAYERS[0]}", headers=OPERATOR).is_success, "a read needs no turn"
        finally:
            stopped.gate.set()
        assert {one.result().status_code for one in asked} == {HTTPStatus.OK}
        assert value(client, "sudamr_pool_waiting") == 0


def test_who_gets_no_turn_in_time_is_answered(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("game.service.app.TURN_SECONDS", 0.05)
    most = AT_ONCE[stopped.engine]
    with client_of(stopped, pool_size=POOL, hold_seconds=0.05) as client, ThreadPoolExecutor(most) as threads:
        try:
            asked = [threads.submit(act, client, player=one, headers=bearer(one)) for one in PLAYERS[:most]]
            eventually(lambda: entered(stopped, most))
            assert_problem(act(client, player=PLAYERS[most], headers=bearer(PLAYERS[most])), "store_unavailable")
        finally:
            stopped.gate.set()
        assert {one.result().status_code for one in asked} == {HTTPStatus.OK}
        again = act(client, player=PLAYERS[most], headers=bearer(PLAYERS[most]))
        assert again.json()["replayed"] is False


def waiting(metrics: Metrics, count: int) -> None:
    assert metrics.pool_waiting._value.get() == count


def entered(stopped: Stopped, count: int) -> None:
    assert stopped.entered == count
