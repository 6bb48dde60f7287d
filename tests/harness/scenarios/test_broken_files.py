"""A broken file is answered by lines with the place, what was expected and found, and a cure."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from harness import scenarios
from harness.scenarios import BadScenario

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "scenarios").rglob("*.yaml"))
LINE = re.compile(r"mail\.yaml:[1-9]\d*:[1-9]\d*: expected .+; found .+\.( .+[.?])?", re.DOTALL)

GOOD = """\
about: A mail is claimed once.
given: {hana: {gold: 100, bag: {fan: 푸른 바람 부채}, mail: {m1: {gold: 50}}}}
steps:
  - {by: hana, do: claim_mail, with: {mail: m1}, request: r1}
"""
STEP = "request: r1"
RACE = """\
about: Two at once.
given: {hana: {bag: {fan: 푸른 바람 부채}}}
steps:
  - race: [{by: hana, do: equip, with: {item: fan}}, {by: hana, do: equip, with: {item: fan}}]
    OUTCOMES
"""

NOT_YAML = {
    "a tab in place of spaces": (GOOD.replace("  - {", "\t- {"), "4:1", "Indent with spaces"),
    "a key twice": (GOOD + "about: Again.\n", "5:1", "remove this one"),
    "an open double quote": (GOOD.replace("A mail", '"A mail'), "1:8", "Close it with the quote"),
    "an open single quote": (GOOD.replace("A mail", "'A mail"), "1:8", "Close it with the quote"),
    "a key in another column": (GOOD.replace("given", " given"), "2:7", "the same column"),
    "a dash in another column": (GOOD + " - {by: hana}\n", "5:2", "the same column"),
    "a colon in a text": (GOOD.replace("A mail is", "A mail: it is"), "1:14", "into quotes"),
    "an open brace": (GOOD.replace("50}}}}", "50}}}"), "2:8", "Close it with '}'"),
    "an open bracket": ("about: [x\n", "1:8", "Close it with ']'"),
    "a brace too many": (GOOD.replace("50}}}}", "50}}}}}"), "2:73", "Remove it"),
    "an anchor": (GOOD.replace("gold: 100", "gold: &much 100"), "2:22", "Remove it and write the value out"),
    "an alias": (GOOD.replace("gold: 100", "gold: *much"), "2:22", "Write the value out"),
    "a merge key": (GOOD.replace("gold: 100", "<<: {gold: 1}"), "2:16", "Write out the keys"),
    "a tag": (GOOD.replace("gold: 100", "gold: !!int 100"), "2:22", "Remove the tag"),
    "a second document": (f"{GOOD}---\n{GOOD}", "5:1", "a file of its own"),
    "a reserved character": (GOOD.replace("A mail", "@ mail"), "1:8", "into quotes"),
    "an unknown escape": (GOOD.replace("A mail is claimed once.", '"A \\quest."'), "1:12", "single quotes"),
    "a control character": (GOOD.replace("A mail", "A\x07mail"), "1:9", "Remove it"),
    "a NUL": (GOOD.replace("A mail", "A\x00mail"), "1:9", "Remove it"),
    "a key without its colon": (GOOD + "after\n", "5:1", "key: value"),
    "a list as a key": ("{[a]: 1}\n", "1:2", "Write a name"),
    "a thousand brackets": (GOOD + "after: " + "[" * 1000, "5:48", "Close the brackets"),
    "a number beyond bigint": (GOOD.replace("100", str(2**63)), "2:22", "a column holds"),
    "a number below bigint": (GOOD.replace("100", str(-(2**63) - 1)), "2:22", "a column holds"),
    "a based number beyond bigint": (GOOD.replace("100", "0x" + "f" * 17), "2:22", "a column holds"),
    "a number of 5,000 digits": (GOOD.replace("100", "9" * 5000), "2:22", "a column holds"),
    "a float beyond all floats": (GOOD.replace("100", "1e999"), "2:22", "Write a number"),
    "no number": (GOOD.replace("100", ".nan"), "2:22", "Write a number"),
    "a byte order mark": ("\ufeff" + GOOD, "1:1", "without a byte order mark"),
    "an empty file": ("", "1:1", "scenarios/README.md"),
    "comments alone": ("# later\n", "1:1", "scenarios/README.md"),
    "a list": ("- a\n", "1:1", "scenarios/README.md"),
    "a text": ("hello\n", "1:1", "scenarios/README.md"),
    "steps without any": (GOOD.partition("  - {")[0], "3:1", "Write what a player does"),
    "an empty list of steps": (GOOD.partition("\n  - {")[0] + " []\n", "3:1", "Write what a player does"),
    "an empty step": (GOOD + "  -\n", "5:4", "Write what a player does"),
    "a race without outcomes": (RACE.replace("    OUTCOMES\n", ""), "4:5", "--update-scenarios"),
}


def lines(text: str) -> list[str]:
    with pytest.raises(BadScenario) as caught:
        scenarios.read(text, "mail.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", NOT_YAML)
def test_what_can_not_be_read_is_answered_by_one_line_with_its_place_and_a_cure(name: str) -> None:
    text, place, cure = NOT_YAML[name]
    (line,) = lines(text)
    assert line.startswith(f"mail.yaml:{place}: expected "), line
    assert LINE.fullmatch(line), line
    assert cure in line.partition("; found ")[2], line


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (GOOD.encode("utf-16"), "1:1: expected UTF-8; found UTF-16. Save the file as UTF-8."),
        (GOOD.encode("cp949"), "2:39: expected UTF-8; found the byte 0xb8. Save the file as UTF-8."),
    ],
    ids=["UTF-16", "CP949"],
)
def test_a_file_in_another_encoding_is_answered_with_the_place_and_the_cure(
    written: bytes, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "mail.yaml").write_bytes(written)
    with pytest.raises(BadScenario) as caught:
        scenarios.read_file(tmp_path / "mail.yaml", "mail.yaml")
    assert str(caught.value) == f"mail.yaml:{problem}"


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_can_not_be_opened_is_answered_by_a_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"mail\.yaml:1:1: expected a file that can be read; found .+\."):
        scenarios.read_file(tmp_path / name, "mail.yaml")


PLAYER = "hana: {gold: 100"


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        (STEP, "refused: no_such_mial", "no_such_mail"),
        (STEP, "refused: alredy_claimed", "already_claimed"),
        ("claim_mail", "clam_mail", "claim_mail"),
        ("mail: m1}", "mial: m1}", "mail"),
        ("with: {mail: m1}", "with: {mail: m2}", "m1"),
        ("claim_mail, with: {mail: m1}", "equip, with: {item: fna}", "fan"),
        ("claim_mail, with: {mail: m1}", "enhance, with: {item: fan}, dice: {sucess: 1}", "success"),
        ("claim_mail, with: {mail: m1}", "enhance, with: {item: fan}, dice: {sub.vlaue.2: 1}", "sub.value"),
        ("claim_mail, with: {mail: m1}", "finish_tournament, with: {kind: wrold}", "world"),
        ("claim_mail, with: {mail: m1}", "unequip, with: {slot: stoens}", "stones"),
        ("claim_mail, with: {mail: m1}", "claim_quest, with: {period: dayly, quest: wins}", "daily"),
        ("claim_mail, with: {mail: m1}", "claim_quest, with: {period: daily, quest: wins2}", "wins"),
        ("claim_mail, with: {mail: m1}", "apply_preset, with: {name: 대극}", "대국"),
        ("claim_mail, with: {mail: m1}", "clear_stage, with: {stage: 입문1}", "입문-1"),
        ("claim_mail, with: {mail: m1}", "start_mission, with: {mission: mission_atendance}", "mission_attendance"),
        ("claim_mail, with: {mail: m1}", "convert, with: {material: 하급 강화섹, to: up}", "하급 강화석"),
        ("claim_mail, with: {mail: m1}", "expand_bag, with: {type: equipmnet}", "equipment"),
        (PLAYER, "hana: {missions: {mission_atendance: {}}", "mission_attendance"),
        (PLAYER, "hana: {quests: {wekly: {}}", "weekly"),
        (PLAYER, "hana: {presets: {대국: {bottm: fan}}", "bottom"),
        (PLAYER, "hana: {tournaments: {natonal: {}}", "national"),
        (PLAYER, "hana: {legacy: {equipmnt: ''}", "equipment"),
        (PLAYER, "hana: {gold: 100, worn: [fna]", "fan"),
        ("푸른 바람 부채", "푸른 바람 부체", "푸른 바람 부채"),
        ("about:", "smok: true\nabout:", "smoke"),
        ("steps:", "after: {users: {hana: {glod: [1, 2]}}}\nsteps:", "gold"),
        ("steps:", "after: {user_mial: {}}\nsteps:", "user_mail"),
        ("steps:", "after: {user_equipment: {hana/fna: gone}}\nsteps:", "fan"),
        ("steps:", "after: {user_stages: {hana/입문1: gone}}\nsteps:", "입문-1"),
        ("steps:", "after: {user_inventory: {hana/r1.1: {new: {name: 골드 꾸러미}}}}\nsteps:", "골드 꾸러미"),
        ("steps:", "after: {ledger: {r11: []}}\nsteps:", "r1"),
        ("steps:", "after: {ledger: {r1: [[glod, 50, mail]]}}\nsteps:", "gold"),
        ("steps:", "after: {ledger: {r1: [[gold, 50, mial]]}}\nsteps:", "mail"),
        ("steps:", "after: {history: {r1: [[gian, r1.1, 1]]}}\nsteps:", "gain"),
        ("steps:", "after: {users: {hana: {league: [루키, 라이직]}}}\nsteps:", "라이징"),
        ("steps:", "after: {user_tournaments: {hana/world: {status: [complte, eliminated]}}}\nsteps:", "complete"),
        ("steps:", "after: {user_inventory: {hana/r1.1: {new: {grade: lengendary}}}}\nsteps:", "legendary"),
        (STEP, "expect: {glod: 50}", "gold"),
        (STEP, "expect: {items: {골드 꾸러미: 1}}", "골드 꾸러미"),
        ("claim_mail, with: {mail: m1}", "equip, with: {item: fan}, expect: {itme: fan}", "item"),
        ("claim_mail, with: {mail: m1}", "equip, with: {item: fan}, expect: {slot: fna}", "fan"),
        ("claim_mail, with: {mail: m1}", "apply_preset, with: {name: 대국}, expect: {worn: {fna: fan}}", "fan"),
        (
            "claim_mail, with: {mail: m1}",
            "collect_all_missions, expect: {missions: {mission_leage: 1}}",
            "mission_league",
        ),
        (
            "claim_mail, with: {mail: m1}",
            "start_tournament, with: {kind: world}, expect: {status: bracket_redy}",
            "bracket_ready",
        ),
    ],
)
def test_each_name_is_checked_before_anything_runs_and_the_nearest_right_one_is_named(
    old: str, new: str, nearest: str
) -> None:
    known = "quests: {daily: {wins: {}}}, presets: {대국: {fan: fan}}, bag:"
    text = GOOD.replace(", bag:", f", {known}" if "quests" not in new and "presets" not in new else ", bag:")
    assert text.count(old) == 1, old
    (line,) = lines(text.replace(old, new))
    assert LINE.fullmatch(line), line
    assert f"Did you mean '{nearest}" in line or f": expected '{nearest}'; found " in line, line


@pytest.mark.parametrize("outcomes", ["[{a: ok, b: alredy_worn}]", "[{a: okey, b: already_worn}]"])
def test_the_codes_of_a_races_outcomes_are_checked(outcomes: str) -> None:
    (line,) = lines(RACE.replace("OUTCOMES", f"outcomes: {outcomes}"))
    assert "Did you mean 'already_worn'?" in line or "Did you mean 'ok'?" in line


def test_the_name_that_a_race_can_not_know_is_checked_where_one_order_grants_it() -> None:
    wrong = RACE.replace("{item: fan}", "{item: fna}", 1)
    (line,) = lines(wrong.replace("OUTCOMES", "outcomes: [{a: ok, b: already_worn}, {a: already_worn, b: ok}]"))
    assert "found 'fna'. Did you mean 'fan'?" in line
    scenarios.read(wrong.replace("OUTCOMES", "outcomes: [{a: no_such_item, b: ok}]"), "mail.yaml")


@pytest.mark.parametrize("clock", ["+99999999999999d", "-999999d", f"+{'9' * 5000}s", "0001-01-01T00:00:00+14:00"])
@pytest.mark.parametrize("old", [STEP, "gold: 50"])
def test_a_time_that_no_calendar_has_is_refused(clock: str, old: str) -> None:
    key = "clock" if old == STEP else "expires"
    (line,) = lines(GOOD.replace(old, f"{key}: {clock}"))
    assert "expected a time between the years 1900 and 9000" in line


def test_distances_that_are_in_range_alone_and_not_together_are_refused() -> None:
    far = "  - {by: hana, do: claim_all_mail, clock: +2000000d, refused: nothing_to_claim}\n"
    (line,) = lines(GOOD + far + far)
    assert line.startswith("mail.yaml:6:36: expected a time between the years")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("mail: {m1: {expires: 1767582000000}}", "2:28: expected an ISO time with its offset, or a distance such as"),
        ("mail: {m1: {expires: true}}", "2:28: expected an ISO time with its offset, or a distance such as"),
        ("stages: {입문-1: {cleared: false, rewarded: false}}", "2:25: expected a stage that was cleared or rewarded;"),
    ],
)
def test_what_no_player_can_have_is_refused_before_anything_runs(given: str, problem: str) -> None:
    """Refuse epoch milliseconds, which are for code: nobody reads a day and an hour in them."""
    (line,) = lines(f"about: One.\ngiven: {{hana: {{{given}}}}}\nsteps: [{{by: hana, do: claim_all_mail}}]\n")
    assert line.startswith(f"mail.yaml:{problem}")


BROKEN_BY = ("", "\t", "'", '"', ":", "{", "}", "[", "]", "&", "*", "!", "\n", "- ", "\x00", "\ufeff", "9" * 30, "<<: ")


def test_no_random_damage_to_a_file_is_answered_by_anything_but_lines() -> None:
    """Draw damage from a fixed seed, so that a failure repeats itself."""
    chance = random.Random(12)
    for path in FILES:
        text = path.read_text("utf-8")
        for _ in range(8):
            start = chance.randrange(len(text))
            end = start + chance.choice((0, 1, 1, 12))
            broken = text[:start] + chance.choice(BROKEN_BY) + text[end:]
            try:
                scenarios.read(broken, "mail.yaml")
            except BadScenario as error:
                for line in str(error).splitlines():
                    assert LINE.fullmatch(line), (path, line)
