"""Whatever is sent instead of a request: 4xx with a code, and every row as it was. Over HTTP, on both stores."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from httpx import Client

from db.samples import builders
from game.rows import compare
from game.rules.commands import COMMANDS
from game.service.traffic import LARGEST_BODY
from tests.game.places import Place
from tests.game.service.serving import HANA, act, assert_problem, bearer, client_of

SQL = "'; DROP TABLE users; --"
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    -(10**30),
    [],
    {},
    [[]],
    "",
    SQL,
    "\0",
    "a\0b",
    "\ud800",
    "x" * 60_000,
    "\u202e",
]
TOO_MUCH = LARGEST_BODY + 1


class Watched:
    """A service, and whether anything was changed behind it."""

    def __init__(self, client: Client, place: Place) -> None:
        self.client = client
        self._place = place
        self._before = place.store.read("hana")

    def assert_unchanged(self) -> None:
        after = self._place.store.read("hana")
        assert self._before is not None
        assert after is not None
        assert compare(self._before, after) == {}


@pytest.fixture
def service(place: Place) -> Iterator[Watched]:
    place.put(builders.player("hana", **HANA))
    with client_of(place.store) as client:
        service = Watched(client, place)
        yield service
        service.assert_unchanged()


def send(client: Client, content: bytes | Iterator[bytes], action: str = "equip", **headers: str) -> Any:
    given = {"Idempotency-Key": "r1", "Content-Type": "application/json", **headers}
    return client.post(f"/players/hana/actions/{action}", content=content, headers=given)


@pytest.mark.parametrize("action", COMMANDS)
def test_a_field_of_anything_is_refused_with_a_code(service: Watched, action: str) -> None:
    schema = service.client.get("/openapi.json").json()["paths"][f"/players/{{player}}/actions/{action}"]["post"]
    names = schema["requestBody"]["content"]["application/json"]["schema"]["properties"]
    for value in ODD:
        if action == "save_preset" and value in (SQL, "\u202e"):
            continue  # A preset may be called that; below it is.
        # An action without fields would be granted an empty body: it is given one field too many.
        fields = {**dict.fromkeys(names, value)} or {"surplus": value}
        answer = send(service.client, json.dumps(fields).encode(), action)
        assert answer.is_client_error, (value, answer.text)
        assert answer.json()["code"] != "method_not_allowed"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"m1"',
        b"null",
        b"\xff",
        b'{"item": NaN}',
        b'{"item": Infinity}',
        b'{"item": 1' + b"0" * 6000 + b"}",
        b"[" * 30_000,
        b'{"item":' * 7_000,
        '{"item": "fan"}'.encode("utf-16"),
        b'{"item": "fan"',
        b'{"item": "fan"} {}',
        b'{"item": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"item": "fan", "\\u0000": 1}',
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_a_body_of_anything_is_a_bad_request(service: Watched, content: bytes) -> None:
    assert_problem(send(service.client, content), "bad_request")


def test_what_only_python_takes_for_json_is_none(service: Watched) -> None:
    for constant in (b"NaN", b"Infinity", b"-Infinity"):
        answer = send(service.client, b'{"item": ' + constant + b"}")
        assert answer.json()["detail"] == "expected a body of JSON, each key once"


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", ""])
def test_a_body_that_is_not_said_to_be_json_is_not_read(service: Watched, content_type: str) -> None:
    assert_problem(send(service.client, b'{"item": "fan"}', **{"Content-Type": content_type}), "not_json")


def test_a_body_too_large_is_refused_whole(service: Watched) -> None:
    assert_problem(send(service.client, b'{"item": "' + b"x" * 10_000_000 + b'"}'), "body_too_large")
    assert_problem(send(service.client, iter([b'{"item": "', b"x" * 10_000_000, b'"}'])), "body_too_large")
    assert_problem(send(service.client, b" " * TOO_MUCH), "body_too_large")
    assert_problem(send(service.client, b" " * LARGEST_BODY), "bad_request")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused_before_all_of_it_is_there(service: Watched, chunked: bool) -> None:
    """The rest of the body never comes: who waited for it would wait for good."""
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 10000000"
    address = service.client.base_url
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        connection.sendall(f"POST /players/hana/actions/equip HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        if chunked:
            connection.sendall(f"{TOO_MUCH:x}\r\n".encode() + b"x" * TOO_MUCH + b"\r\n")
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "connection: close" in answer.lower()


@pytest.mark.parametrize("key", [None, "", "two words", "x" * 201, "é".encode()])
def test_without_a_usable_key_nothing_is_done(service: Watched, key: str | bytes | None) -> None:
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer = service.client.post("/players/hana/actions/equip", json={"item": "fan"}, headers=headers)
    assert_problem(answer, "idempotency_key_needed")


@pytest.mark.parametrize("player", [SQL, "-1", "%2e%2e", "x" * 10_000])
def test_a_player_of_anything_is_not_found(service: Watched, player: str) -> None:
    given = bearer("hana")
    answer = service.client.get(f"/players/{player}", headers=given)
    assert answer.status_code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


def test_a_preset_may_be_called_what_it_likes(place: Place) -> None:
    place.put(builders.player("hana", **HANA))
    with client_of(place.store) as client:
        assert act(client, "save_preset", name=SQL).json()["outcome"]["name"] == SQL
    rows = place.store.read("hana")
    assert rows is not None
    assert [key[1] for key in rows["user_equipment_presets"]] == [SQL]


def test_a_string_of_sql_is_only_a_string(service: Watched) -> None:
    assert_problem(act(service.client, key=f"'{SQL}".replace(" ", ""), mail=SQL), "no_such_mail")
    assert_problem(act(service.client, "equip", key="r2", item=SQL), "no_such_item")
