"""The service behind a real proxy answers as it does alone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.samples import builders
from db.web import authorities
from harness.load.service_processes import free_ports
from tests.fixtures.proxies import KINDS, proxy
from tests.game.places import LegacyPlace
from tests.game.service.hostile import AMBIGUOUS, status
from tests.game.service.running import BEARER, PATIENCE_SECONDS, Running

ACTION = "/players/hana/actions/claim_mail"
TYPE = {"Content-Type": "application/json"}
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "granted": ("POST", ACTION, {"json": {"mail": "m1"}, "headers": {**BEARER, "Idempotency-Key": "k1"}}),
    "replayed": ("POST", ACTION, {"json": {"mail": "m1"}, "headers": {**BEARER, "Idempotency-Key": "k1"}}),
    "refused": ("POST", ACTION, {"json": {"mail": "m1"}, "headers": {**BEARER, "Idempotency-Key": "k2"}}),
    "a read": ("GET", "/players/hana", {"headers": BEARER}),
    "no token": ("GET", "/players/hana", {}),
    "another's token": ("GET", "/players/sena", {"headers": BEARER}),
    "no key": ("POST", ACTION, {"json": {"mail": "m2"}, "headers": BEARER}),
    "no JSON": ("POST", ACTION, {"content": b"mail", "headers": {**BEARER, **TYPE, "Idempotency-Key": "k3"}}),
    "a key of JSON twice": (
        "POST",
        ACTION,
        {"content": b'{"mail":"m2","mail":"m3"}', "headers": {**BEARER, **TYPE, "Idempotency-Key": "k4"}},
    ),
    "a large body": ("POST", ACTION, {"content": b"x" * 70_000, "headers": {**BEARER, **TYPE}}),
    "a large header": ("GET", "/players/hana", {"headers": {**BEARER, "X-Filler": "a" * 7000}}),
    "no such action": ("POST", "/players/hana/actions/fly", {"json": {}, "headers": BEARER}),
    "no such address": ("GET", "/nothing", {}),
    "a probe": ("GET", "/%6detrics", {}),
    "another method": ("DELETE", "/players/hana", {"headers": BEARER}),
}
MADE_PLAIN = {
    "nginx": {
        "one bare LF",
        "bare LF",
        "a chunk with bare LF",
        "a header after the body",
        "another host in the address",
        "two blanks after the method",
        "two blanks after the address",
        "a blank after the version",
        "a host with a user",
        "a host with two ports",
    },
    "haproxy": {
        "one bare LF",
        "bare LF",
        "a chunk with bare LF",
        "a folded header",
        "a header folded by a tab",
        "two lengths",
        "a list of lengths",
        "length and chunks",
        "chunks and length",
        "HTTP/2.0",
        "two blanks after the method",
        "two blanks after the address",
        "a tab after the method",
    },
}
"""Ambiguous requests that the proxy itself makes plain before it passes them on; it refuses the others, or we do.
All of them have one key, so whichever comes first is granted and the others replay it."""


def ask(url: str) -> dict[str, tuple[int, str]]:
    """The status and the code of each answer."""
    answers = {}
    for name, (method, path, given) in REQUESTS.items():
        answer = httpx.request(method, url + path, timeout=PATIENCE_SECONDS, verify=authorities(), **given)
        answers[name] = (answer.status_code, answer.json().get("code", str(answer.json().get("replayed"))))
    return answers


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_changes_no_answer(
    kind: str, legacy: LegacyPlace, serve: Callable[..., Running], tmp_path: Path
) -> None:
    legacy.put(builders.player("hana", mail={f"m{n}": {"gold": 1} for n in range(4)}))
    running = serve(legacy.url)
    running.ready()
    with proxy(kind, running.port + 1, port := free_ports(1), tmp_path) as url:
        through = ask(url)
        alone = ask(running.public_urls[0])
        assert through.pop("granted") == (200, "False")
        assert alone.pop("granted") == (200, "True")
        assert through == alone
        answers = {name: answered(port, request) for name, request in AMBIGUOUS.items()}
        plain = {name for name, code in answers.items() if code < 400}
        assert plain == MADE_PLAIN[kind], " | ".join(sorted(plain ^ MADE_PLAIN[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_docs_are_those_that_are_tested(kind: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text("utf-8")
    written = page.partition(f"```{kind}\n")[2].partition("```")[0].splitlines()
    tested = KINDS[kind][0].replace("{{", "{").replace("}}", "}").replace("{service}", "8000")
    assert written
    assert [line for line in written if line not in map(str.strip, tested.splitlines())] == []


def answered(port: int, request: bytes) -> int:
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)) as client:
        client.sendall(request)
        return status(client)
