"""A COMMIT that fails and is answered "granted" from memory: the gate finds it, for each action."""

from __future__ import annotations

from pathlib import Path

import pytest

from game.postgres.store import PostgresUnit
from game.rules.commands import COMMANDS
from harness import scenarios
from harness.scenarios.model import Scenario
from harness.sweeps import coverage, faults
from harness.sweeps.crashes import CrashedAnswered
from harness.sweeps.fault_kinds import ON_THE_WIRE
from harness.sweeps.proxied_database import ProxiedDatabase

FOLDER = Path(__file__).parents[3] / "scenarios"


@pytest.fixture(scope="module")
def granted() -> dict[str, tuple[Scenario, int]]:
    """The scenario and the place of the granted command that the gate strikes, by action."""
    read = {path: scenarios.read_file(path).scenario for path in sorted(FOLDER.rglob("*.yaml"))}
    chosen = coverage.select_cases(read)
    places = [(read[path], place) for path, cases in chosen.items() for place in cases.get(CrashedAnswered.name, ())]
    return {scenario.turns[place].action.do: (scenario, place) for scenario, place in places}


@pytest.mark.parametrize("action", sorted(COMMANDS))
def test_a_failed_commit_that_is_answered_from_memory_is_found(
    action: str,
    granted: dict[str, tuple[Scenario, int]],
    proxied: ProxiedDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = PostgresUnit.commit

    def unheeded(unit: PostgresUnit) -> None:
        try:
            commit(unit)
        except Exception:  # noqa: BLE001  # the planted bug: nobody hears that it failed
            unit.connection.invalidate()

    monkeypatch.setattr(PostgresUnit, "commit", unheeded)
    scenario, place = granted[action]
    swept = faults.sweep(scenario, ON_THE_WIRE["cut"].on(proxied), steps={place})
    assert [each.statement for each in swept.failures] == ["COMMIT"]
