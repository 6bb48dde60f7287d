"""The service over HTTP, served by a thread of the test's own, and what its clients send."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from httpx import Client, Response

from game.rules.refusals import REFUSALS
from game.service import server as servers
from game.service import tokens
from game.service.app import create_app
from game.service.connections import Door
from game.service.metrics import Metrics
from game.service.pair import StorePair
from game.service.problems import PROBLEMS
from game.unit_of_work import Store

CONNECTIONS = 200
SECRET = secrets.token_urlsafe(16)
TOKEN_SECRET = secrets.token_urlsafe(16)
TOKEN = secrets.token_urlsafe(16)
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
HANA = {
    "gold": 100,
    "level": 30,
    "bag": {"fan": "푸른 바람 부채"},
    "mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2}}},
}


@contextmanager
def client_of(store: Store | StorePair, *, connections: int = CONNECTIONS, **options: Any) -> Iterator[Client]:
    """A client of the service on the store, over HTTP, served by a thread of ours."""
    app = create_app(store, chance_secret=SECRET, token_secret=TOKEN_SECRET, **({"operator_token": TOKEN} | options))
    listener = socket.create_server(("127.0.0.1", 0))
    door = Door(connections, private=True, metrics=options.get("metrics") or Metrics())
    server = servers.server(app, {listener.getsockname()[1]: door})
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(base_url=url, timeout=120, headers=bearer("hana")) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def bearer(player: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.issue(TOKEN_SECRET, player)}"}


def act(
    client: Client,
    action: str = "claim_mail",
    key: str | None = "r1",
    headers: dict[str, str] | None = None,
    player: str = "hana",
    **fields: object,
) -> Response:
    given = ({} if key is None else {"Idempotency-Key": key}) | (headers or {})
    return client.post(f"/players/{player}/actions/{action}", json=fields or {"mail": "m1"}, headers=given)


def assert_problem(answer: Response, code: str) -> None:
    problem = PROBLEMS[code]
    body = answer.json()
    shown = answer.status_code, body.get("status"), body.get("code")
    assert shown == (problem.status, problem.status, code), f"expected the problem {code}; found {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["title"] == problem.title
    assert set(body) - {"message"} == {"type", "title", "status", "code", "detail"}
    refusal = REFUSALS.get(code)
    assert body.get("message") == (refusal and {"ko": refusal.message, "en": refusal.title})
    assert ("retry-after" in answer.headers) is (problem.status == HTTPStatus.SERVICE_UNAVAILABLE)
    assert ("www-authenticate" in answer.headers) is (problem.status == HTTPStatus.UNAUTHORIZED)
