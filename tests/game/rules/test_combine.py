"""Combining: three items of one grade into one, of the same grade or the next."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from game.rows import Rows
from game.rules import catalog
from game.rules.chance import new_id
from game.rules.commands import Combine
from tests.game.records import hana, with_item
from tests.game.rules.playing import play, refusal

GRADES = ("normal", "uncommon", "rare", "epic", "legendary", "mythic")
NEEDED_LEVEL = dict(zip(GRADES, (1, 1, 2, 3, 4, 5), strict=True))
XP = dict(zip(GRADES, ((10, 30), (20, 50), (30, 80), (50, 150), (100, 300), (200, 500)), strict=True))
GREAT = {
    # percent by forge level
    "normal": {1: 50, 4: 50, 5: 50, 6: 65, 7: 80, 8: 95, 9: 100, 20: 100},
    "uncommon": {1: 30, 5: 30, 6: 40, 12: 100, 13: 100, 20: 100},
    "rare": {2: 20, 5: 20, 6: 25, 19: 90, 20: 95},
    "epic": {3: 10, 5: 10, 6: 12.5, 7: 15, 19: 45, 20: 50},
    "legendary": {4: 1, 5: 1.5, 6: 2, 7: 2.5, 19: 8.5, 20: 10},
    "mythic": {5: 25, 6: 30, 19: 95, 20: 100},
}
COMBINE = Combine(("a", "b", "c"))


def of_grade(grade: str, slots: Sequence[str] = ("fan", "board", "stones"), *, forge: int = 5, **given: object) -> Rows:
    names = {item: catalog.EQUIPMENT_OF[(slot, grade)].name for item, slot in zip("abc", slots, strict=True)}
    return hana(bag=names, forge=forge, **given)


def test_three_items_become_one_of_the_slot_that_was_drawn() -> None:
    played = play(of_grade("normal"), COMBINE, {"success": 50.5, "slot": 2, "xp": 17})
    made = new_id("r1", 1)
    assert played.outcome == {"success": False, "item": made, "name": "새싹 바둑판", "slot": "board", "grade": "normal"}
    assert set(played.changes["user_inventory"].deletes) == {("hana", "a"), ("hana", "b"), ("hana", "c")}
    (item,) = played.changes["user_inventory"].inserts.values()
    assert (item["id"], item["name"], item["stars"], item["position"]) == (made, "새싹 바둑판", 0, 0)
    assert played.user == {"forge_xp": (0, 17)}
    assert played.history == [
        ("spend", "a", -1, 0),
        ("spend", "b", -1, 0),
        ("spend", "c", -1, 0),
        ("gain", made, 1, 1),
        ("combine", made, 0, 1),
    ]


def test_a_great_success_gives_the_next_grade() -> None:
    played = play(of_grade("normal"), COMBINE, {"success": 50, "slot": 3})
    assert (played.outcome["success"], played.outcome["name"]) == (True, "은빛 결돌")


def test_the_slot_comes_from_the_items_in_the_order_given_or_from_all_when_random() -> None:
    rows = of_grade("normal", ("fan", "fan", "top"))
    assert play(rows, Combine(("c", "a", "b")), {"slot": 1}).outcome["slot"] == "top"
    for n, slot in enumerate(("fan", "board", "top", "bottom", "bowl", "stones"), start=1):
        assert play(rows, Combine(("a", "b", "c"), random=True), {"slot": n}).outcome["slot"] == slot
    with pytest.raises(Exception, match="from 1 to 3"):
        play(rows, COMBINE, {"slot": 4})


@pytest.mark.parametrize(("grade", "level"), [(grade, level) for grade in GRADES for level in GREAT[grade]])
def test_the_odds_are_those_of_the_grade_and_the_forge_level(grade: str, level: int) -> None:
    percent = GREAT[grade][level]
    assert play(of_grade(grade, forge=level), COMBINE, {"success": percent}).outcome["success"] is True
    if percent < 100:
        assert play(of_grade(grade, forge=level), COMBINE, {"success": percent + 0.5}).outcome["success"] is False


@pytest.mark.parametrize("grade", GRADES)
def test_a_grade_asks_for_its_forge_level_and_gives_its_experience(grade: str) -> None:
    level, (low, high) = NEEDED_LEVEL[grade], XP[grade]
    if level > 1:
        assert refusal(of_grade(grade, forge=level - 1), COMBINE) == "forge_level_too_low"
    for xp in (low, high):
        assert play(of_grade(grade, forge=level), COMBINE, {"xp": xp}).user["forge_xp"] == (0, xp)
    for xp in (low - 1, high + 1):
        with pytest.raises(Exception, match=f"from {low} to {high}"):
            play(of_grade(grade, forge=level), COMBINE, {"xp": xp})


def test_three_mythics_that_miss_give_a_mythic_and_that_hit_a_divine_one() -> None:
    missed = play(of_grade("mythic"), COMBINE, {"success": 25.5, "slot": 1})
    (item,) = missed.changes["user_inventory"].inserts.values()
    assert (item["grade"], json.loads(str(item["options"]))["mythicSubs"]) == ("mythic", [])
    dice = {"success": 25, "slot": 1, "mythic.type": 6, "mythic.value": 12, "mythic.type.2": 5, "mythic.value.2": 20}
    (item,) = play(of_grade("mythic"), COMBINE, dice).changes["user_inventory"].inserts.values()
    options = json.loads(str(item["options"]))
    assert (item["name"], item["grade"]) == ("천룡 바람 부채", "mythic")
    assert options["main"] == {"type": "집중력", "value": 15, "baseValue": 15, "isPercentage": True}
    assert options["mythicSubs"] == [
        {"type": "안정감", "value": 12, "isPercentage": False, "range": [10, 20], "enhancements": 0},
        {"type": "전투력", "value": 20, "isPercentage": False, "range": [10, 20], "enhancements": 0},
    ]


def test_what_comes_of_it_fits_even_a_bag_that_is_too_full() -> None:
    assert play(of_grade("normal", places={"equipment": 0}), COMBINE).outcome["item"] == new_id("r1", 1)


def test_what_can_not_be_combined_is_refused_by_its_reason() -> None:
    assert refusal(of_grade("normal"), Combine(("a", "b", "a"))) == "same_item_twice"
    assert refusal(of_grade("normal"), Combine(("a", "b", "ghost"))) == "no_such_item"
    assert refusal(of_grade("normal", worn=["c"]), COMBINE) == "item_is_worn"
    assert refusal(hana(bag={"a": "새싹 바둑판", "b": "새싹 바둑판", "c": "단풍결 바둑판"}), COMBINE) == "grades_differ"
    assert refusal(hana(bag={"a": "새싹 바둑판", "b": "새싹 바둑판", "c": "하급 강화석"}), COMBINE) == "not_equipment"
    divine = with_item(of_grade("normal"), "c", grade="divine")
    assert refusal(divine, COMBINE) == "not_equipment"
