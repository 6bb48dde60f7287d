"""One line a request, with its id, its codes and how long it took; and never a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from db.samples import builders
from tests.game.places import PostgresPlace
from tests.game.service.running import BEARER, Running, eventually
from tests.game.service.serving import HANA

OPERATOR_TOKEN = "operator-token-of-the-tests"
PASS = "pass-of-the-tests"


def lines(running: Running, **about: object) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in running.log.splitlines()]
    return [line for line in events if line["event"] == "request" and about.items() <= line.items()]


@pytest.mark.plan(14)
def test_each_request_is_one_line_with_its_id_and_no_secret(
    postgres: PostgresPlace, serve: Callable[..., Running]
) -> None:
    postgres.put(builders.player("hana", **HANA))
    running = serve(postgres.url, OPERATOR_TOKEN=OPERATOR_TOKEN)
    running.ready()
    running.act("m1", "r1")
    running.act("m1", "r1")
    running.act("m1", "r2")
    address = f"{running.urls[0]}/players/hana?token={PASS}"
    for bearer in ("a-guess-of-a-token", OPERATOR_TOKEN):
        httpx.get(address, headers={"Authorization": f"Bearer {bearer}", "X-Fence-Pass": PASS}, timeout=20)
    httpx.get(f"{running.urls[0]}/players/Bearer {PASS}", timeout=20)
    eventually(lambda: arrived(running, 6))
    (granted,) = lines(running, end="granted", request_id="r1")
    assert granted.keys() >= {"timestamp", "level", "ms", "player", "action", "status", "path", "method"}
    assert len(lines(running, end="replayed", request_id="r1")) == 1
    (refused,) = lines(running, end="refused", request_id="r2")
    assert (refused["code"], refused["status"], refused["level"]) == ("already_claimed", 409, "info")
    token = BEARER["Authorization"].split()[1]
    secrets = (OPERATOR_TOKEN, PASS, token, "a-guess-of-a-token", postgres.database.service.password)
    assert [secret for secret in secrets if secret in running.log] == []


def arrived(running: Running, number: int) -> None:
    assert len(lines(running)) == number
