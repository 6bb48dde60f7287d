"""The file of a plan: it reads as it was written; one that is edited, unsigned or hostile is refused."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from db.cutover import plan_file
from db.cutover.plan import Plan
from db.errors import Refusal
from tests.fixtures.gates import KEY
from tests.fixtures.hostile_json import HOSTILE, places, refusal_of, with_value


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan that no server was asked for."""
    made = Plan(
        environment="staging",
        state="never moved",
        parts={"commit": "c0ffee", "target": "postgresql://db.example.net/sudamr"},
        facts={"size of the legacy file": "88.0 MB"},
        not_compared=("the values of exported variables",),
        predicted_seconds=160.5,
        most_seconds=240.75,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    path = tmp_path_factory.mktemp("written") / "plan.json"
    path.write_text(json.dumps({"verdict": "planned", "plan": plan_file.to_json(made, KEY)}))
    return path


def test_a_plan_reads_as_it_was_written(written: Path) -> None:
    assert plan_file.read(written, "staging", key=KEY).most_seconds == 240.75


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Plan)])
@pytest.mark.parametrize("digest", [False, True], ids=["digest as before", "digest made anew"])
def test_an_edited_plan_is_refused(written: Path, tmp_path: Path, field: str, digest: bool) -> None:
    document = json.loads(written.read_text())
    value = document["plan"][field]
    other = {
        str: lambda: "production" if field == "environment" else "2026-01-05T12:00:00+00:00",
        dict: lambda: {**value, "more": "1"},
        list: lambda: [*value, "more"],
        float: lambda: value + 0.5,
    }[type(value)]()
    document["plan"][field] = other
    if digest:
        body = {key: one for key, one in document["plan"].items() if key not in ("digest", "signature")}
        document["plan"]["digest"] = plan_file.digest_of(body)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    with pytest.raises(Refusal, match="signature that the dry run made" if digest else "the plan was edited"):
        plan_file.read(path, "staging", key=KEY)


@pytest.mark.parametrize(
    ("change", "key", "environment", "message"),
    [
        (lambda plan: plan.pop("digest"), KEY, "staging", "a plan with its digest; found one without"),
        (lambda plan: plan.update(signature=None), KEY, "staging", "a signed plan; found an unsigned plan"),
        (lambda plan: None, None, "staging", "no GATE_SIGNING_KEY to check the signature with"),
        (lambda plan: None, "another key, that is long", "staging", "the plan was edited, or another key"),
        (lambda plan: None, KEY, "production", "a plan of production; found one of staging"),
        (lambda plan: plan.clear(), KEY, "staging", "JSON of another kind"),
    ],
)
def test_a_plan_that_nobody_vouches_for_is_refused(
    written: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    key: str | None,
    environment: str,
    message: str,
) -> None:
    document = json.loads(written.read_text())
    change(document["plan"])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    with pytest.raises(Refusal) as caught:
        plan_file.read(path, environment, key=key)
    assert message in str(caught.value)


WHOLE = {
    "verdict": "planned",
    "plan": {
        "environment": "staging",
        "state": "never moved",
        "parts": {"commit": "c0ffee"},
        "facts": {},
        "not_compared": ["one"],
        "predicted_seconds": 1.5,
        "most_seconds": 2.5,
        "made_at": "2026-01-05T12:00:00+00:00",
        "digest": "0" * 64,
        "signature": "0" * 64,
    },
}


@pytest.mark.parametrize("place", list(places(WHOLE)), ids=lambda place: ".".join(map(str, place)) or "the whole")
def test_hostile_json_is_refused_in_one_line(tmp_path: Path, place: tuple[str | int, ...]) -> None:
    path = tmp_path / "plan.json"
    for text in HOSTILE:
        path.write_text(with_value(WHOLE, place, text), encoding="utf-8")
        refusal = refusal_of(lambda: plan_file.read(path, "staging", key=KEY))
        assert isinstance(refusal, Refusal), text[:20]
        assert "\n" not in refusal.expected + refusal.found
        assert len(refusal.found) < 500


@pytest.mark.parametrize("name", ["none", "folder", "pipe"])
def test_what_is_no_file_is_no_plan(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match=plan_file.A_PLAN):
        plan_file.read(tmp_path / name, "staging", key=KEY)
