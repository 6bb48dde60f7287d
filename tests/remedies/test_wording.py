"""Every remedy of the source, by its text: it is there, and what it names exists."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from db import environments
from db.cutover import refusals
from db.cutover.advice import EnvironmentState, Fence, FenceOwner, LockHolder, PointerTo, Unreachable, advise
from db.cutover.move_status import MoveStatus
from db.environments import Environment
from db.errors import ToolError
from db.ops import Phase
from game.legacy.fence_schema import FenceMark, Owner
from game.urls import PostgresUrl
from tests.remedies.collecting import remedies, texts
from tests.remedies.vocabulary import COMMAND, faults

FORWARDED = {
    "db/connection_failures.py",
    "db/cutover/checks.py",
    "db/files/alone.py",
    "db/files/json_files.py",
    "db/files/paths.py",
    "db/target/requirements.py",
    "db/snapshots/manifest.py",
    "db/legacy/source.py",
    "db/providers/leftovers.py",
    "harness/gate/estimate.py",
}
"""Modules that hand on what another error or their caller said, or SQL of a table, which test_server_settings runs; and
two that catch the refusal of a note that they can do without.
"""

VAGUE = ("see the docs", "Correct the file", "Look into", "or stop it.", "Mend it,", "as needed", "if necessary")
NOT_WHICH = ("Name another.", "Install it.", "Install it,", "Nothing was changed.")
"""Whole remedies that leave open what is to be done."""

BEGINS = re.compile(r"[A-Z{`]|invoke |rm |unset |pg_|--")
"""A remedy begins as a sentence, or with what is to be typed."""


def test_the_source_has_its_remedies() -> None:
    assert len(remedies()) > 250
    assert len(texts()) > 200


def test_no_refusal_and_nothing_inconclusive_is_without_a_remedy() -> None:
    required = [remedy for remedy in remedies() if remedy.error in ("Refusal", "Inconclusive")]
    assert [remedy.where for remedy in required if not remedy.given] == []
    empty = {remedy.where for remedy in remedies() if remedy.given and not remedy.texts}
    assert {where.partition(":")[0] for where in empty} <= FORWARDED


@pytest.mark.parametrize("text", sorted(texts()))
def test_what_a_remedy_names_exists(text: str) -> None:
    assert faults(text) == [], texts()[text]


def test_no_remedy_is_vague() -> None:
    assert {text: where for text, where in texts().items() if any(word in text for word in VAGUE)} == {}


def test_a_remedy_is_a_sentence_that_says_what_to_do() -> None:
    assert {text: where for text, where in texts().items() if not BEGINS.match(text) or text in NOT_WHICH} == {}
    # After a colon comes what is typed: a second sentence there reads as if it were that.
    doubled = re.compile(r": (?:Restore|Make|Name|Run|Write|Correct) [a-z]")
    assert {text: where for text, where in texts().items() if doubled.search(text)} == {}


@pytest.mark.parametrize(
    "text",
    [
        "Run: invoke snapshot.restore --env NAME",
        "Run: invoke prepare --env <name>",
        "Go on with the cutover, or undo it: invoke cutover --abort.",
        "Run: invoke snapshot.restore --env NAME --path FOLDER --force",
        "Run: invoke prepair --env NAME",
        "Raise policy.max_hold",
        "As docs/cutovers.md says.",
        "Export GATE_KEY.",
        "Leave --no-pause out.",
    ],
)
def test_a_remedy_that_names_what_there_is_not_is_found(text: str) -> None:
    assert faults(text) != []


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    nowhere = PostgresUrl("127.0.0.1", 1, "nobody", "", "nothing")
    return environments.throwaway(owner=nowhere, service=nowhere, legacy=tmp_path / "game.db", folder=tmp_path)


MAY = {
    "cutover": refusals.refuse_cutover,
    "cutover --abort": refusals.refuse_abort,
    "rollback": refusals.refuse_rollback,
    "rollback --abort": refusals.refuse_rollback_abort,
}
"""Checks that refuse to begin or to go on, by the command."""


def standings() -> list[MoveStatus]:
    """Every state of both stores, the fence's owner and the pointer that no guard of the code makes impossible."""
    owners = {
        FenceOwner.NOBODY: None,
        FenceOwner.THIS_RUN: Owner("run", "here/1"),
        FenceOwner.ANOTHER_RUN: Owner("b", "here/1"),
        FenceOwner.ANOTHER_DATABASE: Owner("c", "there/1"),
    }
    return [
        MoveStatus(phase, "run", target.value, (), FenceMark(legacy.value, owners[owner]), "here/1", pointer, *record)
        for phase, legacy, owner, target, pointer, *record in product(
            Phase, Fence, FenceOwner, Fence, PointerTo, (False, True), (False, True)
        )
        if not isinstance(advise(EnvironmentState(phase, legacy, owner, target, pointer, LockHolder.NONE)), Unreachable)
    ]


def refusal(command: str, status: MoveStatus, env: Environment) -> ToolError | None:
    try:
        MAY[command](status, env)
    except ToolError as error:
        return error
    return None


@pytest.mark.parametrize("command", MAY)
def test_no_refusal_names_a_command_that_is_refused_in_that_state(command: str, env: Environment) -> None:
    refused = 0
    for result in standings():
        error = refusal(command, result, env)
        if error is None:
            continue
        refused += 1
        for named in COMMAND.finditer(error.do):
            other = f"{named[1]}{' --abort' if '--abort' in named[2] else ''}"
            if other in MAY:
                assert refusal(other, result, env) is None, f"{result}: {error}"
    assert refused > 20
