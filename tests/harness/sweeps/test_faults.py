"""The fault sweep finds code that is right until something fails, and says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import servers
from harness import scenarios
from harness.sweeps import coverage, crashes, fault_kinds
from harness.sweeps.crashes import Crash, Crashed
from harness.sweeps.fault_kinds import FAULTS, Fault, Killed, Outage
from harness.wire import Decision, DropReply, InjectError, Pass, ProxySession
from tests.fixtures.fault_suites import MAIL, PLUGIN, breaks, run, table, write
from tests.fixtures.given_server import given

SCENARIOS = Path(__file__).parents[3] / "scenarios"
FORGE = """\
about: The first star never fails.
given: {hana: {gold: 1000, bag: {fan: 푸른 바람 부채, stone: {name: 하급 강화석, quantity: 100}}}}
steps:
  - {by: hana, do: enhance, with: {item: fan}, dice: {success: 1, xp: 4}, request: r1}
"""

REFUSED = """\
about: Who owns no such mail is refused.
given: {hana: {}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, refused: no_such_mail}
"""

NO_LOOKUP = """
def broken(unit, player, request_id, names):
    loaded = HELD(unit, player, request_id, names)
    loaded.rows["action_receipts"] = {}
    return loaded
"""

ANOTHER_ID_EACH_TIME = """
tried = []

def broken(store, request, *rest):
    tried.append(request)
    return HELD(store, dataclasses.replace(request, request_id=f"{request.request_id}-{len(tried)}"), *rest)
"""

TORN = """
def broken(unit, before, after):
    half = Rows({**after, **{name: before.get(name, {}) for name in ("currency_ledger", "action_receipts")}})
    HELD(unit, before, half)
    unit.connection.commit()
    HELD(unit, half, after)
