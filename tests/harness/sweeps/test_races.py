"""The race sweep finds an order of sessions that loses something, and shows it as a timeline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from game.rules.commands import COMMANDS
from harness.sweeps import pairs
from harness.sweeps.race_gates import Gate
from harness.wire import Decision, Pass, ProxySession, RoundTrip
from tests.fixtures.given_server import given

PLUGIN = ("-p", "harness.pytest_plugin.plugin", "-p", "no:cacheprovider", "-p", "no:unraisableexception")
TABLE = Path(__file__).parents[3] / "scenarios" / pairs.FILE

RACE = """\
about: Two mails at once are both granted.
given: {hana: {gold: 100, mail: {m0: {gold: 1}, m1: {gold: 50}, m2: {gold: 7}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m0}}
  - race:
      - {by: hana, do: claim_mail, with: {mail: m1}}
      - {by: hana, do: claim_mail, with: {mail: m2}}
    outcomes: [{a: ok, b: ok}]
"""

UNLOCKED = """
from game.postgres import statements

LOCKED = statements.lock
BARE = LOCKED().replace("FOR UPDATE", "")
assert BARE != LOCKED()

def pytest_runtest_setup(item):
    statements.lock = lambda: BARE

def pytest_runtest_teardown(item):
    statements.lock = LOCKED
"""

STALE = """
from game.postgres.store import PostgresUnit

LOAD = PostgresUnit.load
GOLD = "SELECT gold FROM users WHERE id = %(id)s"

def load(unit, player, *rest):
    gold = unit.connection.exec_driver_sql(GOLD, {"id": player}).scalar()
    loaded = LOAD(unit, player, *rest)
    loaded.rows["users"][(player,)]["gold"] = gold
    return loaded

def pytest_runtest_setup(item):
    PostgresUnit.load = load

def pytest_runtest_teardown(item):
    PostgresUnit.load = LOAD
"""
"""Gold is read before the lock. Without the lock, the numbers of receipts would refuse the second of two."""


UNLOCKED_AFTER_A_WAIT = """
import sqlalchemy as sa
from game.postgres import statements
from game.postgres.store import PostgresUnit

LOAD, LOCKED = PostgresUnit.load, statements.lock()
AT_ONCE, BARE = LOCKED.replace("FOR UPDATE", "FOR UPDATE NOWAIT"), LOCKED.replace("FOR UPDATE", "")

def load(unit, player, *rest):
    ask = unit.connection.exec_driver_sql
    ask("SAVEPOINT waiting")
    try:
        ask(AT_ONCE, {"player": player})
    except sa.exc.OperationalError:
        ask("ROLLBACK TO SAVEPOINT waiting")
        ask(LOCKED, {"player": player})
        ask("ROLLBACK TO SAVEPOINT waiting")
    return LOAD(unit, player, *rest)

def pytest_runtest_setup(item):
    PostgresUnit.load, statements.lock = load, lambda: BARE

def pytest_runtest_teardown(item):
    PostgresUnit.load, statements.lock = LOAD, lambda: LOCKED
"""
"""A command that had to wait for a player gives up its lock. Of two, the other has ended by then; of three, one has."""

IN_OTHER_WORDS = """
from game.errors import Fenced
from game.postgres import store

FAILURE = store._failure

def failure(original, **lost):
    failed = FAILURE(original, **lost)
    return Fenced(str(original)) if isinstance(failed, Fenced) else failed

def pytest_runtest_setup(item):
    store._failure = failure

def pytest_runtest_teardown(item):
    store._failure = FAILURE
"""
"""A command that meets the fence as it writes is refused in other words than one that reads it."""

WAITS_FOR_NOBODY = """
from db.ops import fence

ONCE = fence._fence_once

def once(conn, *rest):
    execute = conn.execute
    conn.execute = lambda query, *values: execute("select %s" if "pg_advisory" in str(query) else query, *values)
    try:
        ONCE(conn, *rest)
    finally:
        del conn.execute

def pytest_runtest_setup(item):
    fence._fence_once = once

def pytest_runtest_teardown(item):
    fence._fence_once = ONCE
"""
"""The fence does not wait for a command that has written: what that one commits, the mover's copy lacks."""

PLANTED_FOR = {"fence": IN_OTHER_WORDS, "mover": WAITS_FOR_NOBODY}
"""The bug that is planted for a race of three, by its third party; for three commands, UNLOCKED_AFTER_A_WAIT."""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A tiny project with one race, run on this run's own server."""
    server = request.getfixturevalue("server")
    monkeypatch.setenv("PYTEST_ADDOPTS", f"--postgres={given(server.url('postgres', 'superuser'), monkeypatch)}")
    write(pytester, "mail.yaml", RACE)
    return pytester


def write(suite: pytest.Pytester, name: str, text: str) -> None:
    path = suite.path / "scenarios" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*PLUGIN, "scenarios", *options)


