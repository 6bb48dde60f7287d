"""Outcomes can be written into a file: only those that differ, comments kept, and never over a real fault."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from harness import scenarios
from harness.play import update
from harness.play.arena import LegacyStage
from harness.play.replay import replay
from tests.fixtures.given_server import given

PLUGIN = ("-p", "harness.pytest_plugin.plugin", "-p", "no:cacheprovider", "-p", "no:unraisableexception")
ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))

WRONG = """\
# Above all.
about: A mail is claimed once.  # beside
given: {hana: {gold: 100, mail: {m1: {gold: 50, items: {골드 꾸러미1: 1}}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1, expect: {gold: 51, diamonds: 1}}
  # Between the steps.
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
after:
  # What it pays.
  users: {hana: {gold: [100, 151]}}  # gold
  user_inventory: {hana/r1.1: gone, hana/fan: gone}
  ledger: {r1: [[gold, 51, mail]]}
  history: {r1: []}
"""

RIGHT = """\
# Above all.
about: A mail is claimed once.  # beside
given: {hana: {gold: 100, mail: {m1: {gold: 50, items: {골드 꾸러미1: 1}}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1, expect: {gold: 50, diamonds: 0, action_points: 0, items: {골드 꾸러미1: 1}}}
  # Between the steps.
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
after:
  # What it pays.
  users: {hana: {gold: [100, 150]}}  # gold
  user_inventory: {hana/r1.1: {new: {name: 골드 꾸러미1, quantity: 1}}}
  ledger: {r1: [[gold, 50, mail]]}
  history: {r1: [[gain, r1.1, 1]]}
  user_mail: {hana/m1: {claimed: [false, true]}}
"""  # noqa: E501 - a step a line, as in a file

RACE = """\
about: Of two claims of one mail at once, one is granted.
given: {hana: {mail: {m1: {gold: 50}}}}
steps:
  - race:
      - {by: hana, do: claim_mail, with: {mail: m1}}
      - {by: hana, do: claim_mail, with: {mail: m1}}
    outcomes: [{a: ok, b: ok}]
"""


def rewritten(path: Path, stage: LegacyStage) -> str:
    file = scenarios.read_file(path)
    verdict = replay(file.scenario, stage)
    assert verdict.standing == ()
    update.rewrite(path, file.scenario, verdict)
    return path.read_text("utf-8")


def test_what_differs_is_written_and_comments_stay(tmp_path: Path, legacy_stage: LegacyStage) -> None:
    path = tmp_path / "mail.yaml"
    path.write_text(WRONG, "utf-8")
    assert rewritten(path, legacy_stage) == RIGHT
    assert replay(scenarios.read_file(path).scenario, legacy_stage).problems == ()


def test_a_first_difference_is_laid_out_a_table_a_line(tmp_path: Path, legacy_stage: LegacyStage) -> None:
    path = tmp_path / "mail.yaml"
    path.write_text(WRONG[: WRONG.index("after:")] + "after: {}\n", "utf-8")
    assert rewritten(path, legacy_stage).partition("after:\n")[2] == dedent(
        """\
          users: {hana: {gold: [100, 150]}}
          user_inventory: {hana/r1.1: {new: {name: 골드 꾸러미1, quantity: 1}}}
          user_mail: {hana/m1: {claimed: [false, true]}}
          ledger: {r1: [[gold, 50, mail]]}
          history: {r1: [[gain, r1.1, 1]]}
        """
    ).replace("users", "  users", 1).replace("\nu", "\n  u").replace("\nl", "\n  l").replace("\nh", "\n  h")


def test_the_outcomes_of_a_race_are_written(tmp_path: Path, legacy_stage: LegacyStage) -> None:
    path = tmp_path / "race.yaml"
    path.write_text(RACE, "utf-8")
    expected = RACE.replace("[{a: ok, b: ok}]", "[{a: ok, b: already_claimed}, {a: already_claimed, b: ok}]")
    assert rewritten(path, legacy_stage) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_that_holds_is_written_as_it_stands(path: Path, tmp_path: Path, legacy_stage: LegacyStage) -> None:
    copied = tmp_path / path.name
    shutil.copyfile(path, copied)
    assert rewritten(copied, legacy_stage) == path.read_text("utf-8")


def project(pytester: pytest.Pytester, text: str) -> Path:
    path = pytester.path / "scenarios" / "reward" / "mail.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the options of a run of its own on this run's server."""
    url = given(request.getfixturevalue("server").url("postgres", "superuser"), monkeypatch)
    return [*PLUGIN, f"--postgres={url}", "--update-scenarios", "scenarios"]


def test_the_option_writes_and_the_run_passes(pytester: pytest.Pytester, options: list[str]) -> None:
    path = project(pytester, WRONG)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=3)
    assert path.read_text("utf-8") == RIGHT


def test_a_file_in_which_more_is_wrong_is_left_alone(pytester: pytest.Pytester, options: list[str]) -> None:
    refused = "  - {by: hana, do: claim_mail, with: {mail: m1}, refused: bag_full}\nafter:"
    path = project(pytester, text := WRONG.replace("after:", refused))
    result = pytester.runpytest_inprocess(*options, "-k", "postgres")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(["scenarios/reward/mail.yaml:8: steps.2.refused", "    expected  refused bag_full"])
    assert path.read_text("utf-8") == text


def test_it_is_refused_with_more_than_one_process(pytester: pytest.Pytester) -> None:
    path = project(pytester, WRONG)
    result = pytester.runpytest_subprocess(*PLUGIN, "-p", "xdist.plugin", "--update-scenarios", "-n", "2", "scenarios")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --update-scenarios rewrites files: expected one process; found -n.*"])
    assert path.read_text("utf-8") == WRONG
