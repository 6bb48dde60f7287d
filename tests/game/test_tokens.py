"""Bearer tokens: each opens its own player, the operator's opens all, and nothing else opens anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from httpx import Client
from hypothesis import given
from hypothesis import strategies as st
from places import Place
from serving import HANA, OPERATOR, TOKEN_SECRET, act, assert_problem, bearer, client_of

from db import builders
from game.service import tokens

PLAYERS = st.text(st.characters(codec="utf-8"), max_size=50)


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    for name in ("hana", "mina"):
        place.put(builders.player(name, **HANA))
    with client_of(place.store) as client:
        yield client


@given(player=PLAYERS)
def test_a_token_names_its_player_and_goes_into_a_header(player: str) -> None:
    token = tokens.issue(TOKEN_SECRET, player)
    assert token.isascii()
    assert token.isprintable()
    assert tokens.owner(TOKEN_SECRET, token) == player
    assert tokens.owner("another-secret-of-16", token) is None


@given(token=st.text(st.characters(codec="latin-1"), max_size=80))
def test_what_nobody_issued_is_nobodys(token: str) -> None:
    assert tokens.owner(TOKEN_SECRET, token) is None


def test_a_token_with_a_changed_character_is_nobodys() -> None:
    token = tokens.issue(TOKEN_SECRET, "hana")
    for n, character in enumerate(token):
        changed = token[:n] + ("A" if character != "A" else "B") + token[n + 1 :]
        assert tokens.owner(TOKEN_SECRET, changed) is None
    assert tokens.owner(TOKEN_SECRET, f"{token} ") is None


def test_a_players_token_opens_that_player_alone(client: Client) -> None:
    assert client.get("/players/mina", headers=bearer("mina")).is_success
    assert act(client, player="mina", headers=bearer("mina")).is_success
    assert_problem(client.get("/players/mina"), "token_of_another")
    assert_problem(act(client, player="mina", key="r2"), "token_of_another")
    assert_problem(client.get("/players/nobody"), "token_of_another")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer x", "Basic aGFuYTp4", f"Token {'x' * 20}", "Bearer \xe9.\xff"]
)
def test_without_a_good_token_nothing_is_told_and_nothing_done(client: Client, given: str | None) -> None:
    del client.headers["Authorization"]
    headers = {} if given is None else {"Authorization": given.encode("latin-1")}
    for player in ("hana", "nobody"):
        assert_problem(client.get(f"/players/{player}", headers=headers), "token_needed")
        assert_problem(client.post(f"/players/{player}/actions/claim_mail", headers=headers), "token_needed")
        assert_problem(client.post(f"/players/{player}/actions/fly", headers=headers), "token_needed")
    assert act(client, headers=bearer("hana")).json()["replayed"] is False


def test_the_operators_token_opens_every_player(client: Client) -> None:
    for player in ("hana", "mina"):
        assert client.get(f"/players/{player}", headers=OPERATOR).is_success
        assert act(client, player=player, headers=OPERATOR).is_success
    assert_problem(client.get("/players/nobody", headers=OPERATOR), "no_such_player")


def test_probes_ask_for_no_token(client: Client) -> None:
    del client.headers["Authorization"]
    assert all(client.get(path).is_success for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"))