def test_a_race_that_holds_is_run_in_every_order(suite: pytest.Pytester) -> None:
    result = run(suite, "--races=gate", "-k", "races")
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.re_match_lines([r"1 race in 8 orders, 0 failed; \d+ ms an order"])


@pytest.mark.parametrize("first", [0, 2], ids=["from the beginning", "half way"])
def test_a_gate_that_holds_nothing_fails_by_name(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    holding = Gate.intercept

    def open_gate(self: Gate, session: ProxySession, trip: RoundTrip) -> Decision:
        self._open = self.came >= first
        return holding(self, session, trip)

    monkeypatch.setattr(Gate, "intercept", open_gate)
    result = run(suite, "--races=gate", "-k", "races")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*Failure: the race's gates: expected each statement held at its gate, *; found * choices, and *.",
            "*in the order that comes first of a race",
        ]
    )


def test_two_sessions_that_come_past_their_gates_unseen_fail(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "intercept", lambda self, session, trip: Pass())
    result = run(suite, "--races=gate", "-k", "races")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*found 0 choices, and 0 of 0 statements of a and 0 of 0 statements of b held.*"])


def test_without_the_option_there_is_no_such_item(suite: pytest.Pytester) -> None:
    result = run(suite, "--collect-only", "-q")
    result.stdout.no_fnmatch_line("*::races*")


