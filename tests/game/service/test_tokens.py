"""Bearer tokens: each opens its own player, the operator's opens all, and nothing else opens anything."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator

import pytest
from httpx import Client
from hypothesis import given
from hypothesis import strategies as st

from db.samples import builders
from game.service import tokens
from game.service.tokens import BadToken, Rules
from tests.game.places import Place
from tests.game.service.serving import HANA, OPERATOR, TOKEN_SECRET, act, assert_problem, bearer, client_of

PLAYERS = st.text(st.characters(codec="utf-8"), max_size=50)
NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
RULES = Rules(lifetime_ms=7 * DAY_MS)


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    for name in ("hana", "mina"):
        place.put(builders.player(name, **HANA))
    with client_of(place.store) as client:
        yield client


def opens(token: str, rules: Rules = RULES, *, secret: str = TOKEN_SECRET, at_ms: int = NOW_MS) -> str | None:
    """Return whom the token opens; None if nobody."""
    try:
        return tokens.owner(secret, token, rules, at_ms=at_ms)
    except BadToken:
        return None


def issued(at_ms: int = NOW_MS, player: str = "hana") -> str:
    return tokens.issue(TOKEN_SECRET, player, issued_ms=at_ms)


def signed(text: str, algorithm: str = "sha256", secret: str = TOKEN_SECRET) -> str:
    return hmac.digest(secret.encode(), text.encode(), algorithm).hex()


def named(player: str) -> str:
    return urlsafe_b64encode(player.encode()).decode().rstrip("=")


@given(player=PLAYERS)
def test_a_token_names_its_player_and_goes_into_a_header(player: str) -> None:
    token = issued(player=player)
    assert token.isascii()
    assert token.isprintable()
    assert opens(token) == player
    assert opens(token, secret="another-secret-of-16") is None


def test_a_login_service_can_issue_tokens_by_the_rule_of_the_docs() -> None:
    mark = hmac.new(b"0123456789abcdef", b"token\x001800000000000\0" + "하나".encode(), hashlib.sha256).hexdigest()
    token = f"7ZWY64KY.1800000000000.{mark}"
    assert token == tokens.issue("0123456789abcdef", "하나", issued_ms=NOW_MS)
    assert mark == "085998e523bd7f80066f126d36c766b12f19bf17ea5dc43227b2b1179c6006b8"


@given(token=st.text(st.characters(exclude_categories=()), max_size=80))
def test_what_nobody_issued_is_nobodys(token: str) -> None:
    assert opens(token) is None


@given(at_ms=st.integers(), player=PLAYERS, undated=st.booleans(), secret=st.text(max_size=20))
def test_what_another_secret_signed_is_nobodys(at_ms: int, player: str, undated: bool, secret: str) -> None:
    token = tokens.issue_undated(secret, player) if undated else tokens.issue(secret, player, issued_ms=at_ms)
    assert opens(token, Rules(lifetime_ms=10**17, undated_until_ms=NOW_MS + 1)) is None


def test_a_token_with_a_changed_character_is_nobodys() -> None:
    token = issued()
    for n, character in enumerate(token):
        changed = token[:n] + ("1" if character != "1" else "2") + token[n + 1 :]
        assert opens(changed) is None
        assert opens(token[:n]) is None
    for other_token in (
        f"{token} ",
        f" {token}",
        f"{token}.",
        f"{token}\0",
        token.upper(),
        token.replace(".", "..", 1),
    ):
        assert opens(other_token) is None


def test_a_token_is_good_from_its_issue_until_its_lifetime_is_over() -> None:
    for at_ms, good in (
        (NOW_MS, True),
        (NOW_MS - tokens.LEEWAY_MS, True),
        (NOW_MS - tokens.LEEWAY_MS - 1, False),
        (NOW_MS + RULES.lifetime_ms - 1, True),
        (NOW_MS + RULES.lifetime_ms, False),
        (NOW_MS + 10**15, False),
        (0, False),
    ):
        assert (at_ms, opens(issued(), at_ms=at_ms)) == (at_ms, "hana" if good else None)


def test_a_revocation_ends_the_tokens_of_one_player_until_its_time() -> None:
    rules = Rules(revoked_ms={"hana": NOW_MS}.get)
    assert opens(issued(NOW_MS), rules, at_ms=NOW_MS + 1) is None
    assert opens(issued(NOW_MS - 1), rules, at_ms=NOW_MS + 1) is None
    assert opens(issued(NOW_MS + 1), rules, at_ms=NOW_MS + 1) == "hana"
    assert opens(issued(NOW_MS, "mina"), rules, at_ms=NOW_MS + 1) == "mina"


def test_a_token_of_the_old_form_is_good_until_the_day_that_is_set_and_never_once_its_player_is_revoked() -> None:
    old = tokens.issue_undated(TOKEN_SECRET, "hana")
    assert opens(old) is None
    assert opens(old, Rules(undated_until_ms=NOW_MS + 1)) == "hana"
    assert opens(old, Rules(undated_until_ms=NOW_MS)) is None
    assert opens(old, Rules(undated_until_ms=NOW_MS + 1, revoked_ms={"hana": 1}.get)) is None


def test_an_old_token_of_a_crafted_id_signs_no_new_one() -> None:
    """Ids are the players' own choice: none makes an old token's signature that of a new token of someone else."""
    rules = Rules(undated_until_ms=NOW_MS + 1)
    for crafted in (f"{named('hana')}.{NOW_MS}", f"token{NOW_MS}hana", f"token.{NOW_MS}.hana", f"{NOW_MS}.hana"):
        mark = tokens.issue_undated(TOKEN_SECRET, crafted).rpartition(".")[2]
        assert opens(f"{named('hana')}.{NOW_MS}.{mark}", rules) is None


def test_tokens_of_the_secret_before_are_good_while_it_is_named() -> None:
    before = tokens.issue("the-secret-until-now", "hana", issued_ms=NOW_MS)
    assert opens(before) is None
    assert opens(before, Rules(previous_secret="the-secret-until-now")) == "hana"
    assert opens(issued(), Rules(previous_secret="the-secret-until-now")) == "hana"


FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "a word": lambda: "x",
    "dots": lambda: "..",
    "many dots": lambda: "." * 500,
    "without its signature": lambda: f"{named('hana')}.{tokens.now_ms()}.",
    "without its name": lambda: tokens.issue(TOKEN_SECRET, "hana").partition(".")[2],
    "cut": lambda: tokens.issue(TOKEN_SECRET, "hana")[:-1],
    "of an algorithm called none, as in a JWT": lambda: "eyJhbGciOiJub25lIn0.eyJzdWIiOiJoYW5hIn0.",
    "signed by SHA-1": lambda: now("sha1"),
    "signed by MD5": lambda: now("md5"),
    "signed by SHA-512": lambda: now("sha512"),
    "signed by no HMAC": lambda: (
        f"{named('hana')}.{tokens.now_ms()}."
        + hashlib.sha256(f"{TOKEN_SECRET}token\0{tokens.now_ms()}\0hana".encode()).hexdigest()
    ),
    "signed by an empty secret": lambda: tokens.issue("", "hana"),
    "in capitals": lambda: tokens.issue(TOKEN_SECRET, "hana").upper(),
    "with another time": lambda: later(tokens.issue(TOKEN_SECRET, "hana", issued_ms=1)),
    "with a time that begins with 0": lambda: tokens.issue(TOKEN_SECRET, "hana").replace(".", ".0", 1),
    "with a signed time": lambda: tokens.issue(TOKEN_SECRET, "hana").replace(".", ".+", 1),
    "of a time below 0": lambda: tokens.issue(TOKEN_SECRET, "hana", issued_ms=-1),
    "of a huge time": lambda: tokens.issue(TOKEN_SECRET, "hana", issued_ms=10**400),
    "with a padded name": lambda: tokens.issue(TOKEN_SECRET, "hana").replace(".", "==.", 1),
    "with a name in standard base64": lambda: tokens.issue(TOKEN_SECRET, "h>??a").replace("-", "+").replace("_", "/"),
    "of a name that is no UTF-8": lambda: f"_w.{tokens.now_ms()}.{'0' * 64}",
    "with NUL in the name": lambda: f"{named('hana' + chr(0))}.{tokens.now_ms()}.{'0' * 64}",
    "of another player, renamed": lambda: named("hana") + "." + tokens.issue(TOKEN_SECRET, "mina").partition(".")[2],
    "in Latin-1": lambda: "\xe9.\xff.\xb2",
    "of digits beyond ASCII": lambda: f"{named('hana')}.\xb2\xb3.{'0' * 64}",
    "of 20 KB": lambda: f"{named('하나' * 2500)}.{tokens.now_ms()}.{'0' * 64}",
    "expired": lambda: tokens.issue(TOKEN_SECRET, "hana", issued_ms=tokens.now_ms() - tokens.LIFETIME_SECONDS * 1000),
    "of a time to come": lambda: tokens.issue(TOKEN_SECRET, "hana", issued_ms=tokens.now_ms() + 60_000),
    "of the old form": lambda: tokens.issue_undated(TOKEN_SECRET, "hana"),
    "the secret itself": lambda: TOKEN_SECRET,
}
"""Tokens that open nothing, though some are nearly right; made at the time of use."""


def now(algorithm: str) -> str:
    at_ms = tokens.now_ms()
    return f"{named('hana')}.{at_ms}.{signed(f'token{chr(0)}{at_ms}{chr(0)}hana', algorithm)}"


def later(token: str) -> str:
    player, _, mark = token.split(".")
    return f"{player}.{tokens.now_ms()}.{mark}"


def test_no_forged_token_opens_anything(client: Client) -> None:
    del client.headers["Authorization"]
    assert opens(now("sha256"), at_ms=tokens.now_ms()) == "hana", "the helper that forges signs rightly"
    for name, forge in FORGED.items():
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {forge()}".rstrip().encode("latin-1")}
            for player in ("hana", "nobody"):
                answer = client.get(f"/players/{player}", headers=headers)
                assert (name, answer.status_code) == (name, 401)
                assert_problem(answer, "token_needed")
                assert_problem(act(client, player=player, headers=headers), "token_needed")
    assert act(client, headers=bearer("hana")).json()["replayed"] is False


def test_a_token_beyond_the_size_of_a_head_is_refused_before_it_is_looked_at(client: Client) -> None:
    answer = client.get("/players/hana", headers={"Authorization": f"Bearer {'a' * 200_000}"})
    assert_problem(answer, "head_too_large")


def test_why_a_token_is_no_longer_good_is_told_to_who_bears_a_signed_one(place: Place) -> None:
    place.put(builders.player("hana", **HANA))
    revoked = {"hana": tokens.now_ms()}
    with client_of(place.store, token_rules=Rules(revoked_ms=revoked.get)) as client:
        for token, detail in (
            (tokens.issue(TOKEN_SECRET, "hana", issued_ms=revoked["hana"]), "the token is revoked; sign in again"),
            (tokens.issue(TOKEN_SECRET, "hana", issued_ms=1), "the token has expired; sign in again"),
            (tokens.issue("another-secret-of-16", "hana", issued_ms=1), tokens.NOBODYS),
        ):
            answer = client.get("/players/hana", headers={"Authorization": f"Bearer {token}"})
            assert_problem(answer, "token_needed")
            assert answer.json()["detail"] == detail
        assert client.get("/players/hana", headers=bearer("hana")).is_success
        assert client.get("/players/hana", headers=OPERATOR).is_success


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
