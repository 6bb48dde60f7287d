"""The service does what its OpenAPI document says, whatever it is sent, on both stores."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from db.samples import builders
from game.rules.commands import COMMANDS
from game.rules.refusals import REFUSALS
from game.service import tokens
from tests.game.places import LegacyPlace, Place
from tests.game.service.serving import HANA, TOKEN, TOKEN_SECRET, client_of

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
NOON_MS = 1_767_582_000_000
PLENTY: dict[str, Any] = HANA | {"gold": 10**6}

# What asks for nothing wrong may be refused by the rules all the same: 410, 422 and 423 beside what is usual.
CONFIG = f"""\
hooks = "{Path(__file__).with_name("schemathesis_hooks.py")}"
parameters = {{ "path.player" = "hana" }}

[generation]
deterministic = true
database = "none"
with-security-parameters = false

[phases.coverage]
unexpected-methods = ["DELETE", "GET", "OPTIONS"]

[checks.positive_data_acceptance]
expected-statuses = {json.dumps(["200", "401", *sorted({str(refusal.status.value) for refusal in REFUSALS.values()})])}
"""


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    place.put(builders.player("hana", **PLENTY))
    with client_of(place.store, clock=lambda: NOON_MS) as client:
        yield client


def run(client: Client, tmp_path: Path, token: str | None, *options: str) -> str:
    """Run Schemathesis against the service with every check, as its command line does; return the faults."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG + (f'[auth.openapi.HTTPBearer]\nbearer = "{token}"\n' if token else ""))
    command = [
        SCHEMATHESIS,
        f"--config-file={config}",
        "--no-color",
        "run",
        "--checks=all",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=3",
        "--seed=1",
        *options,
        f"{client.base_url}/openapi.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "Test cases" in done.stdout, done.stdout + done.stderr
    return done.stdout.partition(" FAILURES ")[2] if done.returncode else ""


def test_every_answer_is_documented_and_none_is_a_failure(client: Client, tmp_path: Path) -> None:
    if output := run(client, tmp_path, tokens.issue(TOKEN_SECRET, "hana")):
        pytest.fail(output)


@pytest.mark.parametrize(
    "token", [None, "guess", tokens.issue(TOKEN_SECRET, "mina"), TOKEN], ids=["none", "guess", "another", "operator"]
)
def test_whoever_asks_the_answers_are_documented(legacy: LegacyPlace, tmp_path: Path, token: str | None) -> None:
    legacy.put(builders.player("hana", **PLENTY))
    with client_of(legacy.store) as client:
        output = run(
            client,
            tmp_path,
            token,
            "--include-operation-id-regex=^(show|convert|save_preset)$",
            "--exclude-checks=positive_data_acceptance",
        )
    if output:
        pytest.fail(output)


def test_each_action_and_each_address_is_documented(legacy: LegacyPlace) -> None:
    with client_of(legacy.store) as client:
        document = client.get("/openapi.json").json()
    actions = {f"/players/{{player}}/actions/{action}" for action in COMMANDS}
    assert set(document["paths"]) == actions | {"/players/{player}", "/healthz", "/readyz", "/metrics"}
    for action, command in COMMANDS.items():
        (operation,) = document["paths"][f"/players/{{player}}/actions/{action}"].values()
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert set(schema["properties"]) == {field.name for field in dataclasses.fields(command)}
        assert schema["additionalProperties"] is False
        assert set(operation["responses"]) >= {"200", "400", "401", "403", "404", "409", "413", "422", "503"}