def test_a_lost_update_is_found_in_the_smallest_order_and_shown_as_a_timeline(suite: pytest.Pytester) -> None:
    suite.makeconftest(STALE)
    result = run(suite, "--races=gate", "-k", "races")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.re_match_lines(
        [
            r"scenarios/mail.yaml:5: \d+ of \d+ orders? ended as no serial order does",
            r'  a: claim_mail \{"mail": "m1"\}',
            r'  b: claim_mail \{"mail": "m2"\}',
            r"    (      )?[ab]  BEGIN",
            r"    (      )?[ab]  COMMIT",
            r"  nearest: claim_mail, then claim_mail",
            r"  users\.hana\.gold",
            r"    expected  158",
            r"    found     (151|108)",
            r"  again: pytest scenarios/mail.yaml::races --races=all --race-order=[ab]+",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_order_that_failed_is_repeated_by_the_command_that_it_names(suite: pytest.Pytester) -> None:
    suite.makeconftest(UNLOCKED)
    first = run(suite, "--races=gate", "-k", "races")
    again = re.search(r"again: pytest (\S+) (\S+) (\S+)", first.stdout.str())
    assert again is not None
    second = suite.runpytest_inprocess(*PLUGIN, *again.groups())
    second.assert_outcomes(failed=1)
    assert blocks(first)[1:] == blocks(second)[1:]
    assert blocks(second)[0].endswith(": 1 of 1 order ended as no serial order does")


def test_what_the_game_raises_in_one_order_reads_as_any_other_loss(suite: pytest.Pytester) -> None:
    """Without the lock both commands write down how the player came in: it is their first."""
    first_step = "  - {by: hana, do: claim_mail, with: {mail: m0}}\n"
    assert first_step in RACE
    write(suite, "mail.yaml", RACE.replace(first_step, ""))
    suite.makeconftest(UNLOCKED)
    result = run(suite, "--races=gate", "-k", "races")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.re_match_lines(
        [
            r"    (      )?[ab]  .*ROLLBACK",
            r"  the answer to hana's .*",
            r"    expected  granted .*",
            r"    found     raised IntegrityError: .*UniqueViolation.*",
            r"  again: pytest scenarios/mail.yaml::races --races=all --race-order=[ab]+",
        ]
    )
    assert result.stdout.str().count("Traceback (most recent call last)") == 1


def blocks(result: pytest.RunResult) -> list[str]:
    """The failure's lines, its sessions' BEGINs aside: they come in any order."""
    lines = result.outlines
    first = next(n for n, line in enumerate(lines) if line.endswith("ended as no serial order does"))
    last = next(n for n, line in enumerate(lines) if line.startswith("  again: "))
    return [line for line in lines[first : last + 1] if not line.endswith("  BEGIN")]


def test_an_order_of_other_letters_is_a_usage_error(suite: pytest.Pytester) -> None:
    result = run(suite, "--races=gate", "--race-order=abd")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --race-order: expected letters of a, b, c; found abd."])


def test_the_table_of_pairs_names_every_action_and_the_gate_runs_a_part_of_it() -> None:
    table = pairs.read(TABLE)
    assert set(table.fields) == set(COMMANDS)
    assert 0 < len(table.gate) <= pairs.MOST_IN_GATE
    assert {frozenset(pair) for pair in table.gate} < {frozenset(pair) for pair in table.pairs(every=True)}


def test_a_bug_that_takes_three_is_found_by_three_and_by_no_two_of_them(suite: pytest.Pytester) -> None:
    write(suite, pairs.FILE, TABLE.read_text("utf-8"))
    suite.makeconftest(UNLOCKED_AFTER_A_WAIT)
    three = "claim_mail+claim_all_mail+enhance"
    two = ("claim_mail+claim_all_mail", "claim_mail+enhance", "claim_all_mail+enhance")
    result = run(suite, "--races=gate", "-k", three)
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.re_match_lines(
        [
            r"pairs\.toml: \d+ of 32 orders ended as no serial order does",
            r"  a: claim_mail",
            r"  b: claim_all_mail",
            r"  c: enhance",
            r"    +c  ROLLBACK TO SAVEPOINT waiting",
            r"  nearest: \w+, then \w+, then \w+",
            r"  again: pytest scenarios/pairs.toml::claim_mail\+claim_all_mail\+enhance .* --race-order=[abc]+",
        ]
    )
    again = re.search(r"again: pytest (\S+) (\S+) (\S+)", result.stdout.str())
    assert again is not None
    suite.runpytest_inprocess(*PLUGIN, *again.groups()).assert_outcomes(failed=1)
    items = [f"scenarios/{pairs.FILE}::{each}" for each in two]
    suite.runpytest_inprocess(*PLUGIN, *items, "--races=all").assert_outcomes(passed=3)


@pytest.mark.parametrize("three", pairs.read(TABLE).threes, ids="+".join)
def test_what_takes_three_is_found_by_each_three_of_the_table(suite: pytest.Pytester, three: tuple[str, ...]) -> None:
    """Of three commands of which any two refuse each other, those who waited write nothing: they would find nothing."""
    write(suite, pairs.FILE, TABLE.read_text("utf-8"))
    suite.makeconftest(PLANTED_FOR.get(three[-1], UNLOCKED_AFTER_A_WAIT))
    result = suite.runpytest_inprocess(*PLUGIN, f"scenarios/{pairs.FILE}::{'+'.join(three)}", "--races=gate")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([rf"  c: {three[-1]}", r"  nearest: .*"])


def test_a_table_that_lacks_an_action_or_asks_nonsense_stops_the_run(suite: pytest.Pytester) -> None:
    text = TABLE.read_text("utf-8").replace('equip = {item = "fan"}', 'equip = {thing = "fan"}', 1)
    write(suite, pairs.FILE, text.replace('claim_mail = {mail = "m1"}', "", 1))
    result = run(suite, "--races=gate")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "*scenarios/pairs.toml:123:1: expected what claim_mail is asked; found nothing.",
            "*scenarios/pairs.toml:129:1: expected 'item'; found 'thing'.",
        ]
    )


def test_a_command_of_the_table_that_is_refused_even_alone_fails(suite: pytest.Pytester) -> None:
    write(suite, pairs.FILE, TABLE.read_text("utf-8").replace('{mail = "m1"}', '{mail = "m9"}', 1))
    result = run(suite, "--races=gate", "-k", "claim_mail+claim_mail")
    assert result.parseoutcomes()["failed"] == 1
    assert "passed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines(["    expected  granted", "    found     refused no_such_mail"])
