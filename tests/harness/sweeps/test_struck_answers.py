"""The traces of a fault are seen when the struck command is answered: the rows, the answer, the instant."""

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
from tests.fixtures.fault_suites import MAIL, breaks, run, table, write

FOLDER = Path(__file__).parents[3] / "scenarios"

FROM_MEMORY = """
decided = []

def broken(loaded, after, request, outcome, now_ms):
    decided.append(outcome)
    return HELD(loaded, after, request, outcome, now_ms)

def pytest_runtest_call(item):
    attempt = game.dispatch._attempt

    def from_memory(*given):
        decided.clear()
        try:
            return attempt(*given)
        except TryAgain:
            if not decided:
                raise
            return game.dispatch.Answer(decided[0], replayed=False)

    game.dispatch._attempt = from_memory
"""

AS_NEW = """
def broken(receipt, request):
    return dataclasses.replace(HELD(receipt, request), replayed=False)
"""

ANOTHER_INSTANT_EACH_TIME = """
tried = []

def broken(store, request, now_ms, *rest):
    tried.append(request)
    return HELD(store, request, now_ms + len(tried), *rest)
"""

NOT_WAITED_FOR = """
def broken(schema, *settings):
    held = HELD(schema, *settings)
    return held.replace("synchronous_commit=on", "synchronous_commit=off") if settings else held
"""


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
    clean = faults.run_clean(scenario, proxied)
    swept = faults.sweep(scenario, ON_THE_WIRE["cut"].on(proxied), clean, faults.Selection(steps={place}))
    assert [each.statement for each in swept.failures] == ["COMMIT"]


def test_what_a_retry_brings_back_is_missed_when_the_command_is_answered(suite: pytest.Pytester) -> None:
    write(suite, "mail", f"{MAIL}{MAIL.splitlines()[-1]}\n")
    breaks(suite, "game.dispatch", "_journal", FROM_MEMORY)
    result = run(suite, "--faults=cut", "--fault-at=4")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*: cut at round trip 4: COMMIT",
            "  once hana's r1 (steps.0) was answered: *",
            "  the answer to hana's r1 (steps.1)",
            "    expected  answered again: *",
            "    found     granted *",
        ]
    )


def test_an_answer_out_of_a_receipt_that_does_not_say_so_fails(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    breaks(suite, "game.dispatch", "_replayed", AS_NEW)
    result = run(suite, "--faults=lost,killed,crashed,legacy-killed,cut,40001")
    result.assert_outcomes(failed=4, passed=2, deselected=3)
    result.stdout.fnmatch_lines(["*: lost at round trip 4: COMMIT", "    expected  answered again: *"])


def test_an_attempt_at_another_instant_than_the_first_fails(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    breaks(suite, "game.dispatch", "_attempt", ANOTHER_INSTANT_EACH_TIME)
    run(suite, "--faults=cut,legacy-busy").assert_outcomes(failed=2, deselected=3)


def test_a_commit_that_is_not_waited_for_is_lost_each_time(suite: pytest.Pytester) -> None:
    again = MAIL.splitlines()[-1].replace("m1", "m2").replace("r1", "r2")
    write(suite, "mail", f"{MAIL}{again}\n".replace("{m1: {gold: 50}}", "{m1: {gold: 50}, m2: {gold: 7}}"))
    breaks(suite, "game.session", "options", NOT_WAITED_FOR)
    result = run(suite, "--faults=crashed-answered")
    result.assert_outcomes(failed=1, deselected=3)
    assert table(result)["crashed-answered"][:4] == ["2", "2", "2", "2"], "each of the two grants"
    result.stdout.fnmatch_lines(
        [
            "*: crashed-answered after round trip 4: COMMIT",
            "  once hana's r1 (steps.0) was answered: users.hana.gold",
            "    expected  150",
            "    found     100",
        ]
    )
