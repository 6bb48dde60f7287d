"""Doors that were tried and held: the operator's token, the fence's pass, and keys of others."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpx import Client

from db.ops.fence import new_pass
from db.samples import builders
from game.service import tokens
from tests.game.places import Place
from tests.game.service.serving import OPERATOR, TOKEN, TOKEN_SECRET, act, assert_problem, bearer, client_of

LETTERS = {f"m{n}": {"gold": 2**n} for n in range(8)}

NEARLY: dict[str, Callable[[str], str]] = {
    "cut": lambda secret: secret[:-1],
    "longer": lambda secret: f"{secret}0",
    "in capitals": lambda secret: secret.swapcase(),
    "its SHA-256": lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
    "backwards": lambda secret: secret[::-1],
    "twice": lambda secret: f"{secret},{secret}",
    "in quotation marks": lambda secret: f'"{secret}"',
    "beyond ASCII": lambda secret: f"{secret}\xe9",
    "very long": lambda secret: secret * 500,
    "a wildcard": lambda _secret: "%",
    "SQL": lambda _secret: "' or '1'='1",
}
"""Texts that are nearly a secret, from the secret itself."""


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    for name in ("hana", "mina"):
        place.put(builders.player(name, gold=0, mail=LETTERS))
    with client_of(place.store) as client:
        yield client


@pytest.mark.parametrize("name", [*NEARLY, "a player's token"])
def test_what_is_nearly_the_operators_token_opens_nothing(client: Client, name: str) -> None:
    given = tokens.issue(TOKEN_SECRET, TOKEN) if name not in NEARLY else NEARLY[name](TOKEN)
    headers = {"Authorization": f"Bearer {given}".encode("latin-1")}
    answer = client.get("/players/hana", headers=headers)
    assert answer.json()["code"] in ("token_needed", "token_of_another")
    assert act(client, headers=OPERATOR, mail="m0").is_success


def test_what_is_nearly_the_pass_lets_nobody_through(place: Place, client: Client) -> None:
    old, token = new_pass(), new_pass()
    place.fence(pass_token=old)
    place.fence(pass_token=token)
    before = place.store.read("hana")
    for name, nearly in {**NEARLY, "the last one": lambda _: old, "the operator's token": lambda _: TOKEN}.items():
        headers = {"X-Fence-Pass": nearly(token).encode("latin-1"), **OPERATOR}
        answer = act(client, key="r1", headers=headers, mail="m0")
        assert (name, answer.status_code) == (name, 503)
        assert_problem(answer, "fenced")
    assert_problem(act(client, headers={"X-Fence-Pass": token, **bearer("hana")}, mail="m0"), "pass_refused")
    assert_problem(act(client, headers={"X-Fence-Pass": "", **OPERATOR}, mail="m0"), "fenced")
    assert place.store.read("hana") == before
    assert act(client, headers={"X-Fence-Pass": token, **OPERATOR}, mail="m0").is_success


def test_a_pass_is_none_once_its_fence_is_lifted_or_has_another(place: Place, client: Client) -> None:
    token = new_pass()
    place.fence(pass_token=token)
    place.lift()
    place.fence()
    assert_problem(act(client, headers={"X-Fence-Pass": token, **OPERATOR}, mail="m0"), "fenced")


def test_a_key_that_two_players_chose_is_two_keys(client: Client) -> None:
    for player in ("hana", "mina"):
        answers = [act(client, player=player, headers=bearer(player), mail="m3").json() for _ in range(2)]
        assert [answer["replayed"] for answer in answers] == [False, True]
        (user,) = client.get(f"/players/{player}", headers=bearer(player)).json()["users"]
        assert user["gold"] == 8


def test_of_bodies_with_one_key_at_once_one_is_carried_out(client: Client) -> None:
    letters = list(LETTERS)[:4]  # A player's share of the places at once is four.
    with ThreadPoolExecutor(len(letters)) as threads:
        answers = list(threads.map(lambda mail: act(client, key="k", mail=mail).json(), letters))
    ended = Counter(answer.get("code", "granted") for answer in answers)
    assert ended == {"granted": 1, "request_reused": len(letters) - 1}
    (user,) = client.get("/players/hana").json()["users"]
    assert user["gold"] in {LETTERS[mail]["gold"] for mail in letters}
