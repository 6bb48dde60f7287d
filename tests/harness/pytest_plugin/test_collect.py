"""Scenario files are tests to pytest; what fails is read without knowing pytest, and found where it stands."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from tests.fixtures.given_server import given
from tests.fixtures.kept import commands, opened
from tests.fixtures.server_kinds import HERE

PLUGIN = ("-p", "harness.pytest_plugin.plugin", "-p", "no:cacheprovider", "-p", "no:unraisableexception")

MAIL = """\
about: A mail is claimed once.
given: {hana: {gold: 100, mail: {m1: {gold: 50}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
after:
  users: {hana: {gold: [100, 150]}}
  user_mail: {hana/m1: {claimed: [false, true]}}
  ledger: {r1: [[gold, 50, mail]]}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """Make a tiny project with one scenario that holds."""
    write(pytester, "mail", MAIL)
    return pytester


def write(suite: pytest.Pytester, name: str, text: str) -> Path:
    path = suite.path / "scenarios" / "reward" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), "utf-8")
    return path


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the legacy items alone: they need no server."""
    # A kind that is named costs nothing to choose; without a name, each run would look for Docker's daemon first.
    return suite.runpytest_inprocess(*PLUGIN, f"--postgres={HERE[-1]}", "-k", "legacy", "scenarios", *options)


def test_a_file_is_an_item_for_each_way_to_run_it(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess(*PLUGIN, "scenarios", "--collect-only", "-q")
    assert [line for line in result.outlines if "::" in line] == [
        "scenarios/reward/mail.yaml::postgres",
        "scenarios/reward/mail.yaml::legacy",
        "scenarios/reward/mail.yaml::twins",
    ]


def test_a_scenario_that_holds_passes(suite: pytest.Pytester) -> None:
    run(suite).assert_outcomes(passed=1, deselected=2)


def test_one_way_is_run_by_its_name(suite: pytest.Pytester) -> None:
    suite.runpytest_inprocess(*PLUGIN, "scenarios/reward/mail.yaml::legacy").assert_outcomes(passed=1)


def test_only_yaml_beneath_the_projects_scenarios_is_one(suite: pytest.Pytester) -> None:
    elsewhere = suite.path / "package" / "scenarios" / "data.yaml"
    elsewhere.parent.mkdir(parents=True)
    for path in (suite.path / "compose.yaml", elsewhere):
        path.write_text("services: {}\n", "utf-8")
    suite.runpytest_inprocess(*PLUGIN, "-k", "legacy", ".").assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize(
    "name",
    ["bag/never_run.yml", "bag/Upper.YAML", "bag/typo.ymal", "bag/notes.md", "bag/pairs.toml", ".later/x.yml", "x"],
)
def test_a_file_that_would_never_be_run_is_refused_by_its_name(suite: pytest.Pytester, name: str) -> None:
    path = suite.path / "scenarios" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("nonsense\n", "utf-8")
    result = run(suite)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"scenarios/{name}: expected a scenario, <behaviour>.yaml; found a file that would *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    run(suite, "scenarios/reward").assert_outcomes(errors=1)
    one = suite.runpytest_inprocess(*PLUGIN, "scenarios/reward/mail.yaml::legacy")
    one.assert_outcomes(passed=1)


@pytest.mark.parametrize("folder", [".later", "build", "node_modules", "reward/dist"])
def test_a_folder_that_pytest_would_skip_is_run(suite: pytest.Pytester, folder: str) -> None:
    write(suite, f"../{folder}/mail", MAIL)
    run(suite).assert_outcomes(passed=2, deselected=4)


CHANGED = """
import pathlib

def pytest_collection_finish():
    path = pathlib.Path("scenarios/reward/mail.yaml")
    {}
"""


@pytest.mark.parametrize("change", ["path.unlink()", "path.write_text('about: half')"])
def test_a_file_that_changes_under_the_run_is_run_as_it_was_collected(suite: pytest.Pytester, change: str) -> None:
    suite.makeconftest(CHANGED.format(change))
    run(suite).assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize("change", ["path.unlink()", "path.write_text('about: half')"])
def test_a_file_that_is_to_be_updated_and_changes_under_the_run_fails_by_a_sentence(
    suite: pytest.Pytester, change: str
) -> None:
    suite.makeconftest(CHANGED.format(change))
    result = run(suite, "--update-scenarios")
    result.assert_outcomes(failed=1, deselected=2)
    printed = result.stdout.str()
    assert "scenarios/reward/mail.yaml:1:1: expected " in printed
    assert [word for word in ("Traceback", "CollectError", "BadScenario", "items.py") if word in printed] == [], printed


COUNTS_READS = """
import os
from pathlib import Path
from harness.scenarios import reading

READ = reading.read

def read(text, name):
    with Path(os.environ["READS"]).open("a") as file:
        file.write(f"{os.environ.get('PYTEST_XDIST_WORKER')} {name}\\n")
    return READ(text, name)

def pytest_sessionstart():
    reading.read = read

def pytest_sessionfinish():
    reading.read = READ
"""


ONE_OF_EACH_CLASS = "postgres or legacy or twins or 40001 or killed or races"  # a crash takes seconds and a server


@pytest.mark.parametrize(
    ("options", "processes", "items"),
    [
        (("-k", ONE_OF_EACH_CLASS), ["None"], 2 * 8 + 1),
        (("-p", "xdist.plugin", "-k", "legacy and not killed", "-n2", "--dist=each"), ["gw0", "gw1"], 2 * 3),
    ],
)
def test_a_file_is_read_once_by_each_process_however_many_items_it_has(
    options: tuple[str, ...],
    processes: list[str],
    items: int,
    suite: pytest.Pytester,
    server_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(suite, "race", RACE.partition("after:")[0])
    suite.makeconftest(COUNTS_READS)
    reads = suite.path / "reads"
    monkeypatch.setenv("READS", str(reads))
    options = (f"--postgres={server_url}", "--faults=all", "--fault-at=0", "--races=all", *options)
    result = suite.runpytest_inprocess(*PLUGIN, "scenarios", *options)
    files = [f"scenarios/reward/{name}.yaml" for name in ("mail", "race")]
    assert sorted(reads.read_text().splitlines()) == [f"{process} {file}" for process in processes for file in files]
    assert result.parseoutcomes().get("passed") == items * len(processes), result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


def test_what_belongs_beside_scenarios_is_no_scenario_and_is_not_refused(suite: pytest.Pytester) -> None:
    for name in ("README.md", "pairs.toml", "reward/README.md", "reward/.mail.yaml.swp", "reward/mail.yaml~"):
        (suite.path / "scenarios" / name).write_text("nonsense\n", "utf-8")
    run(suite).assert_outcomes(passed=1, deselected=2)


def test_what_does_not_hold_reads_as_a_difference_and_nothing_else(suite: pytest.Pytester) -> None:
    write(suite, "mail", MAIL.replace("[100, 150]", "[100, 160]").replace("[[gold, 50, mail]]", "[]"))
    result = run(suite)
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            "*_ mail.yaml::legacy _*",
            "scenarios/reward/mail.yaml:6: after.users.hana.gold",
            "    expected  [[]100, 160[]]",
            "    found     [[]100, 150[]]",
            "scenarios/reward/mail.yaml:8: after.ledger.r1",
            "    expected  [[][]]",
            "    found     [[][[]gold, 50, mail[]][]]",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*harness/*.py*")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("gold: 100", "glod: 100", "2:16: expected one of *; found 'glod'. Did you mean 'gold'?"),
        ("claim_mail", "claim_male", "4:16: expected an action; found 'claim_male'. Did you mean 'claim_mail'?"),
        ("with: {mail: m1}", "with: {item: m1}", "4:39: expected 'mail'; found 'item'."),
    ],
)
def test_a_file_that_is_no_scenario_stops_the_run_with_exit_code_2(
    old: str, new: str, problem: str, suite: pytest.Pytester
) -> None:
    write(suite, "mail", MAIL.replace(old, new, 1))
    result = run(suite)
    assert result.ret == pytest.ExitCode.INTERRUPTED == 2
    result.stdout.fnmatch_lines([f"scenarios/reward/mail.yaml:{problem}"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*harness/*.py*")


@pytest.mark.parametrize(
    ("dice", "printed"),
    [
        ("{success: 101}", ["scenarios/reward/forge.yaml:4: steps.0.dice", "*found 101"]),
        ("{xp.2: 1}", ["scenarios/reward/forge.yaml:4: steps.0.dice.xp.2", "*a draw named 'xp.2'", "*no such draw"]),
    ],
)
def test_dice_out_of_range_or_never_drawn_fail(dice: str, printed: list[str], suite: pytest.Pytester) -> None:
    text = """\
        about: It succeeds.
        given: {hana: {gold: 100, bag: {fan: 푸른 바람 부채, stone: {name: 하급 강화석, quantity: 10}}}}
        steps:
          - {by: hana, do: enhance, with: {item: fan}, dice: DICE}
        """
    write(suite, "forge", text.replace("DICE", dice))
    result = run(suite, "-k", "forge and legacy")
    result.assert_outcomes(failed=1, deselected=5)
    result.stdout.fnmatch_lines(printed)


BROKEN_RULE = """
import threading
import game.rules.actions
from game.rules.commands import ClaimMail

HELD = game.rules.actions.ACTIONS[ClaimMail]
calls = []

def broken(player, command):
    calls.append(command)
    if WHEN:
        return {}["status"]
    return HELD(player, command)

def pytest_runtest_setup(item):
    calls.clear()
    game.rules.actions.ACTIONS[ClaimMail] = broken

def pytest_runtest_teardown(item):
    game.rules.actions.ACTIONS[ClaimMail] = HELD
"""


def blocks(result: pytest.RunResult) -> list[str]:
    """Return what is printed of the one failed item, from its headline to the end of its traceback."""
    lines = result.outlines
    start = next(n for n, line in enumerate(lines) if re.match(r"scenarios/.*\.yaml:\d", line))
    end = next(n for n, line in enumerate(lines) if n > start and line.startswith(("=", "-", "postgres:", "kept:")))
    return lines[start:end]


def assert_one_block(result: pytest.RunResult, label: str, again: str) -> None:
    printed = blocks(result)
    assert printed[0] == f"scenarios/reward/mail.yaml:4: steps.0: {label}"
    assert printed[1:3] == ["    expected  an answer or a refusal", "    found     KeyError: 'status'"]
    assert printed[3].startswith("    raised at ")
    assert printed[3].endswith(", in perform"), "the rule itself stands outside of the tree here"
    assert printed[4] == f"  again: pytest {again}"
    assert printed.count("Traceback (most recent call last):") == 1
    assert [line for line in printed if line.startswith("KeyError")] == ["KeyError: 'status'"]
    assert len(printed) < 40


def test_a_rule_that_raises_is_one_block_with_its_place_and_one_traceback(suite: pytest.Pytester) -> None:
    suite.makeconftest(BROKEN_RULE.replace("WHEN", "True"))
    result = run(suite)
    result.assert_outcomes(failed=1, deselected=2)
    again = "scenarios/reward/mail.yaml::legacy"
    assert_one_block(result, "hana's claim_mail, request r1, on legacy", again)


def test_a_rule_that_raises_under_a_fault_names_the_command_that_repeats_it(suite: pytest.Pytester) -> None:
    suite.makeconftest(BROKEN_RULE.replace("WHEN", "len(calls) > 1"))
    item = "scenarios/reward/mail.yaml::fault-legacy-busy"
    result = run(suite, "--faults=legacy-busy", "-k", "fault")
    label = "hana's r1 (steps.0), legacy-busy at 0: BEGIN IMMEDIATE"
    again = f"{item} --faults=legacy-busy --fault-at=0"
    assert_one_block(result, label, again)
    repeated = suite.runpytest_inprocess(*PLUGIN, *shlex.split(again))
    assert_one_block(repeated, label, again)


def test_a_rule_that_raises_in_the_run_without_a_fault_says_how_to_repeat_that(suite: pytest.Pytester) -> None:
    suite.makeconftest(BROKEN_RULE.replace("WHEN", "True"))
    again = "scenarios/reward/mail.yaml::legacy"
    assert_one_block(run(suite, "--faults=legacy-busy", "-k", "fault"), "hana's r1 (steps.0)", again)


RACE = """\
about: Of two claims of one mail at once, one is granted.
given: {hana: {mail: {m1: {gold: 50}}}}
steps:
  - race:
      - {by: hana, do: claim_mail, with: {mail: m1}, request: tap}
      - {by: hana, do: claim_mail, with: {mail: m1}, request: again}
    outcomes: [{tap: ok, again: already_claimed}, {tap: already_claimed, again: ok}]
after:
  users: {hana: {gold: [0, 51]}}
  user_mail: {hana/m1: {claimed: [false, true]}}
  ledger: {tap: [[gold, 50, mail]]}
"""


def test_what_differs_in_one_order_of_a_race_says_in_which(suite: pytest.Pytester) -> None:
    write(suite, "mail", RACE)
    printed = blocks(run(suite))
    assert printed[:3] == [
        "scenarios/reward/mail.yaml:9: after.users.hana.gold",
        "    expected  [0, 51]",
        "    found     [0, 50]",
    ]
    assert printed.count("    in order  again, then tap") == 2, "the two journals' lines of the second order"
    assert "    in order  tap, then again" not in printed


def test_the_file_that_a_fault_on_the_legacy_store_left_can_be_kept(suite: pytest.Pytester) -> None:
    suite.makeconftest(BROKEN_RULE.replace("WHEN", "len(calls) > 1"))
    result = run(suite, "--faults=legacy-busy", "-k", "fault", "--keep")
    (kept,) = [line for line in result.outlines if line.startswith("kept: ")]
    item, what, commands = kept.removeprefix("kept: ").split(": ", 2)
    assert (item, what) == ("scenarios/reward/mail.yaml::fault-legacy-busy", "a copy of its file")
    look, _, remove = commands.removesuffix(")").partition(" (remove it with: ")
    path = Path(shlex.split(look)[1])
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT gold FROM users WHERE id = 'hana'").fetchone() == (100,)
    connection.close()
    subprocess.run(remove, shell=True, check=True)
    assert not path.parent.exists()


def test_the_postgres_items_run_on_a_server_that_is_given(suite: pytest.Pytester, server_url: str) -> None:
    result = suite.runpytest_inprocess(*PLUGIN, f"--postgres={server_url}", "scenarios")
    result.assert_outcomes(passed=3)


@pytest.fixture
def server_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Provide the URL of the run's own server, for a suite within it."""
    server = request.getfixturevalue("server")
    return given(server.url("postgres", "superuser"), monkeypatch)


def test_the_database_of_a_failed_scenario_can_be_kept(
    suite: pytest.Pytester, server_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(suite, "mail", MAIL.replace("[100, 150]", "[100, 160]"))
    write(suite, "other", MAIL)
    options = (f"--postgres={server_url}", "--keep", "-k", "postgres", "scenarios")
    result = suite.runpytest_inprocess(*PLUGIN, *options)
    result.assert_outcomes(failed=1, passed=1, deselected=4)
    ((database, command),) = commands(result.outlines, "scenarios/reward/mail.yaml::postgres")
    with opened(command, monkeypatch) as connection:
        assert connection.execute("SELECT gold FROM users WHERE id = 'hana'").fetchone() == (150,)
        assert database == connection.info.dbname
    request.getfixturevalue("server").drop_database(database)
