"""Commands take slots of a store: the others wait on the loop, and take nothing that reads need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus

import pytest

from db.samples import builders
from game.service.admission import ON_THE_FILE
from game.service.app import WAITING_PER_CONNECTION, commands_at_once, share_of_a_player
from game.service.metrics import Metrics
from game.unit_of_work import Engine, Store, Unit
from tests.game.places import LegacyPlace, PostgresPlace
from tests.game.playing_on_stores import Failing, lost
from tests.game.service.running import eventually
from tests.game.service.serving import OPERATOR, act, assert_problem, bearer, client_of
from tests.game.service.test_metrics import value

POOL = 10
PLAYERS = [f"p{n}" for n in range(WAITING_PER_CONNECTION * POOL + 1)]
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


def test_so_many_commands_are_at_work_as_the_store_has_slots(stopped: Stopped) -> None:
    most, metrics = AT_ONCE[stopped.engine], Metrics()
    with (
        client_of(stopped, metrics=metrics, pool_size=POOL, hold_seconds=100.0) as client,
        ThreadPoolExecutor(len(PLAYERS)) as threads,
    ):
        try:
            asked = [threads.submit(act, client, player=player, headers=bearer(player)) for player in PLAYERS[:-1]]
            eventually(lambda: waiting(metrics, len(asked) - most))
            assert stopped.entered == most
            assert value(client, "sudamr_pool_waiting") == 0, "none of them waits for a connection"
        finally:
            stopped.gate.set()
        assert {one.result().status_code for one in asked} == {HTTPStatus.OK}
        assert value(client, "sudamr_slot_waiting") == 0


def test_commands_that_wait_for_slots_turn_no_read_away(stopped: Stopped) -> None:
    *players, last = PLAYERS
    metrics = Metrics()
    with (
        client_of(stopped, metrics=metrics, pool_size=POOL, hold_seconds=100.0) as client,
        ThreadPoolExecutor(len(players)) as threads,
    ):
        try:
            asked = [threads.submit(act, client, player=player, headers=bearer(player)) for player in players]
            eventually(lambda: waiting(metrics, len(players) - AT_ONCE[stopped.engine]))
            assert_problem(act(client, player=last, headers=bearer(last)), "too_busy")
            for player in (last, *players[:POOL]):
                assert client.get(f"/players/{player}", headers=OPERATOR).is_success
        finally:
            stopped.gate.set()
        assert {one.result().status_code for one in asked} == {HTTPStatus.OK}


@pytest.mark.parametrize("pool_size", range(1, 21))
def test_one_player_never_takes_every_slot_of_a_pool_of_three_or_more(pool_size: int) -> None:
    at_once, share = commands_at_once(pool_size), share_of_a_player(pool_size)
    assert 1 <= at_once <= pool_size
    assert share >= 2, "a read beside a command"
    assert share < at_once or pool_size < 3


def test_a_command_without_a_slot_in_time_is_answered_503(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("game.service.app.SLOT_SECONDS", 0.05)
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
    assert metrics.slot_waiting._value.get() == count


def entered(stopped: Stopped, count: int) -> None:
    assert stopped.entered == count
