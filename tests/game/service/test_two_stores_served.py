"""The service as it runs, on two stores: what its settings may name, and moves under it without a restart."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from db.cutover import services
from db.samples import builders
from game.service import tokens
from tests.game.places import LegacyPlace
from tests.game.service.running import PATIENCE_SECONDS, TOKEN_SECRET, Running, eventually
from tests.game.service.test_holding import Burst, held
from tests.game.two_stores import TwoStores, two_stores

__all__ = ["two_stores"]

HANA = {"gold": 100, "mail": {"m1": {"gold": 50}, "m2": {"gold": 5}}}
SECRET = "hunter2hunter2"
NEXT_AWAY = f"postgresql://u:{SECRET}@127.0.0.1:1/d"


def bearer(player: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, player)}"}


def warm(running: Running) -> list[dict[str, Any]]:
    """Return what the processes say, once each is ready to serve its other store."""

    def answers() -> list[dict[str, Any]]:
        every = running.ready()
        assert all(one["next"]["ready"] for one in every), every
        return every

    return eventually(answers)


@pytest.mark.core
def test_every_process_goes_with_the_game_and_comes_back_without_a_restart(
    two_stores: TwoStores, serve: Callable[..., Running]
) -> None:
    players = [f"p{n}" for n in range(60)]
    for player in players:
        two_stores.legacy.put(builders.player(player, mail={"m1": {"gold": 50}}))
    two_stores.legacy.put(builders.player("hana", **HANA))
    running = serve(two_stores.legacy.url, processes=2, DATABASE_URL_NEXT=two_stores.postgres.url, HOLD_MS="60000")
    before = warm(running)
    assert {(one["engine"], one["next"]["engine"], one["next"]["fence"]) for one in before} == {
        ("legacy", "postgres", "fenced")
    }
    assert {one["next"]["identity"] for one in before} == {two_stores.identity("postgres")}
    for url, one in zip(running.urls, before, strict=True):
        said = services.ask(url)
        assert said is not None
        assert said.next == services.NextReady(**one["next"])
    first = running.act("m1", "r1").json()
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url)) for url in running.urls]
        with two_stores.cutting_over():
            bursts = [Burst(client, players[n::2], bearer) for n, client in enumerate(clients)]
            for client in clients:
                eventually(lambda client=client: held(client, 30))
        answers = [answer for burst in bursts for answer in burst.end()]
    assert {answer.status_code for answer in answers} == {HTTPStatus.OK}
    moved = running.ready()
    assert [(one["pid"], one["engine"], one["fence"]) for one in moved] == [
        (one["pid"], "postgres", "open") for one in before
    ]
    for process in range(2):
        assert running.act("m1", "r1", process=process).json() == {**first, "replayed": True}
    assert running.log.count('"store_changed"') == 2

    os.kill(running.process.pid, signal.SIGHUP)  # The pointer still names the file, as if a deploy were late.
    eventually(lambda: restarted(running, before))
    assert {one["engine"] for one in warm(running)} == {"postgres"}
    assert running.act("m2", "r2").json()["replayed"] is False

    two_stores.roll_back()
    for process in range(2):
        assert running.act("m2", "r2", process=process).json()["replayed"] is True
    assert {one["engine"] for one in running.ready()} == {"legacy"}


def restarted(running: Running, before: list[dict[str, Any]]) -> None:
    assert not {one["pid"] for one in before} & {one["pid"] for one in running.ready()}


def test_another_store_that_is_away_harms_nothing_and_shows_no_secret(
    legacy: LegacyPlace, serve: Callable[..., Running]
) -> None:
    legacy.put(builders.player("hana", **HANA))
    running = serve(legacy.url, DATABASE_URL_NEXT=NEXT_AWAY)
    (ready,) = running.ready()
    assert (ready["code"], ready["next"]["ready"], ready["next"]["fence"]) == ("ready", False, None)
    assert running.act("m1", "r1").json()["replayed"] is False
    eventually(lambda: logged(running, '"next_not_ready"'))
    legacy.fence()
    assert running.act("m2", "r2").status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert running.act("m1", "r1").json()["replayed"] is True
    assert SECRET not in running.log


def logged(running: Running, text: str) -> None:
    assert text in running.log


def test_a_first_store_that_is_away_is_not_left_for_another_that_is_open(
    legacy: LegacyPlace, serve: Callable[..., Running]
) -> None:
    legacy.put(builders.player("hana", **HANA))
    running = serve(NEXT_AWAY, DATABASE_URL_NEXT=legacy.url)
    (ready,) = running.ready()
    assert (ready["code"], ready["engine"]) == ("store_unavailable", "postgres")
    eventually(lambda: shown(running, legacy))
    answer = running.act("m1", "r1")
    assert (answer.status_code, answer.json()["code"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable")
    assert running.ready()[0]["engine"] == "postgres"


def shown(running: Running, legacy: LegacyPlace) -> None:
    other = running.ready()[0]["next"]
    assert (other["store"], other["fence"]) == (f"legacy:{legacy.path}", "open")
    assert not other["ready"]


@pytest.mark.parametrize("url", ["file:{folder}/game.db", "file:{folder}/link.db"])
def test_the_same_store_twice_stops_the_start(legacy: LegacyPlace, serve: Callable[..., Running], url: str) -> None:
    legacy.path.with_name("link.db").symlink_to(legacy.path)
    running = serve(legacy.url, DATABASE_URL_NEXT=url.format(folder=legacy.path.parent))
    assert running.process.wait(PATIENCE_SECONDS) == 2
    (line,) = running.log.splitlines()
    assert "DATABASE_URL_NEXT: expected another store than DATABASE_URL; found the same one" in line


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("postgresql://u@h/d", "postgresql://another:word@h:5432/d?connect_timeout=5"),
        ("postgresql://u@h/d?schema=game", "postgresql://u@h/d"),
    ],
)
def test_the_same_database_by_another_role_is_the_same_store(
    one: str, same: str, serve: Callable[..., Running]
) -> None:
    running = serve(one, DATABASE_URL_NEXT=same)
    assert running.process.wait(PATIENCE_SECONDS) == 2
    assert "found the same one" in running.log
    assert "word" not in running.log
