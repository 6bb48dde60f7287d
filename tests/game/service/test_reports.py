"""Defects reach Sentry, and nothing secret does: against a receiver of the test's own, over HTTP."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest
from psycopg import sql

from db.samples import builders
from game.service.reports import scrubbed
from tests.fixtures.sentry import Receiver
from tests.game.places import PostgresPlace
from tests.game.service.running import BEARER, Running, eventually
from tests.game.service.serving import HANA

SECRET = "hunter2-hunter2"
OPERATOR_TOKEN = secrets.token_urlsafe(16)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.mark.plan(25)
def test_a_defect_arrives_scrubbed_and_a_refusal_does_not(
    postgres: PostgresPlace, receiver: Receiver, serve: Callable[..., Running]
) -> None:
    postgres.put(builders.player("hana", **HANA))
    running = serve(
        postgres.url,
        SENTRY_DSN=receiver.dsn,
        SENTRY_ENVIRONMENT="staging",
        SENTRY_RELEASE="sudamr@7",
        OPERATOR_TOKEN=OPERATOR_TOKEN,
    )
    running.ready()
    assert running.act("m9", "r1").json()["code"] == "no_such_mail"
    with psycopg.connect(postgres.database.owner.conninfo) as connection:
        service = sql.Identifier(postgres.database.service.user)
        connection.execute(sql.SQL("revoke select on users from {}").format(service))
    given = {
        "Idempotency-Key": f"password={SECRET}",
        "X-Fence-Pass": SECRET,
        "Authorization": f"Bearer {OPERATOR_TOKEN}",
    }
    address = f"{running.urls[0]}/players/hana/actions/claim_mail?password={SECRET}"
    assert httpx.post(address, json={"mail": SECRET}, headers=given, timeout=20).status_code == 500
    eventually(lambda: one_arrived(receiver))
    (event,) = receiver.events()
    assert (event["environment"], event["release"]) == ("staging", "sudamr@7")
    assert event["tags"] == {"action": "claim_mail", "request_id": "password=***"}
    assert event["exception"]["values"][-1]["type"] == "ProgrammingError"
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    assert not any("vars" in frame for frame in frames)
    seen = "".join(receiver.bodies) + running.log
    bearers = BEARER["Authorization"].split()[1]
    assert not [
        secret for secret in (SECRET, OPERATOR_TOKEN, bearers, postgres.database.service.password) if secret in seen
    ]


def one_arrived(receiver: Receiver) -> None:
    assert receiver.events()


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://anna:{SECRET}@db/games",
        f"GET https://example.net/x?token_of_some_kind={SECRET}&b=1",
        f"https://example.net/x?{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"X-Fence-Pass: {SECRET}",
        f"null value violates a constraint\nDETAIL:  Failing row contains (hana, {SECRET}).",
    ],
)
def test_a_text_loses_its_secret_wherever_it_stands(text: str) -> None:
    event = {"message": text, "breadcrumbs": {"values": [{"data": text, "message": text}]}, "list": [(text,)]}
    assert SECRET not in json.dumps(scrubbed(event))
    assert scrubbed(scrubbed(event)) == scrubbed(event)


@pytest.mark.parametrize(
    "key",
    ["Authorization", "cookies", "X-Fence-Pass", "query_string", "data", "env", "vars", "X-Api-Key", "token", "dsn"],
)
def test_what_stands_under_a_secret_name_is_never_sent(key: str) -> None:
    assert SECRET not in json.dumps(scrubbed({"request": {"headers": {key: SECRET}, key: {"inner": SECRET}}}))


def test_what_is_no_secret_stays() -> None:
    event = {"level": "error", "timestamp": 1.5, "message": "expected 3, found 4", "ok": True, "none": None}
    assert scrubbed(event) == event
