"""Smoke: the scenarios marked `smoke`, played over HTTP on the live service by canaries of their own.

Outcomes only: what is granted, refused and answered again. It takes some 10 ms a command, and nothing of it stays.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from db import web
from db.cutover.ports import SmokeResult
from db.errors import Refusal, ToolError
from game.errors import StoreFailure
from game.redaction import redact
from game.urls import LegacyUrl, PostgresUrl
from harness import scenarios
from harness.play import expectations
from harness.play.aliases import Aliases
from harness.play.arena import starts
from harness.scenarios import BadScenario, ScenarioFile
from harness.scenarios.model import ScenarioStep, Turn
from harness.scenarios.problems import ScenarioProblem
from harness.scenarios.yaml_reader import Data, flow
from harness.smoke.canaries import PREFIX, canaries

FOLDER = Path(__file__).parents[2] / "scenarios"
PATIENCE_SECONDS = 10.0


def run(
    services: Sequence[str],
    store: PostgresUrl | LegacyUrl,
    *,
    pass_token: str,
    operator_token: str,
    folder: Path = FOLDER,
) -> SmokeResult:
    """Run every smoke scenario on every service; what failed is reported, never raised.

    services: base URLs. store: where they keep their players, on Postgres by its owner's URL.
    operator_token: what lets us act for the canaries; with pass_token through a fence too.
    """
    try:
        files = smoke_files(folder)
    except BadScenario as error:
        return SmokeResult(0, (str(error),))
    if not files or not services:
        missing = "no scenario marked smoke" if not files else "no service"
        return SmokeResult(0, (f"expected scenarios to play and services to play them on; found {missing}.",))
    headers = {"Authorization": f"Bearer {operator_token}"} | ({"X-Fence-Pass": pass_token} if pass_token else {})
    plays = [_Play(file, service, headers) for service in services for file in files]
    made = [start for play in plays for start in starts(play.file.scenario, named=play.player).values()]
    failed: list[str] = []
    try:
        with canaries(store, made, pass_token=pass_token):
            failed += [line for play in plays for line in play.run()]
    except (ToolError, StoreFailure, psycopg.Error, sqlite3.Error) as error:
        failed.append(f"expected canaries to be made and removed; found {redact(str(error))}")
    return SmokeResult(sum(play.passed for play in plays), tuple(failed))


def check(services: Sequence[str], operator_token: str, folder: Path = FOLDER) -> None:
    """Check that there are scenarios to play, and that each service takes the token. Only reads; raises Refusal."""
    try:
        files = smoke_files(folder)
    except BadScenario as error:
        raise Refusal(
            "scenarios of the smoke", str(error), where=str(folder), do="Correct each line that is named."
        ) from None
    if not files:
        raise Refusal("scenarios marked smoke", "none", where=str(folder), do="Run from a whole checkout.")
    for service in services:
        try:
            headers = {"Authorization": f"Bearer {operator_token}"}
            answer = httpx.get(
                f"{service}/players/{PREFIX}nobody",
                headers=headers,
                timeout=PATIENCE_SECONDS,
                trust_env=False,
                verify=web.authorities(),
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            continue  # Another check reports a service that does not answer.
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Refusal(
                "the OPERATOR_TOKEN that the service takes",
                f"another: {answer.status_code}",
                where=service,
                do="Restart the service if its file was changed; or unset OPERATOR_TOKEN, if one is exported here.",
            )


def smoke_files(folder: Path = FOLDER) -> list[ScenarioFile]:
    """Return the scenarios marked `smoke` beneath the folder. Raises BadScenario for all files that hold none."""
    paths = sorted(folder.rglob("*.yaml"))
    files = scenarios.read_files({str(path.relative_to(folder.parent)): path for path in paths})
    return [file for file in files if file.scenario.smoke]


@dataclass
class _Play:
    """One scenario on one service."""

    file: ScenarioFile
    service: str
    headers: dict[str, str]
    passed: bool = False
    _run: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self._aliases = Aliases(dict.fromkeys(turn.request for turn in self.file.scenario.turns))
        self._granted: dict[tuple[str, str], Data] = {}

    def player(self, handle: str) -> str:
        """Return the canary that plays this handle."""
        return f"{PREFIX}{self._run}-{handle}"

    def run(self) -> list[str]:
        """Play the scenario. Returns a line for each thing that is not as expected."""
        try:
            with httpx.Client(
                base_url=self.service,
                headers=self.headers,
                timeout=PATIENCE_SECONDS,
                trust_env=False,
                verify=web.authorities(),
            ) as client:
                problems = [problem for turn in self.file.scenario.turns for problem in self._turn(client, turn)]
            lines = [f"{self.file.line(problem)} On {self.service}." for problem in problems]
        except (httpx.HTTPError, ValueError) as error:
            lines = [f"{self.file.name}: expected an answer; found {error!r}. On {self.service}."]
        self.passed = not lines
        return lines

    def _turn(self, client: httpx.Client, turn: Turn) -> Iterator[ScenarioProblem]:
        assert turn.step is not None, "a smoke scenario has no race"
        answer = client.post(
            f"/players/{self.player(turn.action.by)}/actions/{turn.action.do}",
            json=self._aliases.to_ids(dict(turn.action.fields)),
            headers={"Idempotency-Key": turn.request},
        )
        body = answer.json()
        refused = None if answer.is_success else str(body.get("code", answer.status_code))
        yield from expectations.answer(turn.step, turn.path, refused)
        if refused is None and turn.step.refused is None:
            yield from self._granted_one(turn, turn.step, body)

    def _granted_one(self, turn: Turn, step: ScenarioStep, body: dict[str, Data]) -> Iterator[ScenarioProblem]:
        outcome = self._aliases.to_names(body["outcome"])
        key = (turn.action.by, turn.request)
        if key in self._granted:
            if not body["replayed"] or not expectations.same(outcome, self._granted[key]):
                yield ScenarioProblem(turn.path, f"the first answer again, {flow(self._granted[key])}", flow(outcome))
        elif body["replayed"]:
            yield ScenarioProblem(turn.path, "a first answer", "one that was given before")
        self._granted[key] = outcome
        if step.expect is not None and isinstance(outcome, dict):
            yield from expectations.outcome((*turn.path, "expect"), step.expect, outcome)
