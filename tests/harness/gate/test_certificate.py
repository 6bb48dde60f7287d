"""A certificate admits what its gate has proven, and nothing else; each refusal says which part does not agree."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db.errors import Refusal
from harness.gate.certificate import Certificate, CheckoutState, Counts, TargetServer, digest_of, read, verify
from tests.fixtures.gates import HERE, KEY, certificate

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
REST = {"verdict": "pass", "scenarios": {"count": 45, "failures": 0}}
LAST = Counts(scenarios=45, twins=45, faults_fired=4000, race_orders=300)


def written(folder: Path, made: Certificate, key: str | None = KEY, **tampered: object) -> Path:
    """The gate's report with this certificate in it; what is tampered with is changed after the signature."""
    path = folder / "gate.json"
    path.write_text(json.dumps({**REST, "certificate": made.signed(key, REST) | tampered}))
    return path


def check(
    path: Path, *, state: CheckoutState = HERE, key: str | None = KEY, env: str = "staging", **more: Any
) -> Certificate:
    now = more.pop("now", NOON + timedelta(hours=1))
    return verify(path, env, state, key=key, now=now, **more)


def test_what_the_gate_has_proven_is_admitted(tmp_path: Path) -> None:
    path = written(tmp_path, certificate())

    admitted = check(path, least=LAST, target=TargetServer(15, {"server_encoding": "UTF8"}), budget_seconds=60.0)

    assert admitted == certificate()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": "inconclusive"}, "expected the verdict pass; found inconclusive"),
        ({"environment": "production"}, "expected a certificate for staging; found one for production"),
        ({"clean": False}, "found one of a tree with changes"),
        ({"commit": "badc0de" * 5 + "badc0"}, "expected commit c0ffeec0ffee; found commit badc0debadc0"),
        ({"schema_head": "0002"}, "expected schema 0001; found schema 0002"),
        ({"scenario_digest": "another"}, "found other scenarios"),
        ({"server_version": "16.2"}, "expected PostgreSQL 15; found PostgreSQL 16.2"),
        ({"scenarios": 0}, "at least one of scenarios; found none"),
        ({"twins": 0}, "at least one of twins; found none"),
        ({"faults_fired": 0}, "at least one of faults fired; found none"),
        ({"race_orders": 0}, "at least one of race orders; found none"),
    ],
)
def test_what_does_not_agree_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal) as caught:
        check(written(tmp_path, certificate(**changes)))
    assert message in str(caught.value)
    assert "gate.json" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"now": NOON + timedelta(hours=25)}, "expected one made within 1 day"),
        ({"now": NOON - timedelta(minutes=1)}, "expected one made within 1 day"),
        ({"state": dataclasses.replace(HERE, clean=False)}, "changes that no gate has seen"),
        ({"state": dataclasses.replace(HERE, commit="f" * 40)}, "expected commit ffffffffffff"),
        ({"target": TargetServer(16)}, "expected PostgreSQL 16; found PostgreSQL 15.18"),
        (
            {"target": TargetServer(15, {"server_encoding": "SQL_ASCII"})},
            "a gate on a server with server_encoding = SQL_ASCII, as the target's; found one with UTF8",
        ),
        ({"least": dataclasses.replace(LAST, scenarios=46)}, "found 45 scenarios (were 46)"),
        ({"least": dataclasses.replace(LAST, twins=46)}, "found 45 twins (were 46)"),
        ({"least": dataclasses.replace(LAST, faults_fired=4001)}, "found 4000 faults fired (were 4001)"),
        ({"least": dataclasses.replace(LAST, race_orders=301)}, "found 300 race orders (were 301)"),
        ({"budget_seconds": 3.0}, "expected a rehearsed freeze within 3 s; found one of 3.5 s"),
        ({"env": "production"}, "expected a certificate for production"),
    ],
)
def test_what_holds_here_and_now_counts(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal) as caught:
        check(written(tmp_path, certificate()), **more)
    assert message in str(caught.value)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Certificate)])
def test_whatever_is_changed_after_the_signature_is_noticed(tmp_path: Path, field: str) -> None:
    value = getattr(certificate(), field)
    other = {
        bool: lambda: not value,
        int: lambda: value + 1,
        float: lambda: value / 2,
        str: lambda: value + "0",
        dict: lambda: {**value, "more": "1"},
    }[type(value)]()
    if field == "made_at":
        other = "2026-01-05T12:00:01+00:00"
    with pytest.raises(Refusal, match="the file was changed, or another key"):
        check(written(tmp_path, certificate(), **{field: other}))


@pytest.mark.parametrize(
    "edited",
    [
        {"verdict": "fail"},
        {"scenarios": {"count": 45, "failures": 7}},
        {"scenarios": {"x": 1}},
        {"more": None},
    ],
)
def test_whatever_is_changed_beside_the_certificate_is_noticed(tmp_path: Path, edited: dict[str, object]) -> None:
    path = written(tmp_path, certificate())
    path.write_text(json.dumps(json.loads(path.read_text()) | edited))
    with pytest.raises(Refusal, match="the file was changed, or another key"):
        check(path)


def test_a_signature_of_another_key_is_none(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="another key"):
        check(written(tmp_path, certificate(), key="another key, as long as it should"))
    with pytest.raises(Refusal, match="another key"):
        check(written(tmp_path, certificate(), signature="서명"))


def test_without_a_signature_or_a_key_staging_is_closed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="an unsigned certificate"):
        check(written(tmp_path, certificate(), key=None))
    with pytest.raises(Refusal, match="no GATE_SIGNING_KEY"):
        check(written(tmp_path, certificate()), key=None)


@pytest.mark.parametrize("stage", ["development", "test"])
def test_unsigned_ones_serve_development_and_test(tmp_path: Path, stage: str) -> None:
    path = written(tmp_path, certificate(environment=stage), key=None)
    assert check(path, env=stage, key=None).environment == stage


def test_a_key_that_could_be_guessed_signs_nothing() -> None:
    with pytest.raises(Refusal, match="16 characters or more; found one of 6"):
        certificate().signed("secret", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{}", "JSON of another kind"),
        ('{"certificate": []}', "JSON of another kind"),
        ('{"verdict": "interrupted"}', "ended without one: interrupted."),
        ('{"verdict": "refused", "expected": "a key"}', "ended without one: refused."),
        (json.dumps({"certificate": certificate().signed(KEY, {}) | {"scenarios": "45"}}), "scenarios"),
        (json.dumps({"certificate": certificate().signed(KEY, {}) | {"more": 1}}), "more"),
        (json.dumps({"certificate": {"signature": None}}), "environment"),
    ],
)
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gate.json"
    path.write_text(text)
    with pytest.raises(Refusal) as caught:
        read(path)
    assert message in " ".join(str(caught.value).split())


def test_a_file_that_is_not_there_is_refused_saying_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="invoke gate"):
        read(tmp_path / "gate.json")


def test_the_digest_is_of_every_scenarios_path_and_content(tmp_path: Path) -> None:
    (tmp_path / "reward").mkdir()
    file = tmp_path / "reward" / "one.yaml"
    file.write_text("about: one\n")
    first = digest_of(tmp_path)

    file.write_text("about: two\n")
    second = digest_of(tmp_path)
    file.write_text("about: one\n")
    assert digest_of(tmp_path) == first
    file.rename(tmp_path / "reward" / "two.yaml")
    assert len({first, second, digest_of(tmp_path)}) == 3
