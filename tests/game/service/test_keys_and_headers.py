"""The two forms of an Idempotency-Key, and headers that may be sent only once: over HTTP, on both stores."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from httpx import Client
from hypothesis import given
from hypothesis import strategies as st

from db.samples import builders
from game import idempotency
from game.rows import Rows, compare
from game.rules.commands import ClaimMail
from game.service import tokens
from tests.game.places import Place
from tests.game.playing_on_stores import ask
from tests.game.service.serving import HANA, OPERATOR, TOKEN_SECRET, act, assert_problem, bearer, client_of

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
TRICKY = st.text(st.sampled_from('"\\a'), min_size=1, max_size=8)


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    """A client whose player has, beside the usual, letters of one gold each: m-0, m-1 and so on."""
    letters = {f"m-{n}": {"gold": 1} for n in range(20)}
    place.put(builders.player("hana", **{**HANA, "mail": {**HANA["mail"], **letters}}))  # type: ignore[dict-item]  # a mapping
    with client_of(place.store) as client:
        yield client


def read(place: Place) -> Rows:
    rows = place.store.read("hana")
    assert rows is not None
    return rows


def gold(place: Place) -> object:
    return read(place)["users"]["hana",]["gold"]


@given(VISIBLE | TRICKY)
def test_the_other_form_of_the_other_form_is_the_key(key: str) -> None:
    sent, other = idempotency.forms(key)
    assert sent == key
    assert idempotency.forms(other) == (other, key)


@given(VISIBLE | TRICKY, VISIBLE | TRICKY)
def test_two_keys_that_share_a_form_are_forms_of_one(one: str, another: str) -> None:
    if {*idempotency.forms(one)} & {*idempotency.forms(another)}:
        assert {*idempotency.forms(one)} == {*idempotency.forms(another)}


PAIRS = [
    ("K", '"K"'),
    ("x" * 200, '"' + "x" * 200 + '"'),
    ('a"b', r'"a\"b"'),
    ("a\\b", r'"a\\b"'),
    ('"', r'"\""'),
    ('"K', r'"\"K"'),
    ('"a"b', r'"\"a\"b"'),
    ('"K";x=1', r'"\"K\";x=1"'),
    ("a,b", '"a,b"'),
    ("\\" * 200, '"' + "\\" * 400 + '"'),
]


@pytest.mark.parametrize("turned", [False, True])
def test_a_key_is_the_same_bare_and_quoted(place: Place, client: Client, turned: bool) -> None:
    for n, pair in enumerate(PAIRS):
        sent, other = reversed(pair) if turned else pair
        first, again = (act(client, key=key, mail=f"m-{n}") for key in (sent, other))
        assert (first.status_code, first.json()["replayed"]) == (200, False), pair
        assert first.json() | {"replayed": True} == again.json(), pair
        assert gold(place) == 101 + n
        assert ("hana", sent) in read(place)["action_receipts"]
        assert_problem(act(client, "equip", key=other, item="fan"), "request_reused")


def test_a_key_granted_before_is_answered_also_while_the_store_is_fenced(place: Place, client: Client) -> None:
    """By a version that took the key as it was sent."""
    for n, (bare, quoted) in enumerate(PAIRS):
        ask(place.store, ClaimMail(f"m-{n}"), bare if n % 2 else quoted)
    place.fence()
    for n, pair in enumerate(PAIRS):
        for key in pair:
            assert act(client, key=key, mail=f"m-{n}").json()["replayed"], key


def test_two_receipts_of_a_time_when_the_forms_were_two_keys_each_answer_their_own(place: Place) -> None:
    place.put(builders.player("hana", mail={"m1": {"gold": 50}, "m2": {"gold": 7}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idempotency, "forms", lambda key: (key, key))
        ask(place.store, ClaimMail("m1"), "K")
        ask(place.store, ClaimMail("m2"), '"K"')
    assert ask(place.store, ClaimMail("m1"), "K").outcome["gold"] == 50
    assert ask(place.store, ClaimMail("m2"), '"K"').outcome["gold"] == 7


def test_both_forms_at_once_are_granted_once(place: Place, client: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda key: act(client, key=key).json(), ["K", '"K"', "K", '"K"']))
    assert sorted(answer["replayed"] for answer in answers) == [False, True, True, True]
    assert gold(place) == 150


NO_KEYS = [
    "",
    '""',
    "two words",
    '"two words"',
    "K\tK",
    "x" * 201,
    '"' + "x" * 201 + '"',
    "\\" * 201,
    "\x7f",
    "é",
    "K\u0301",
    "\uff2b",
    "한",
    b"\xe9",
    b"\xff",
    b'"\xe9"',
]


def test_what_is_no_key_does_nothing(place: Place, client: Client) -> None:
    before = read(place)
    for key in NO_KEYS:
        headers = [(b"Idempotency-Key", key.encode() if isinstance(key, str) else key)]
        answer = client.post("/players/hana/actions/claim_mail", json={"mail": "m1"}, headers=headers)
        # The parser refuses control characters in a header before the application sees it.
        assert_problem(answer, "bad_request" if key == "\x7f" else "idempotency_key_needed")
    assert compare(before, read(place)) == {}


ALIKE = [("k", "K"), ("L", "L="), ('"M"', "'M'"), ("a%20b", "a+b"), ("N", '"N";a=1'), ("O", '""O""')]


def test_keys_that_only_look_alike_are_two(client: Client) -> None:
    for n, (key, other) in enumerate(ALIKE):
        assert not act(client, key=key, mail=f"m-{n}").json()["replayed"]
        assert_problem(act(client, key=other, mail=f"m-{n}"), "already_claimed")


def raw(client: Client, *lines: str) -> str:
    """The status line of what is answered to a claim with these header lines, as they stand."""
    body = '{"mail":"m1"}'
    given = [
        "POST /players/hana/actions/claim_mail HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=20) as connection:
        connection.sendall(("\r\n".join(given) + "\r\n\r\n" + body).encode("latin-1"))
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer.decode()


TOKEN_LINE = f"Authorization: Bearer {tokens.issue(TOKEN_SECRET, 'hana')}"
JSON_LINE = "Content-Type: application/json"


def test_space_around_a_key_is_none_of_it(client: Client) -> None:
    for line in ("Idempotency-Key: \t K \t ", 'idempotency-key:"K"  '):
        assert raw(client, TOKEN_LINE, JSON_LINE, line).startswith("HTTP/1.1 200 ")
    assert act(client, key="K").json()["replayed"]


TWICE = [
    ("Idempotency-Key", ["K", "L"]),
    ("Idempotency-Key", ["K", "K"]),
    ("Idempotency-Key", ["K", '"K"']),
    ("Idempotency-Key", ["K", ""]),
    ("Idempotency-Key", ["", "K"]),
    ("Idempotency-Key", ["K", "K", "K"]),
    ("Authorization", [bearer("hana")["Authorization"]] * 2),
    ("Authorization", [bearer("hana")["Authorization"], OPERATOR["Authorization"]]),
    ("Authorization", ["Bearer nobody", bearer("hana")["Authorization"]]),
    ("Authorization", ["Basic eDp5", bearer("hana")["Authorization"]]),
    ("X-Fence-Pass", ["one", "two"]),
    ("X-Fence-Pass", ["", ""]),
    ("Content-Type", ["application/json", "text/plain"]),
    ("Content-Type", ["text/plain", "application/json"]),
    ("Content-Type", ["application/json"] * 2),
]


@pytest.mark.parametrize("respell", [str.title, str.lower, str.upper])
def test_a_header_sent_twice_does_nothing(place: Place, client: Client, respell: Callable[[str], str]) -> None:
    before = read(place)
    for name, values in TWICE:
        lines = {"Authorization": [TOKEN_LINE], "Content-Type": [JSON_LINE], "Idempotency-Key": ["Idempotency-Key: r1"]}
        lines[name] = [f"{respell(name) if n else name}: {value}" for n, value in enumerate(values)]
        answer = raw(client, *(line for sent in lines.values() for line in sent))
        assert answer.startswith("HTTP/1.1 400 "), (name, values)
        assert '"code":"header_repeated"' in answer
    assert compare(before, read(place)) == {}


def test_who_reads_may_send_one_token_alone(client: Client) -> None:
    both = [("Authorization", bearer("mina")["Authorization"]), ("Authorization", bearer("hana")["Authorization"])]
    with Client(base_url=client.base_url, timeout=20) as another:
        assert_problem(another.get("/players/hana", headers=both), "header_repeated")
        assert_problem(another.post("/players/hana/actions/fly", headers=both), "header_repeated")


def test_a_field_named_twice_does_nothing(place: Place, client: Client) -> None:
    before = read(place)
    headers = {"Idempotency-Key": "r1", "Content-Type": "application/json"}
    for body in ('{"mail":"m1","mail":"m1"}', '{"mail":"m2","mail":"m1"}', '{"mail":"m1","m\\u0061il":"m2"}'):
        answer = client.post("/players/hana/actions/claim_mail", content=body, headers=headers)
        assert_problem(answer, "bad_request")
    assert compare(before, read(place)) == {}