"""


@pytest.mark.core
def test_every_fault_strikes_at_every_round_trip_and_ends_as_without(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    result = run(suite, "--faults=all")
    result.assert_outcomes(passed=14, deselected=3)
    counted = {name: counts[:4] for name, counts in table(result).items()}
    on_the_wire = ["5", "5", "1", "0"]
    assert counted.pop("killed") == ["6", "6", "2", "0"]
    assert counted.pop("legacy-busy") == ["2", "2", "0", "0"]
    assert counted.pop("legacy-power-cut") == ["1", "1", "0", "0"]
    cases, fired, at_commit, failures = counted.pop("legacy-killed")
    assert int(cases) > 10
    assert (fired, at_commit, failures) == (cases, "1", "0")
    assert counted.pop("crashed") == ["2", "2", "2", "0"]
    assert counted.pop("crashed-answered") == ["1", "1", "1", "0"]
    assert counted == dict.fromkeys(["cut", "lost", "outage", "40001", "40P01", "55P03", "57014", "57P01"], on_the_wire)


def test_for_the_gate_each_way_in_which_an_action_ends_is_struck_once(suite: pytest.Pytester) -> None:
    again = "  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}\n"
    write(suite, "a", MAIL)
    write(suite, "b", MAIL)
    write(suite, "c", MAIL + again + again.replace("r1", "r2").replace("}\n", ", refused: already_claimed}\n"))
    result = run(suite, "--faults=gate")
    result.assert_outcomes(passed=27, deselected=9)
    counted = {name: counts[:3] for name, counts in table(result).items()}
    assert counted["cut"] == counted["40001"] == ["13", "13", "1"], "5 granted, 4 answered again, 4 refused"
    assert counted["legacy-busy"] == ["6", "6", "0"]
    assert counted["crashed"] == ["2", "2", "2"]
    assert counted["legacy-killed"][2] == "1"


def test_of_a_kind_the_gate_strikes_at_a_command_that_is_not_asked_again(suite: pytest.Pytester) -> None:
    write(suite, "a", f"{MAIL}{MAIL.splitlines()[-1]}\n")
    write(suite, "b", MAIL)
    chosen = coverage.select_cases(
        {name: scenarios.read_file(suite.path / f"scenarios/reward/{name}.yaml").scenario for name in ("a", "b")}
    )
    assert {name: cases["cut"] for name, cases in chosen.items()} == {"a": {1}, "b": {0}}
    assert [name for name, cases in chosen.items() if "crashed-answered" in cases] == ["b"]


def test_what_takes_another_path_to_the_same_end_is_struck_too(suite: pytest.Pytester) -> None:
    write(suite, "a", MAIL)
    write(suite, "b", MAIL.replace("{gold: 50}", "{gold: 50, items: {골드 꾸러미1: 1}}"))
    result = run(suite, "--faults=gate", "-k", "cut or busy")
    counted = {name: counts[:3] for name, counts in table(result).items()}
    assert counted["cut"] == ["10", "10", "2"], "5 for gold alone, 5 with an item"
    assert counted["legacy-busy"] == ["2", "2", "0"], "what ends alike is alike to what is not on the wire"


def test_endings_found_on_paper_are_those_that_scenarios_tell() -> None:
    for path in sorted(SCENARIOS.rglob("*.yaml")):
        scenario = scenarios.read_file(path, path.name).scenario
        for turn, (action, ends, saved) in zip(scenario.turns, coverage.behaviours(scenario), strict=True):
            refused = turn.step.refused if turn.step is not None else None
            assert action == turn.action.do
            assert (
                ends.removeprefix("refused ") == refused if refused else turn.step is None or "refused" not in ends
            ), path
            assert ends != "broken", path
            assert bool(saved) == (ends == "granted"), path


def test_a_torn_transaction_fails_in_a_run_without_faults_and_shows_the_statements(suite: pytest.Pytester) -> None:
    write(suite, "a", MAIL)
    write(suite, "b", MAIL)
    breaks(suite, "game.postgres.store.PostgresUnit", "save", TORN)
    result = run(suite, "--faults=gate", "-k", "b.yaml and fault")
    result.assert_outcomes(failed=1, deselected=20)
    result.stdout.fnmatch_lines(
        [
            "scenarios/reward/b.yaml:4: steps.0: hana's r1 (steps.0) without a fault, on the wire",
            "      BEGIN",
            "      WITH player AS *",
            "      SELECT *",
            "      WITH part_0 AS *",
            "      COMMIT",
            "      BEGIN",
            "      WITH part_0 AS *",
            "      COMMIT",
            "    expected  one BEGIN and one COMMIT or ROLLBACK, and every statement between them",
            "    found     2 BEGIN, 2 COMMIT",
            "  again: pytest scenarios/reward/b.yaml::fault-none --faults=none",
        ],
        consecutive=True,
    )
    run(suite, "--faults=none").assert_outcomes(failed=2, deselected=6)
    run(suite, "--faults=cut", "--fault-at=0").assert_outcomes(failed=2, deselected=6)


def test_a_scenario_that_never_commits_has_no_commit_to_be_struck_at(suite: pytest.Pytester) -> None:
    write(suite, "refused", REFUSED)
    result = run(suite, "--faults=cut,crashed")
    result.assert_outcomes(passed=2, deselected=3)
    assert {name: counts[:3] for name, counts in table(result).items()} == {
        "cut": ["4", "4", "0"],
        "crashed": ["1", "1", "0"],
    }


def test_a_fault_that_strikes_nothing_fails_whatever_the_case_ends_like(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(suite, "mail", MAIL)

    def nothing(self: Fault, session: ProxySession, *, after: bool) -> Decision:
        return Pass()

    for acts in {kind.acts for kind in FAULTS}:
        monkeypatch.setattr(acts, "strike", nothing)
    for fault in (Killed, Crashed):
        monkeypatch.setattr(fault, "take", lambda self, session: None)
    monkeypatch.setattr(Crash, "crash", lambda self, pids: self.proxied.thaw(pids))
    names = (*fault_kinds.NAMES, *crashes.NAMES)
    result = run(suite, "--faults=" + ",".join(names))
    result.assert_outcomes(failed=11, deselected=3)
    fired = {name: table(result)[name][1] for name in names}
    assert fired == dict.fromkeys(names, "0")
    effects = {kind.name: kind.effect for kind in FAULTS}
    effects |= {"killed": "an application ended by SIGKILL"}
    effects |= dict.fromkeys(crashes.NAMES, "a server that recovered from a crash")
    assert list(effects) == list(names)
    for name, effect in effects.items():
        result.stdout.fnmatch_lines(
            [
                f"*: {name} a* round trip *",
                "  the fault",
                f"    expected  {effect}",
                "*that it struck nothing",
            ]
        )


def test_what_struck_in_one_case_is_no_evidence_of_the_next(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(suite, "mail", MAIL)
    decisions: list[Decision] = [InjectError("40001")]

    def once(self: Fault, session: ProxySession, *, after: bool) -> Decision:
        return decisions.pop() if decisions else Pass()

    monkeypatch.setattr(Fault, "strike", once)
    assert table(run(suite, "--faults=40001"))["40001"][:2] == ["5", "1"]


def test_an_outage_that_lets_the_next_one_through_is_none(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(suite, "mail", MAIL)

    def once(self: Fault, session: ProxySession, *, after: bool) -> Decision:
        return DropReply()

    monkeypatch.setattr(Outage, "strike", once)
    run(suite, "--faults=outage").stdout.fnmatch_lines(["*that it struck nothing"])


def test_a_receipt_that_is_not_looked_up_fails_where_a_commits_answer_is_lost(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    breaks(suite, "game.postgres.store.PostgresUnit", "load", NO_LOOKUP)
    result = run(suite, "--faults=lost")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "scenarios/reward/mail.yaml:4: steps.0: lost at round trip 4: COMMIT",
            "  the answer to hana's r1 (steps.0)",
            "    expected  answered again: {*gold*50*}",
            "    found     refused already_claimed",
            "  again: pytest scenarios/reward/mail.yaml::fault-lost --faults=lost --fault-at=4",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*harness/*.py*")


def test_a_double_grant_fails_and_shows_what_was_spent_twice(suite: pytest.Pytester) -> None:
    write(suite, "forge", FORGE)
    breaks(suite, "game.dispatch", "_attempt", ANOTHER_ID_EACH_TIME)
    result = run(suite, "--faults=lost", "--fault-at=4")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        ["*: lost at round trip 4: COMMIT", "  users.hana.gold", "    expected  900", "    found     750"]
    )
    assert table(result)["lost"][:4] == ["1", "1", "1", "1"]


def test_a_torn_transaction_fails_and_says_what_was_there_without_the_rest(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    breaks(suite, "game.postgres.store.PostgresUnit", "save", TORN)
    result = run(suite, "--faults=outage")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*: outage at round trip 4: COMMIT",
            "  hana's r1 (steps.0) left without an answer: *",
        ]
    )


def test_a_defect_that_shows_under_a_fault_keeps_its_traceback_and_says_which(suite: pytest.Pytester) -> None:
    write(suite, "forge", FORGE)
    breaks(suite, "game.postgres.store.PostgresUnit", "load", NO_LOOKUP)
    result = run(suite, "--faults=lost")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*, lost at 4: COMMIT", "*UniqueViolation*"])


def test_one_round_trip_is_repeated_and_one_beyond_the_last_is_said_to_be(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    result = run(suite, "--faults=cut", "--fault-at=2")
    assert table(result)["cut"][:3] == ["1", "1", "0"]
    result.assert_outcomes(passed=1, deselected=3)
    result = run(suite, "--faults=cut", "--fault-at=5")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["    expected  a round trip 5", "    found     that there are fewer"])


def test_a_fault_that_does_not_exist_is_a_usage_error(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    result = run(suite, "--faults=cut,rain")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --faults: expected all, gate or some of cut, *; found rain."])


def test_a_receipt_that_the_legacy_store_does_not_look_up_fails_where_the_process_dies_before_its_answer(
    suite: pytest.Pytester,
) -> None:
    write(suite, "mail", MAIL)
    breaks(suite, "game.legacy.store.LegacyUnit", "load", NO_LOOKUP)
    result = run(suite, "--faults=legacy-killed")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*: legacy-killed at statement *: (the answer)",
            "  the answer to hana's r1 (steps.0)",
            "    expected  answered again: {*gold*50*}",
            "    found     refused already_claimed",
            "  again: pytest scenarios/reward/mail.yaml::fault-legacy-killed --faults=legacy-killed --fault-at=*",
        ]
    )


def test_a_locked_file_that_is_no_reason_to_try_again_fails(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL)
    suite.makeconftest(
        """
        import game.legacy.store

        HELD = game.legacy.store.BUSY

        def pytest_runtest_setup(item):
            game.legacy.store.BUSY = frozenset()

        def pytest_runtest_teardown(item):
            game.legacy.store.BUSY = HELD
        """
    )
    result = run(suite, "--faults=legacy-busy")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*OperationalError: database is locked*"])


def test_once_the_server_is_gone_each_item_says_so_in_a_line(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write(suite, name, MAIL)
    with servers.start() as own:
        monkeypatch.setenv("PYTEST_ADDOPTS", f"--postgres={given(own.url('postgres', 'superuser'), monkeypatch)}")

        class Stops:
            def pytest_runtest_setup(self, item: pytest.Item) -> None:
                if item.path.name == "b.yaml":
                    own.stop()

        result = suite.runpytest_inprocess(
            *PLUGIN, "scenarios", "--faults=cut", "-k", "cut or legacy", plugins=[Stops()]
        )
    assert result.parseoutcomes()["passed"] == 4, "one under a fault, and all on the legacy file"
    assert result.parseoutcomes()["failed"] == 2
    gone = [line for line in result.outlines if line.startswith("the server is gone: ")]
    assert len(gone) == 2
