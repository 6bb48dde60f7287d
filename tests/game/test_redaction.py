"""Redaction: no secret in whatever a log, a report or an error may hold."""

from __future__ import annotations

import time
import timeit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from game.redaction import is_secret_name, redact
from game.urls import PostgresUrl

SECRET = "s3cr3t-Value"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://anna:{SECRET}@db.example/games?schema=game",
        f"could not connect to 'postgres://anna:{SECRET}@db.example/games', giving up",
        f"postgresql://anna:x@{SECRET}@db.example/games",
        f"postgresql://anna:{SECRET}/x@db.example/games",
        f"postgresql://anna@db.example/games?password={SECRET}&sslmode=require",
        f"postgresql://anna@db.example/games?sslmode=require&sslpassword={SECRET}",
        f"host=db.example password={SECRET} dbname=games",
        f"host=db.example password='{SECRET} with \\' blanks' dbname=games",
        f'password = "{SECRET}"',
        f"PGPASSWORD={SECRET} pg_dump games",
        f"OPERATOR_TOKEN={SECRET}",
        f"CHANCE_SECRET={SECRET}",
        f"GATE_SIGNING_KEY={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f'curl -H "Bearer {SECRET}"',
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f"X-Fence-Pass: {SECRET}",
        f"'X-Fence-Pass': '{SECRET}'",
        f'{{"username": "anna", "passwordHash": "{SECRET}", "userId": "user-1"}}',
        f"{{'password_hash': '{SECRET}'}}",
        f"passwordHash={SECRET}",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW s3cr3t-Value".replace(SECRET, ""),
        f'{{"api_key": "{SECRET}"}}',
        f"PostgresUrl(user='anna', password='{SECRET}', dbname='games')",
        f"postgresql://anna:a'{SECRET}@db.example/games",
        f'postgresql://anna:a"{SECRET}@db.example/games',
        f"postgresql://anna:a@b'{SECRET}@db.example/games",
        f"postgresql://anna:a'!{SECRET}@x@db.example/games",
        f"could not connect to 'postgresql://anna:a {SECRET}@db.example/games'",
        f"//anna:{SECRET}@db.example/games",
        f"db.example:5432:games:anna:{SECRET}",
        f"*:*:*:*:{SECRET}",
        f"pg_dump --password {SECRET}",
        f"tool --verbose --db-token '{SECRET} x' --last",
        f"ALTER ROLE anna PASSWORD '{SECRET}'",
        f"alter role anna password 'it''s {SECRET}'",
        f"alter role anna password U&'{SECRET}'",
        f"alter role anna password $$one {SECRET}$$ valid until 'infinity'",
        f"alter role anna password $of$o$e {SECRET}$of$",
        f"alter role anna password '{SECRET} cut before its e",
        f"pass={SECRET}",
        f"DB_PASS={SECRET}",
        f"PW={SECRET}",
        f"Cookie: session={SECRET}",
        f"Cookie: first=1; session={SECRET}",
        f"X-Api-Key: {SECRET}",
        f"Authorization: Token {SECRET}",
        f"?token%3D{SECRET}",
        f"?token%253d{SECRET}",
        f"password=&{SECRET}",
        f"password=;{SECRET}",
        f"password=){SECRET}",
        f"password=a&{SECRET}",
    ],
)
def test_a_secret_is_hidden(text: str) -> None:
    shown = redact(text)
    assert SECRET not in shown
    assert "R9h/cIPz0gi" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:5432/games: expected the phase loading; found the phase live.",
        "postgresql://anna@db.example:5432/games?schema=game",
        "http://127.0.0.1:8000/readyz answered 503",
        "file:/srv/game.db",
        "the pass of the run is not valid",
        "3 players held; gold=500",
        "http://127.0.0.1:8000/readyz answered 503, says anna@db.example",
        "CHANCE_SECRET (Field required)",
        "tests/game/test_redaction.py:12:5: a line",
        "invoke cutover --env production --confirm production",
        "?password=&sslmode=require",
        "2 bypass: 3; the compass=north; 5 tokens: 3 revoked",
        "the key target: expected a URL",
        "OPERATOR_TOKEN: ",
        "// a comment",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_the_secret_stays() -> None:
    assert redact(f"to postgresql://anna:{SECRET}@db.example/games at once") == (
        "to postgresql://anna:***@db.example/games at once"
    )
    assert redact(f"host=db.example password={SECRET} dbname=games") == "host=db.example password=*** dbname=games"


def test_redacting_twice_changes_nothing_more() -> None:
    once = redact(f"Bearer {SECRET} postgresql://anna:{SECRET}@h/d?password={SECRET}")
    assert redact(once) == once


NAMES = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "dsn",
    "api_key",
    "api-key",
    "apikey",
    "signing_key",
    "private_key",
    "fence_pass",
    "pass",
    "pw",
    "pwd",
    "authorization",
    "cookie",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_secret_is_one_in_a_text_a_header_an_option_and_a_variable(name: str) -> None:
    for text in (f"{name}={SECRET}", f"MY_{name.upper()}: {SECRET}", f"'{name}': '{SECRET}'", f"--my-{name} {SECRET}"):
        assert SECRET not in redact(text), text
    assert is_secret_name(f"MY_{name.upper()}")


passwords = st.text(st.characters(min_codepoint=33, codec="utf-8", exclude_categories=["Z", "C"]), min_size=6).filter(
    lambda password: password not in "postgresql://anna:***@db.example:5432/games?schema=game&password="
)


@given(password=passwords)
def test_no_url_of_ours_shows_its_password(password: str) -> None:
    url = PostgresUrl("db.example", 5432, "anna", password, "games")
    hidden = redact(url.as_text())
    assert hidden == "postgresql://anna:***@db.example:5432/games?schema=game"
    assert password not in redact(url.sqlalchemy.render_as_string(hide_password=False))
    assert password not in redact(str(sa.make_url("postgresql://anna@db.example/games?x=y"))) + hidden


@pytest.mark.parametrize("word", ["a-", "a.", "password", "token-", "a://b:", "'", "x" * 30 + "="])
def test_a_long_text_takes_time_by_its_length_and_no_more(word: str) -> None:
    """A search that began anew at each letter would take four times as long for twice the text."""
    short, long = (word * (size // len(word)) for size in (20_000, 80_000))
    redact(short)
    ratio = _seconds(long) / max(_seconds(short), 1e-4)
    assert ratio < 12, "four times the text; sixteen would be its square"


def _seconds(text: str) -> float:
    """The least of three: another program may be in the way of one."""
    return min(timeit.repeat(lambda: redact(text), timer=time.process_time, number=1, repeat=3))


PROSE = [
    "invoke token: the player",
    "refused invoke token: expected --player ID; found none.",
    "a.toml [staging] OPERATOR_TOKEN: expected digits; found another value.",
]
"""A task's name and a `where` may end in the name of a secret; a sentence follows, not a value."""


@pytest.mark.parametrize("text", PROSE)
def test_a_sentence_after_a_name_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"token: {SECRET}",
        f"invoke serve token: {SECRET}",
        f"invoke token --env x: token: {SECRET}",
        f"invoke token: the player has token={SECRET}",
        f"OPERATOR_TOKEN: expected digits; found token={SECRET}",
        f"OPERATOR_TOKEN:expected{SECRET}",
    ],
)
def test_a_secret_beside_such_a_sentence_is_hidden(text: str) -> None:
    assert SECRET not in redact(text)
