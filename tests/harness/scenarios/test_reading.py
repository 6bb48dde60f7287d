"""A scenario file is read strictly, and what is wrong with it is said with line, column and the nearest right name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from db.samples import moments
from game.rules.commands import COMMANDS
from harness import scenarios
from harness.scenarios import BadScenario, ScenarioFile
from harness.scenarios.model import Scenario, ScenarioStep

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))

GOOD = """\
about: A mail is claimed once.
given: {hana: {gold: 100, bag: {fan: 푸른 바람 부채}, mail: {m1: {gold: 50}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
"""


def read(text: str) -> ScenarioFile:
    return scenarios.read(dedent(text), "mail.yaml")


def problem(text: str) -> str:
    """Return the one line with which the text is refused."""
    with pytest.raises(BadScenario) as caught:
        read(text)
    (line,) = str(caught.value).splitlines()
    return line


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_the_project_reads(path: Path) -> None:
    assert scenarios.read_file(path).scenario.about


def test_no_two_files_say_the_same_about_themselves() -> None:
    abouts = [scenarios.read_file(path).scenario.about for path in FILES]
    assert len(abouts) == len(set(abouts))
    assert len(abouts) >= 14


def test_every_action_declares_the_fields_of_its_outcome() -> None:
    """Take them from the files, whose `expect` names every field, and which are played against the answers."""
    seen: dict[str, set[str]] = {}
    for path in FILES:
        for turn in scenarios.read_file(path).scenario.turns:
            if turn.step is not None and turn.step.expect is not None:
                fields = set(turn.step.expect)
                assert fields == set(COMMANDS[turn.action.do].outcome), (path, turn.request)
                seen[turn.action.do] = fields
    assert set(COMMANDS) - set(seen) == set()


def test_what_is_left_out_has_its_default() -> None:
    read_one = read(GOOD).scenario
    assert read_one.clock == "2026-01-05T12:00:00+09:00"
    assert [turn.request for turn in read_one.turns] == ["r1"]
    assert read_one.after is None
    assert not read_one.smoke


def test_requests_are_named_by_their_place() -> None:
    steps = """\
        about: Names.
        given: {hana: {}}
        steps:
          - {by: hana, do: unequip, with: {slot: fan}}
          - race: [{by: hana, do: unequip, with: {slot: fan}}, {by: hana, do: unequip, with: {slot: top}}]
            outcomes: []
          - {by: hana, do: unequip, with: {slot: fan}}
        """
    assert [turn.request for turn in read(steps).scenario.turns] == ["s1", "a", "b", "s3"]


def test_a_scenario_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(GOOD).scenario.smoke = True  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "about:",
            "abuot: x\nabout:",
            "expected one of about, smoke, clock, given, steps, after; found 'abuot'. Did you mean 'about'?",
        ),
        (
            "gold: 100",
            "glod: 100",
            "legacy; found 'glod'. Did you mean 'gold'?",
        ),
        ("by: hana", "by: hanna", "mail.yaml:4:6: expected 'hana'; found 'hanna'. Did you mean 'hana'?"),
        (
            "do: claim_mail",
            "do: claim_male",
            "mail.yaml:4:16: expected an action; found 'claim_male'. Did you mean 'claim_mail'?",
        ),
        (
            "with: {mail: m1}",
            "with: {mial: m1}",
            "mail.yaml:4:39: expected 'mail'; found 'mial'. Did you mean 'mail'?",
        ),
        ("with: {mail: m1}", "with: {mail: 1}", "mail.yaml:4:39: expected text; found 1."),
        (
            "푸른 바람 부채",
            "푸른 바람 부체",
            "mail.yaml:2:33: expected the name of an item; found '푸른 바람 부체'. Did you mean '푸른 바람 부채'?",
        ),
        ("gold: 100", 'gold: "100"', "mail.yaml:2:16: expected a whole number; found '100'."),
        ("gold: 100", "gold: -1", "mail.yaml:2:16: expected 0 or more; found -1."),
        ("gold: 100", "gold: true", "mail.yaml:2:16: expected a whole number; found true."),
        ("gold: 100", "gold: ", "mail.yaml:2:16: expected a value for 'gold'; found nothing."),
        ("gold: 100", "level: 1", "mail.yaml:2:16: expected 2 or more; found 1."),
        ("gold: 100", "worn: [bowl]", "mail.yaml:2:23: expected 'fan'; found 'bowl'."),
        (
            "{fan: 푸른 바람 부채}",
            "{a: 하급 강화석}, worn: [a]",
            "mail.yaml:2:52: expected equipment; found 'a', which is material.",
        ),
        (
            "{fan: 푸른 바람 부채}",
            "{a: 푸른 바람 부채, b: 은결 바람 부채}, worn: [a, b]",
            "mail.yaml:2:70: expected one item a slot; found 'b' beside 'a'.",
        ),
        (
            "gold: 100",
            "legacy: {equipmnt: ''}",
            "expected a column of the legacy users; found 'equipmnt'. Did you mean 'equipment'?",
        ),
        (
            "gold: 100",
            "tournaments: {world: {status: complte, rank: 3}}",
            "2:38: expected one of bracket_ready, round_in_progress, complete, eliminated; found 'complte'.",
        ),
        (
            "gold: 100",
            "tournaments: {world: {materials: {하급 강화섹: 1}}}",
            "최상급 강화석, 신비의 강화석; found '하급 강화섹'. Did you mean '하급 강화석'?",
        ),
        (
            "gold: 100",
            "tournaments: {world: {boxes: {재료 상자 I: 1}}}",
            "장비 상자 V, 장비 상자 VI; found '재료 상자 I'.",
        ),
        ("gold: 100", "tournaments: {national: {rank: 9}}", "mail.yaml:2:41: expected 8 or less; found 9."),
        ("gold: 100", "league: brnze", "mail.yaml:2:16: expected one of 새싹, 루키, 라이징, 에이스, 다이아, 마스터, "),
        ("gold: 100", "league: 그랜드마스타", "found '그랜드마스타'. Did you mean '그랜드마스터'?"),
        (
            "gold: 100",
            "missions: {mission_atendance: {}}",
            "found 'mission_atendance'. Did you mean 'mission_attendance'?",
        ),
        ("gold: 100", "missions: {goldmien: {}}", "mail.yaml:2:27: expected one of mission_attendance, "),
        (
            "gold: 100",
            "quests: {daily: {q1: {reward: {xp: {forge: 1}}}}}",
            "mail.yaml:2:52: expected 'strategy' or 'playful'; found forge.",
        ),
        (
            "gold: 100",
            "quests: {daily: {q1: {reward: {xp: {strategy: 1, playful: 1}}}}}",
            "mail.yaml:2:47: expected 1 of them; found a mapping of strategy, playful.",
        ),
        ("gold: 100", "stages: [입문-1, 입문-999]", "mail.yaml:2:31: expected the name of a stage; found '입문-999'."),
        ("gold: 100", "stages: {입문-999: {}}", "mail.yaml:2:25: expected the name of a stage; found '입문-999'."),
        (
            "about: A mail is claimed once.",
            "about: claim",
            "mail.yaml:1:1: expected a sentence, with a full stop; found claim.",
        ),
        (
            "request: r1",
            "request: R1",
            "4:50: expected a name of lower-case letters, digits, - and _, beginning with a letter; found R1.",
        ),
        (
            "request: r1",
            "clock: noon",
            "mail.yaml:4:50: expected an ISO time with its offset, or a distance such as +90m, +1d or -1h; found noon.",
        ),
        (
            "request: r1",
            "expect: {}, refused: bag_full",
            "mail.yaml:4:62: expected either `expect` or `refused`; found both.",
        ),
        (
            "steps:",
            "clock: 2026-01-05T12:00:00\nsteps:",
            "mail.yaml:3:1: expected an ISO time with its offset; found '2026-01-05T12:00:00'.",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, message: str) -> None:
    assert message in problem(changed(old, new))


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("{user: {}}", "5:9: expected one of ledger, history, users, user_inventory"),
        ("{users: {hana: {glod: [1, 2]}}}", "5:24: expected a column; found 'glod'. Did you mean 'gold'?"),
        ("{users: {hana: {gold: [1]}}}", "5:24: expected element 2; found a list of 1."),
        ("{users: {hana: {gold: [1, 1]}}}", "5:24: expected a value before and another after; found the same twice."),
        ("{users: {hanna: gone}}", "5:17: expected 'hana'; found 'hanna'. Did you mean 'hana'?"),
        ("{users: {hana: went}}", "5:17: expected 'gone'; found went."),
        ("{users: {hana/x: gone}}", "5:17: expected a key of the form <player>; found 'hana/x'."),
        ("{user_mail: {hana: gone}}", "5:21: expected a key of the form <player>/<id>; found 'hana'."),
        ("{user_quests: {hana/q1: gone}}", "5:23: expected a key of the form <player>/<period>/<id>; found 'hana/q1'."),
        (
            "{user_missions: {hana/mission_attendance: {form: [a, b]}}}",
            "5:51: expected one of started, level, amount, collected, since",
        ),
        ("{user_mail: {hana/m1: {position: [0, 1]}}}", "5:31: expected one of gold, diamonds, action_points, items"),
        ("{ledger: {r2: []}}", "5:18: expected 'r1'; found 'r2'."),
        ("{ledger: {r1: [[gold, 1]]}}", "5:23: expected element 3; found a list of 2."),
        ("", "5:1: expected a value for 'after'; found nothing."),
    ],
)
def test_the_difference_names_only_what_there_is(after: str, message: str) -> None:
    assert problem(f"{GOOD}after: {after}\n").startswith(f"mail.yaml:{message}")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            "{by: hana, do: equip, with: {item: fan}, request: r1}",
            "5:5: expected the same command again, or `refused: request_reused`; found request 'r1' with another",
        ),
        (
            "{outcomes: [], race: [{by: hana, do: equip, with: {item: fan}, clock: +1d}, {by: hana, do: equip}]}",
            "5:68: expected one of by, do, with, request, dice; found 'clock'.",
        ),
        (
            "{outcomes: [], race: [{by: hana, do: equip, with: {item: fan}}]}",
            "5:20: expected two commands; found a list of 1.",
        ),
        (
            "{outcomes: [], race: [{by: hana, do: claim_all_mail, request: r1}, {by: hana, do: claim_all_mail}]}",
            "5:27: expected requests of its own in a race; found 'r1' again.",
        ),
    ],
)
def test_a_race_and_a_retry_keep_to_their_rules(step: str, message: str) -> None:
    assert problem(f"{GOOD}  - {step}\n").startswith(f"mail.yaml:{message}")


def test_the_outcomes_of_a_race_name_both_of_its_requests() -> None:
    text = """\
        about: Both.
        given: {hana: {}}
        steps:
          - race: [{by: hana, do: unequip, with: {slot: fan}}, {by: hana, do: unequip, with: {slot: fan}}]
            outcomes: [{a: ok, c: slot_empty}]
        """
    assert problem(text) == ("mail.yaml:5:16: expected ok or a refusal's code for a and b; found a, c.")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps:", "clock: 2026-01-05T12:00:00+09:00\nsteps:"),
        ("request: r1", "clock: +1d"),
        ("claim_mail, with: {mail: m1}, request: r1", "enhance, with: {item: fan}, dice: {success: 1}"),
        ("gold: 100", "legacy: {mail: '[]'}"),
    ],
)
def test_a_smoke_scenario_has_nothing_that_only_a_test_can_arrange(old: str, new: str) -> None:
    line = problem("smoke: true\n" + changed(old, new))
    assert "expected no clock, dice, race or legacy columns in a smoke scenario" in line


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(BadScenario) as caught:
        read("steps: [{by: hana, do: equip, wiht: {}}]\ngiven:\n  hana: {glod: 1}\n  Mina: {}\nabout: x\n")
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["1", "3", "4", "5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about: x.\nabout: y.\n", "2:1: expected each key once (the first is in line 1); found 'about' again."),
        ("about: &a x.\n", "1:8: expected a plain value; found the anchor &a."),
        ("about: x.\nsteps: *a\n", "2:8: expected the value itself; found the alias *a."),
        ("about: !!str x.\n", "1:8: expected a value without a tag; found the tag"),
        ("about: x.\n---\nabout: y.\n", "2:1: expected one document; found the start of another."),
        ("about: [x\n", "1:8: expected ']' for the '[' that opens here; found the end of the file in line 2."),
        ("about: .nan\n", "1:8: expected a number; found .nan."),
        ("", "1:1: expected a scenario; found nothing. scenarios/README.md has an example to begin with."),
        ("- a\n", "1:1: expected a mapping; found a list of 1."),
    ],
)
def test_only_the_plain_part_of_yaml_is_read(text: str, message: str) -> None:
    assert problem(text).startswith(f"mail.yaml:{message}")


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("12:30:00", "12:30:00"),
        ("no", "no"),
        ("010", 10),
        ("0o10", 8),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("2026-01-05", "2026-01-05"),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, read_as: object) -> None:
    step = read(changed("request: r1", f"expect: {{gold: {written}}}")).scenario.steps[0]
    assert isinstance(step, ScenarioStep)
    assert step.expect == {"gold": read_as}
    assert type(step.expect["gold"]) is type(read_as)


def test_a_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mail.yaml").write_bytes(b"about: \xff.\n")
    with pytest.raises(BadScenario, match=r"mail\.yaml:1:8: expected UTF-8; found the byte 0xff\. Save"):
        scenarios.read_file(tmp_path / "mail.yaml", "mail.yaml")


@pytest.mark.parametrize(
    ("text", "moved_by"), [("+90m", 5_400_000), ("+1d", 86_400_000), ("-1h", -3_600_000), ("+5s", 5_000)]
)
def test_a_clock_is_moved_by_a_distance(text: str, moved_by: int) -> None:
    assert moments.moved(1_000_000, text) == 1_000_000 + moved_by


@pytest.mark.parametrize("text", ["2026-01-05T12:00:00+09:00", "2026-01-05T12:00:00.250+09:00"])
def test_a_time_is_written_as_it_was_read(text: str) -> None:
    assert moments.written(moments.absolute(text)) == text


def test_the_model_holds_every_key_that_the_manual_names() -> None:
    manual = (ROOT / "scenarios" / "README.md").read_text("utf-8")
    assert [name for name in Scenario.model_fields if f"`{name}`" not in manual] == []
