"""A broken table of pairs is answered by lines with the place, what was expected and found, and the nearest name."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from harness.sweeps import pairs
from harness.sweeps.pairs import BadPairs

TEXT = (Path(__file__).parents[3] / "scenarios" / pairs.FILE).read_text("utf-8")
LINE = re.compile(r"pairs\.toml:[1-9]\d*:[1-9]\d*: expected .+; found .+\.( .+[.?])?", re.DOTALL)
QUEST = '[[rows.user_quests]]\nperiod = "daily"\n'


def lines(folder: Path, text: str | bytes) -> list[str]:
    path = folder / pairs.FILE
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadPairs) as caught:
        pairs.read(path)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ("[with]", "[wiht]", "with"),
        ("gate = [", "gat = [", "gate"),
        ("[player]", "[palyer]", "player"),
        ('["equip", "combine"]', '["equip", "combin"]', "combine"),
        ("gold = 100000", "glod = 100000", "gold"),
        ("푸른 바람 부채", "푸른 바람 부체", "푸른 바람 부채"),
        ('worn = ["board"]', 'worn = ["baord"]', "board"),
        ("world = {", "wrold = {", "world"),
        ('status = "complete"', 'status = "complte"', "complete"),
        ("[[rows.user_quests]]", "[[rows.user_quest]]", "user_quests"),
        ('period = "daily"\nid', 'perod = "daily"\nid', "period"),
        ('{item = "fan"}', '{itme = "fan"}', "item"),
        ('{slot = "board"}', '{slot = "baord"}', "board"),
        ("collect_all_missions = {}", "colect_all_missions = {}", "colect_all_missions"),
    ],
)
def test_each_name_is_checked_and_the_nearest_right_one_is_named(
    old: str, new: str, nearest: str, tmp_path: Path
) -> None:
    problems = lines(tmp_path, TEXT.replace(old, new, 1))
    assert all(LINE.fullmatch(line) for line in problems), problems
    line = TEXT[: TEXT.index(old)].count("\n") + 1 + old.rpartition("\n")[0].count("\n")
    assert any(
        f"'{nearest}" in each and (each.startswith(f"pairs.toml:{line}:") or "is asked" in each) for each in problems
    ), problems


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["claim_mail", "claim_mail"]', '["claim_mail"]', "6:5: expected element 2; found a list of 1."),
        ('["claim_mail", "claim_mail"]', '"claim_mail"', "6:5: expected a list; found claim_mail."),
        ("gold = 100000", 'gold = "1"', "50:1: expected a whole number; found '1'."),
        ('"claim_all_mail", "enhance"]', '"fence", "mover"]', "40:20: expected an action out of `with`, or at the end"),
        (
            '"claim_all_mail", "fence"]',
            '"claim_mail", "fense"]',
            "42:34: expected an action out of `with`, or at the end",
        ),
        ("gold = 100000", "gold = -1", "50:1: expected 0 or more; found -1."),
        ("gold = 100000", f"gold = {2**63}", f"50:1: expected a whole number from {-(2**63)} to {2**63 - 1}; found "),
        ("gold = 100000", f"gold = {'9' * 5000}", "1:1: expected whole numbers from "),
        ("gold = 100000", "gold = nan", "50:1: expected a number; found nan."),
        ("gold = 100000", "gold = =", "50:8: expected TOML; found invalid value."),
        ("[player]", "[player", "49:8: expected TOML; found "),
        ("[player]", "[[player]]", "49:1: expected a mapping; found a list of 1."),
        ("claim_all_mail = {}", "claim_all_mail = 1", "125:1: expected a mapping; found 1."),
        ("claim_all_mail = {}", "", "123:1: expected what claim_all_mail is asked; found nothing."),
        (QUEST, QUEST.replace("[[", "[").replace("]]", "]"), "73:1: expected a list; found a mapping of period, "),
        ("target = 3\n", "", "73:1: expected the column 'target'; found a row of period, id, progress, "),
        ("target = 3\n", "target = true\n", "76:1: expected a whole number; found true."),
        ("""'{"gold": 7}'""", "'{'", "78:1: expected JSON; found '{'."),
        ('stage = "입문-20"', 'stage = "입문-1"', "96:1: expected each row once; found 입문-1 again."),
        ("m2 = {diamonds = 3}", 'm2 = {expires = "+99999999d"}', "65:7: expected a time between the years 1900 and"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    problems = lines(tmp_path, TEXT.replace(old, new, 1))
    assert any(each.startswith(f"pairs.toml:{message}") for each in problems), problems


def test_a_moment_of_toml_and_a_distance_from_the_clock_are_both_taken(tmp_path: Path) -> None:
    for moment in ("2026-01-05T13:00:00+09:00", '"+1h"'):
        text = TEXT.replace("m2 = {diamonds = 3}", f"m2 = {{expires = {moment}}}")
        (tmp_path / pairs.FILE).write_text(text, encoding="utf-8")
        mail = pairs.read(tmp_path / pairs.FILE).start.rows["user_mail"][(pairs.PLAYER, "m2")]
        assert mail["expires_at"] == 1767585600000


@pytest.mark.parametrize("written", [TEXT.encode("utf-16"), TEXT.encode("cp949"), b"\xff"])
def test_another_encoding_is_answered_by_a_line(written: bytes, tmp_path: Path) -> None:
    (line,) = lines(tmp_path, written)
    assert re.match(r"pairs\.toml:\d+:\d+: expected UTF-8; found ", line), line


@pytest.mark.parametrize("name", ["nowhere.toml", "."])
def test_a_table_that_can_not_be_opened_is_answered_by_a_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadPairs, match=r":1:1: expected a file that can be read; found .+\."):
        pairs.read(tmp_path / name)


BROKEN_BY = ("", "'", '"', "=", "{", "}", "[", "]", "#", "1", ".", "\n", ", ", "\x00", "9" * 30, "nan", "true ", '""')


def test_no_random_damage_is_answered_by_anything_but_lines(tmp_path: Path) -> None:
    """The seed is fixed: a failure repeats itself."""
    chance = random.Random(7)
    path = tmp_path / pairs.FILE
    for _ in range(300):
        start = chance.randrange(len(TEXT))
        end = start + chance.choice((0, 1, 1, 12, 40))
        path.write_text(TEXT[:start] + chance.choice(BROKEN_BY) + TEXT[end:], encoding="utf-8")
        try:
            pairs.read(path)
        except BadPairs as error:
            for line in str(error).splitlines():
                assert LINE.fullmatch(line), (start, end, line)
