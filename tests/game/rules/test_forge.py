"""The forge: what a star costs, what luck does, and what is the same either way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from db.samples import builders
from game.rows import Rows
from game.rules.commands import Enhance
from tests.game.rules.playing import play, refusal

ENHANCE = Enhance("fan")
SUB = {"type": "전투력", "value": 2, "isPercentage": False, "range": [1, 3], "enhancements": 0}


def hana(fan: Mapping[str, object] | None = None, **given: object) -> Rows:
    bag = {
        "fan": {"name": "푸른 바람 부채", **(fan or {})},
        "stone": {"name": "하급 강화석", "quantity": 60},
        "stone2": {"name": "중급 강화석", "quantity": 50},
        "stone4": {"name": "최상급 강화석", "quantity": 5},
    }
    return builders.player("hana", **({"bag": bag, "gold": 10_000, "level": 30} | given))


def options(rows: Rows) -> Any:
    return json.loads(str(rows["user_inventory"][("hana", "fan")]["options"]))


def test_a_failure_spends_adds_a_failure_and_leaves_the_item_otherwise() -> None:
    played = play(hana({"stars": 3}, gold=1000), ENHANCE, {"success": 70.5, "xp": 4})
    assert played.outcome == {"success": False, "stars": 3}
    assert played.user == {"gold": (1000, 662), "forge_xp": (0, 4)}
    assert played.updated("user_inventory") == {"fan": {"fails": (0, 1)}, "stone": {"quantity": (60, 35)}}
    assert played.ledger == [("gold", -338, "enhance", 662)]
    assert played.history == [("spend", "stone", -25, 35), ("enhance", "fan", 0, 1)]


def test_a_success_costs_the_same_and_forgets_the_failures() -> None:
    rows = hana(
        {"stars": 3, "fails": 2, "options": {"main": {"value": 16, "baseValue": 4}, "combatSubs": []}}, gold=1000
    )
    played = play(rows, ENHANCE, {"success": 80, "xp": 4, "sub.type": 6, "sub.value": 3})
    assert played.outcome == {"success": True, "stars": 4}
    assert played.user == {"gold": (1000, 662), "forge_xp": (0, 4)}
    fan = played.updated("user_inventory")["fan"]
    assert (fan["stars"], fan["fails"]) == ((3, 4), (2, 0))
    assert options(played.rows) == {
        "main": {"value": 21, "baseValue": 4},
        "combatSubs": [{"type": "안정감", "value": 3, "isPercentage": False, "range": [1, 3], "enhancements": 0}],
    }


@pytest.mark.parametrize(
    ("fails", "dice", "success"), [(0, 70, True), (0, 70.5, False), (1, 75, True), (1, 75.5, False)]
)
def test_the_chance_is_met_at_its_edge(fails: int, dice: float, success: bool) -> None:
    played = play(hana({"stars": 3, "fails": fails}), ENHANCE, {"success": dice})
    assert played.outcome["success"] is success


def test_a_fifth_sub_is_never_added_one_of_four_is_raised() -> None:
    rows = hana({"options": {"combatSubs": [dict(SUB) for _ in range(4)]}})
    played = play(rows, ENHANCE, {"success": 1, "sub.index": 3, "sub.value": 2})
    assert [sub["value"] for sub in options(played.rows)["combatSubs"]] == [2, 2, 4, 2]
    assert [sub["enhancements"] for sub in options(played.rows)["combatSubs"]] == [0, 0, 1, 0]


def test_a_new_sub_raises_a_stat_that_no_other_does() -> None:
    taken = [{**SUB, "type": stat} for stat in ("집중력", "사고속도", "판단력")]
    played = play(hana({"options": {"combatSubs": taken}}), ENHANCE, {"success": 1, "sub.type": 1})
    assert options(played.rows)["combatSubs"][3]["type"] == "계산력"


@pytest.mark.parametrize(
    ("document", "left"),
    [
        (None, {"combatSubs": 1}),
        ({"main": "?", "combatSubs": []}, {"main": "?", "combatSubs": 1}),
        ({"main": {"value": "4"}, "combatSubs": "?"}, {"main": {"value": "4"}, "combatSubs": "?"}),
        ([1], [1]),
        ({"combatSubs": [1, 2, 3, 4]}, {"combatSubs": [1, 2, 3, 4]}),
    ],
)
def test_options_of_another_shape_stay_and_the_star_is_won(document: object, left: object) -> None:
    rows = hana()
    rows["user_inventory"][("hana", "fan")]["options"] = None if document is None else json.dumps(document)
    played = play(rows, ENHANCE, {"success": 1})
    written = options(played.rows)
    assert played.outcome == {"success": True, "stars": 1}
    if isinstance(left, dict) and left["combatSubs"] == 1:
        assert [sub["enhancements"] for sub in written.pop("combatSubs")] == [0]
        del left["combatSubs"]
    assert written == left


def test_what_the_options_hold_besides_comes_back_as_it_was() -> None:
    rows = hana()
    text = '{"x":1.50, "main":{"value": 4.0,"baseValue":4,"y":"\\uac00"},"n":[1e2,-0],"combatSubs":[ ],"z":null}'
    rows["user_inventory"][("hana", "fan")]["options"] = text
    dice = {"success": 1, "sub.type": 1, "sub.value": 2}
    after = str(play(rows, ENHANCE, dice).rows["user_inventory"][("hana", "fan")]["options"])
    sub = '{"type":"집중력","value":2,"isPercentage":false,"range":[1,3],"enhancements":0}'
    assert after == text.replace("4.0", "8.0").replace("[ ]", f"[{sub} ]")


def test_a_sub_that_is_raised_changes_its_own_numbers_alone() -> None:
    rows = hana()
    text = '{"combatSubs":[{"value":1.0},{"value":1.50},{"value":1e0}, {"value":2.50,"x":1e2}],"main":null}'
    rows["user_inventory"][("hana", "fan")]["options"] = text
    dice = {"success": 1, "sub.index": 4, "sub.value": 2}
    after = str(play(rows, ENHANCE, dice).rows["user_inventory"][("hana", "fan")]["options"])
    assert after == text.replace("2.50", "4.5").replace("1e2}", '1e2,"enhancements":1}')


def test_options_nested_as_deep_as_can_be_break_nothing() -> None:
    for depth in (100, 300, 900, 990, 1500, 100_000):
        rows = hana()
        text = '{"x":' + "[" * depth + "]" * depth + ',"combatSubs":[]}'
        rows["user_inventory"][("hana", "fan")]["options"] = text
        assert play(rows, ENHANCE, {"success": 1}).outcome["success"] is True


def test_materials_are_taken_from_the_first_places_first() -> None:
    bag = {
        "fan": "푸른 바람 부채",
        "b": {"name": "하급 강화석", "quantity": 4},
        "a": {"name": "하급 강화석", "quantity": 3},
        "c": {"name": "하급 강화석", "quantity": 9},
    }
    played = play(hana(bag=bag), ENHANCE, {"success": 1})
    assert played.history[:3] == [("spend", "b", -4, 0), ("spend", "a", -3, 0), ("spend", "c", -3, 6)]
    assert set(played.changes["user_inventory"].deletes) == {("hana", "b"), ("hana", "a")}


def test_gold_and_materials_that_are_just_enough_do() -> None:
    bag = {"fan": "푸른 바람 부채", "stone": {"name": "하급 강화석", "quantity": 10}}
    assert play(hana(bag=bag, gold=100), ENHANCE, {"success": 1}).user["gold"] == (100, 0)
    assert refusal(hana(bag=bag, gold=99), ENHANCE) == "not_enough_gold"
    bag["stone"] = {"name": "하급 강화석", "quantity": 9}
    assert refusal(hana(bag=bag, gold=100), ENHANCE) == "not_enough_material"


@pytest.mark.parametrize(("stars", "level"), [(3, 3), (6, 8), (9, 15)])
def test_the_fourth_seventh_and_tenth_star_ask_for_a_level(stars: int, level: int) -> None:
    rows = hana({"stars": stars}, level=level)
    rows["users"][("hana",)]["strategy_level"] = level - 2
    assert refusal(rows, ENHANCE) == "level_too_low"
    rows["users"][("hana",)]["strategy_level"] = level - 1
    assert play(rows, ENHANCE, {"success": 1}).outcome["stars"] == stars + 1


def test_what_has_all_stars_and_what_is_no_equipment_is_refused() -> None:
    assert refusal(hana({"stars": 10}), ENHANCE) == "max_stars"
    assert refusal(hana(), Enhance("stone")) == "not_equipment"
    assert refusal(hana(), Enhance("ghost")) == "no_such_item"


@pytest.mark.parametrize(
    ("before", "xp", "after"),
    [
        ((1, 1190), 9, (1, 1199)),
        ((1, 1190), 10, (2, 0)),
        ((1, 1195), 10, (2, 5)),
        ((19, 8649), 3, (20, 2)),
        ((20, 77), 10, (20, 77)),
        ((1, 5000), 1, (4, 5001 - 1200 - 1400 - 1600)),
    ],
)
def test_experience_lifts_the_forge_level_up_to_twenty(
    before: tuple[int, int], xp: int, after: tuple[int, int]
) -> None:
    rows = hana(forge={"level": before[0], "xp": before[1]})
    user = play(rows, ENHANCE, {"xp": xp}).rows["users"][("hana",)]
    assert (user["forge_level"], user["forge_xp"]) == after


@pytest.mark.parametrize("xp", [0, 11])
def test_experience_is_drawn_from_the_range_of_the_grade(xp: int) -> None:
    with pytest.raises(Exception, match="from 1 to 10"):
        play(hana(), ENHANCE, {"xp": xp})


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 100_000, '{"a":1,"a":2}', '"text"', "5"],
    ids=["broken", "too deep", "a key twice", "a text", "a number"],
)
def test_options_that_are_no_object_stay_as_they_are(text: str) -> None:
    rows = hana()
    rows["user_inventory"][("hana", "fan")]["options"] = text
    played = play(rows, ENHANCE, {"success": 1})
    assert played.rows["user_inventory"][("hana", "fan")]["options"] == text
    assert played.outcome == {"success": True, "stars": 1}


@pytest.mark.parametrize(
    "text",
    [
        '{"main":{"value":1e400,"baseValue":4},"combatSubs":"?"}',
        '{"main":{"value":%s,"baseValue":4},"combatSubs":"?"}' % ("9" * 400),
        '{"main":{"value":4,"baseValue":%s},"combatSubs":"?"}' % ("9" * 400),
        '{"main":{"value":1.5,"baseValue":1e300},"combatSubs":"?"}',
    ],
)
def test_a_number_too_large_to_be_exact_is_not_added_to(text: str) -> None:
    rows = hana({"options": {}})
    rows["user_inventory"][("hana", "fan")]["options"] = text
    main = json.loads(text)["main"]
    assert options(play(rows, ENHANCE, {"success": 1}).rows)["main"] == main


def test_subs_of_another_shape_take_no_stat_and_no_value() -> None:
    rows = hana({"options": {"combatSubs": [{"type": ["집중력"]}, 5, {"type": {}}]}})
    played = play(rows, ENHANCE, {"success": 1, "sub.type": 1, "sub.value": 2})
    assert options(played.rows)["combatSubs"][3]["type"] == "집중력"
    sub = {"range": [1, 10**400], "value": 1.5}
    rows = hana({"options": {"combatSubs": [sub, sub, sub, sub]}})
    played = play(rows, ENHANCE, {"success": 1, "sub.index": 1, "sub.value": 3})
    assert options(played.rows)["combatSubs"][0]["value"] == 4.5


def test_options_with_half_a_character_are_written_as_text_that_can_be_stored() -> None:
    rows = hana()
    rows["user_inventory"][("hana", "fan")]["options"] = '{"combatSubs":[],"x":"\\ud800","y":"\\u0000가"}'
    played = play(rows, ENHANCE, {"success": 1})
    text = str(played.rows["user_inventory"][("hana", "fan")]["options"])
    assert text.encode()
    assert "\0" not in text
    assert json.loads(text)["x"] == "\ud800"


def test_failures_and_experience_never_grow_beyond_what_a_column_holds() -> None:
    rows = hana({"stars": 3}, forge={"level": 1, "xp": 0})
    rows["user_inventory"][("hana", "fan")]["fails"] = 2**63 - 1
    assert play(rows, ENHANCE, {"success": 100}).outcome["success"] is True
    rows = hana()
    rows["users"][("hana",)]["forge_xp"] = 2**63 - 1
    assert refusal(rows, ENHANCE) == "balance_too_high"


def test_options_with_a_number_that_can_not_be_written_again_stay_as_they_are() -> None:
    text = '{"main":{"type":"집중력","value":4,"baseValue":4},"seed":1e999}'
    rows = builders.player(
        "hana", gold=5000, bag={"fan": "푸른 바람 부채", "stone": {"name": "하급 강화석", "quantity": 50}}
    )
    rows["user_inventory"][("hana", "fan")]["options"] = text
    played = play(rows, Enhance("fan"), {"success": 1, "xp": 1})
    assert played.rows["user_inventory"][("hana", "fan")]["options"] == text
    assert played.rows["user_inventory"][("hana", "fan")]["stars"] == 1
