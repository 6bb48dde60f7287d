"""The HTTP face: what is answered, with which status, and what is never said."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

import game
from db.ops.fence import new_pass
from db.samples import builders
from game import tables
from game.service.problems import PROBLEMS
from tests.game.places import LegacyPlace, Place
from tests.game.playing_on_stores import Failing, lost
from tests.game.service.serving import HANA, OPERATOR, SECRET, TOKEN, act, assert_problem, client_of


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    place.put(builders.player("hana", **HANA))
    with client_of(place.store) as client:
        yield client


@pytest.fixture
def legacy_client(legacy: LegacyPlace) -> Iterator[Client]:
    legacy.put(builders.player("hana", **HANA))
    with client_of(legacy.store) as client:
        yield client


@pytest.mark.plan(28)
def test_an_action_is_granted_once_and_answered_alike(client: Client) -> None:
    outcome = {"gold": 50, "diamonds": 0, "action_points": 0, "items": {"골드 꾸러미1": 2}}
    assert act(client).json() == {"outcome": outcome, "replayed": False}
    assert act(client).json() == {"outcome": outcome, "replayed": True}
    assert_problem(act(client, key="r2"), "already_claimed")
    assert_problem(act(client, "equip", item="fan"), "request_reused")


def test_a_player_is_shown_by_table_and_without_journals(client: Client) -> None:
    act(client, "equip", item="fan")
    shown = client.get("/players/hana").json()
    assert set(shown) == {table.name for table in tables.PLAYER_STATE}
    assert shown["users"][0]["gold"] == 100
    assert shown["user_equipment"] == [
        {"user_id": "hana", "slot": "fan", "position": 0, "item_id": "fan", "kept": None}
    ]


@pytest.mark.parametrize("player", ["nobody", "%00", "a%00b", "%F0%9F%90%89", "%EF%BF%BE", "x" * 4000])
def test_nobody_is_not_found_whatever_the_name(client: Client, player: str) -> None:
    answers = [client.get(f"/players/{player}", headers=OPERATOR), act(client, player=player, headers=OPERATOR)]
    assert {answer.status_code for answer in answers} == {HTTPStatus.NOT_FOUND}


@pytest.mark.parametrize(
    ("action", "fields", "says"),
    [
        ("fly", {"x": 1}, "unknown action 'fly'; expected one of claim_mail, claim_all_mail"),
        ("equip", {"mail": "m1"}, "equip: "),
        ("equip", {"item": 5}, "equip: item: "),
        ("equip", {"item": "fan", "slot": "fan"}, "equip: slot: "),
        ("unequip", {"slot": "hat"}, "unequip: slot: "),
        ("finish_tournament", {"kind": "galactic"}, "finish_tournament: kind: "),
    ],
)
def test_a_malformed_command_says_which_field(
    legacy_client: Client, action: str, fields: dict[str, object], says: str
) -> None:
    answer = act(legacy_client, action, **fields)
    assert_problem(answer, "bad_request")
    assert answer.json()["detail"].startswith(says)


def test_a_text_that_no_store_could_hold_is_a_bad_request(legacy_client: Client) -> None:
    headers = {"Idempotency-Key": "r1", "Content-Type": "application/json"}
    answer = legacy_client.post("/players/hana/actions/equip", content=rb'{"item": "\ud800"}', headers=headers)
    assert_problem(answer, "bad_request")
    assert answer.json()["detail"].startswith("equip: item: ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"m1"', b"null", b"\xff"])
def test_a_body_that_is_no_object_is_a_bad_request(legacy_client: Client, body: bytes) -> None:
    headers = {"Idempotency-Key": "r1", "Content-Type": "application/json"}
    assert_problem(legacy_client.post("/players/hana/actions/equip", content=body, headers=headers), "bad_request")


@pytest.mark.parametrize("key", [None, "", "two words", "x" * 201])
def test_without_a_usable_key_nothing_is_done(legacy_client: Client, key: str | None) -> None:
    assert_problem(act(legacy_client, key=key), "idempotency_key_needed")
    assert act(legacy_client, key="x" * 200).json()["replayed"] is False


def test_elsewhere_is_nothing(legacy_client: Client) -> None:
    for address in ("/elsewhere", "/players/hana/", "/players/hana/actions", "/players//actions/claim_mail"):
        assert_problem(legacy_client.get(address), "not_found")


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [
        ("DELETE", "/players/hana", "GET"),
        ("GET", "/players/hana/actions/claim_mail", "POST"),
        ("PUT", "/players/hana/actions/fly", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_another_method_is_told_which_is_allowed(
    legacy_client: Client, method: str, address: str, allowed: str
) -> None:
    answer = legacy_client.request(method, address)
    assert_problem(answer, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_a_fenced_store_answers_what_it_knows_and_503_with_retry_after(place: Place, client: Client) -> None:
    first = act(client)
    place.fence()
    assert act(client).json() == {**first.json(), "replayed": True}
    assert_problem(act(client, "equip", "r2", item="fan"), "fenced")
    assert client.get("/players/hana").status_code == HTTPStatus.OK
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["fence"]) == (HTTPStatus.OK, "fenced")


def test_a_store_that_moved_is_not_ready_and_serves_nothing(place: Place, client: Client) -> None:
    act(client)
    place.fence("moved")
    assert_problem(act(client), "moved")
    assert_problem(client.get("/players/hana"), "moved")
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["fence"], ready.json()["code"]) == (503, "moved", "moved")
    assert client.get("/healthz").status_code == HTTPStatus.OK


def test_only_the_operator_passes_the_fence(place: Place, client: Client) -> None:
    token = new_pass()
    place.fence(pass_token=token)
    given = {"X-Fence-Pass": token}
    assert_problem(act(client, headers=given), "pass_refused")
    assert_problem(act(client, headers={**given, "Authorization": "Bearer guess"}), "token_needed")
    assert_problem(act(client, headers={"X-Fence-Pass": new_pass(), **OPERATOR}), "fenced")
    assert act(client, headers={**given, **OPERATOR}).status_code == HTTPStatus.OK


def test_without_an_operators_token_there_is_no_operator(legacy: LegacyPlace) -> None:
    with client_of(legacy.store, operator_token=None) as client:
        for bearer in ("", "Bearer", "Bearer None"):
            assert_problem(act(client, headers={"X-Fence-Pass": "x", "Authorization": bearer}), "token_needed")
        assert_problem(act(client, headers={"X-Fence-Pass": "x"}), "pass_refused")


def test_ready_says_which_store_is_served_and_since_when(place: Place, client: Client) -> None:
    body = client.get("/readyz").json()
    status = place.store.status()
    assert (body["engine"], body["store"], body["fence"]) == (status.engine, status.store, "open")
    assert (body["marker"], body["schema_head"]) == (status.marker, status.schema_head)
    if status.engine == "postgres":
        assert body["marker"] == "test"
        assert body["schema_head"]
    assert body["pid"] > 0
    assert client.get("/readyz").json()["started"] == body["started"]


def test_a_store_that_stays_away_is_a_503_that_may_be_asked_again(legacy: LegacyPlace) -> None:
    legacy.put(builders.player("hana", **HANA))
    store = Failing(legacy.store, "save", lost(), times=5)
    with client_of(store) as client:
        answer = act(client)
        assert_problem(answer, "store_unavailable")
        assert "connection" not in answer.json()["detail"]
        assert act(client).json()["replayed"] is False
        counted = client.get("/metrics").text
    assert 'sudamr_retries_total{code="db_unreachable"} 5.0' in counted
    assert 'sudamr_requests_total{action="claim_mail",end="failed"} 1.0' in counted
    assert 'sudamr_requests_total{action="claim_mail",end="granted"} 1.0' in counted


def test_a_defect_is_a_500_that_says_nothing_of_itself(legacy: LegacyPlace, caplog: pytest.LogCaptureFixture) -> None:
    legacy.put(builders.player("hana", **HANA))
    with (
        client_of(Failing(legacy.store, "save", ZeroDivisionError("inside"))) as client,
        caplog.at_level(logging.ERROR),
    ):
        answer = act(client)
    assert_problem(answer, "internal_error")
    assert "inside" not in answer.text


def test_refusals_are_counted_by_code_and_passes_never_logged(legacy_client: Client, capfd: Any) -> None:
    token = new_pass()
    act(legacy_client, headers={"X-Fence-Pass": token})
    act(legacy_client, headers={"Authorization": "Bearer guessing-guessing"})
    assert_problem(act(legacy_client, mail="m9"), "no_such_mail")
    counted = legacy_client.get("/metrics").text
    assert 'sudamr_refusals_total{code="no_such_mail"} 1.0' in counted
    assert 'sudamr_refusals_total{code="pass_refused"} 1.0' in counted
    assert 'sudamr_refusals_total{code="token_needed"} 1.0' in counted
    logged = "".join(capfd.readouterr())
    assert "no_such_mail" in logged
    assert not any(secret in logged + counted for secret in (token, "guessing-guessing", TOKEN, SECRET))


def test_every_code_that_the_game_refuses_with_has_a_problem() -> None:
    codes = set()
    for path in Path(game.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("Refused", "Rejected")
            )
            if named and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                codes.add(str(node.args[0].value))
    assert len(codes) > 15
    assert codes <= set(PROBLEMS)
