"""A gate's report that others may have made: each key with each hostile value is admitted or refused in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.console.output import plain
from db.errors import Refusal, ToolError
from db.signing import SIGNING_KEY
from harness.gate import admission, certificate
from harness.gate.certificate import Counts, verify
from harness.gate.report import Ended
from harness.report import checked, read, write
from tests.fixtures import gates
from tests.fixtures.gates import HERE, KEY
from tests.fixtures.hostile_json import HOSTILE, places, refusal_of, with_value

ROOT = Path(__file__).parents[3]
FIELDS = ("verdict", "scenarios", "twins", "faults_fired", "race_orders")


def document(environment: str, key: str | None) -> dict[str, Any]:
    """The JSON of a gate that failed, in every part of which something stands."""
    failed = gates.item("fault-lost", found="expected 1; found 2", cases=1, fired=1)
    hostile = gates.report([*gates.items(), failed], gates.parts(Ended.FAIL, "a problem"))
    hostile = dataclasses.replace(hostile, environment=environment, rehearsal={"players": 1}, doubts=("a doubt",))
    rest = plain(hostile)
    del rest["certificate"]
    bound = {name: hostile.certificate[name] for name in FIELDS}
    made = gates.certificate(environment=environment, **bound)
    return json.loads(json.dumps({**rest, "certificate": made.signed(key, rest)}))  # type: ignore[no-any-return]


def answer(act: Callable[[], object]) -> ToolError | None:
    """Return the refusal of a call, which must be one short line; None if it was not refused."""
    refusal = refusal_of(act)
    if refusal is not None:
        assert isinstance(refusal, Refusal)
        assert "\n" not in refusal.expected + refusal.found
        assert len(refusal.found) < 500
    return refusal


def page(path: Path) -> None:
    """Make the page as `invoke report --from` does."""
    write(read(path), path.with_suffix(".html"), checked(path))


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "steps.md"))
    monkeypatch.setenv(SIGNING_KEY, KEY)


WHOLE = document("staging", KEY)
PLACES = list(places(WHOLE))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)) or "the whole")
def test_whatever_stands_at_any_key_is_answered_in_one_line(tmp_path: Path, place: tuple[str | int, ...]) -> None:
    path = tmp_path / "gate.json"
    unsigned = document("test", None)
    for text in HOSTILE:
        path.write_text(with_value(WHOLE, place, text), encoding="utf-8")
        signed = answer(partial(verify, path, "staging", HERE, key=KEY, now=certificate.now()))
        # Even one that is whole is refused: its gate failed. What was changed is refused for that, before.
        assert signed is not None
        answer(partial(page, path))
        if place in (("certificate", "signature"),):
            continue
        path.write_text(with_value(unsigned, place, text), encoding="utf-8")
        answer(partial(verify, path, "test", HERE, key=None, now=certificate.now()))
        answer(partial(page, path))


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(Counts)])
def test_whatever_stands_in_the_record_of_the_last_one_is_answered_in_one_line(tmp_path: Path, name: str) -> None:
    record = tmp_path / "accepted-test.json"
    for text in HOSTILE:
        record.write_text(with_value(dataclasses.asdict(Counts(1, 1, 1, 1)), (name,), text), encoding="utf-8")
        counts = answer(partial(admission._recorded, record))
        assert counts is None or "remove it" in counts.do


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_gigabyte(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 30)


def deep(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def half_a_character(path: Path) -> None:
    path.write_text(with_value(document("test", None), ("certificate", "commit"), r'"\ud800"'))


def a_time_without_a_zone(path: Path) -> None:
    path.write_text(with_value(document("test", None), ("certificate", "made_at"), '"2026-01-05T12:00:00"'))


THINGS = (a_pipe, a_device, Path.mkdir, a_gigabyte, deep, half_a_character, a_time_without_a_zone)


@pytest.mark.parametrize("make", THINGS, ids=lambda make: make.__name__)
def test_the_commands_answer_each_with_two_and_within_memory(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "hostile.json"
    make(path)
    invoke = str(Path(sys.executable).parent / "invoke")
    # 600 MB of addresses: what would read a gigabyte, or all of a device, could not.
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (600 << 20,) * 2);"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    for command in (["gate", "--env", "test", "--verify", str(path)], ["report", "--from", str(path)]):
        ended = subprocess.run(
            [sys.executable, "-c", limited, invoke, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 2, ended.stderr
        assert "Traceback" not in ended.stderr
