"""Disassembling and converting: equipment into materials, materials into those of another tier."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest

from game.rows import Rows
from game.rules import catalog
from game.rules.chance import new_id
from game.rules.commands import Convert, Direction, Disassemble
from tests.game.records import hana, with_item
from tests.game.rules.playing import play, refusal

STONES = ("하급 강화석", "중급 강화석", "상급 강화석", "최상급 강화석", "신비의 강화석")
XP = {
    "normal": (1, 5),
    "uncommon": (5, 10),
    "rare": (10, 20),
    "epic": (20, 40),
    "legendary": (50, 100),
    "mythic": (100, 300),
}
FAN = Disassemble("fan")


def fan(stars: int = 0, **given: object) -> Rows:
    return hana(bag={"fan": {"name": "푸른 바람 부채", "stars": stars}}, **given)


@pytest.mark.parametrize(
    ("stars", "share", "material", "amount"),
    [
        (0, 20, "하급 강화석", 2),
        (0, 50, "하급 강화석", 5),
        (1, 30, "하급 강화석", 5),  # 4.5: halves go up
        (1, 50, "하급 강화석", 8),  # 7.5
        (3, 22, "하급 강화석", 6),  # 5.5
        (5, 33, "중급 강화석", 10),  # 9.9
        (7, 20, "상급 강화석", 1),
        (7, 29, "상급 강화석", 1),
        (7, 30, "상급 강화석", 2),  # 1, 1.45, 1.5
        (9, 20, "최상급 강화석", 1),
        (10, 20, "최상급 강화석", 1),
        (10, 50, "최상급 강화석", 3),  # of 5, +10's own
    ],
)
def test_a_share_of_the_next_stars_materials_comes_of_it(stars: int, share: int, material: str, amount: int) -> None:
    played = play(fan(stars), FAN, {"share": share, "jackpot": 100, "xp": 3})
    assert played.outcome == {"items": {material: amount}, "jackpot": False}
    assert played.history == [("spend", "fan", -1, 0), ("gain", new_id("r1", 1), amount, amount)]
    assert played.user == {"forge_xp": (0, 3)}


def test_there_is_always_one_at_least() -> None:
    grade = catalog.GRADES["normal"]
    amounts = {stars: grade.materials[stars][1] for stars in range(10)}
    for stars, amount in amounts.items():
        for share in range(20, 51):
            exact = max(1, floor(Fraction(amount * share, 100) + Fraction(1, 2)))
            assert catalog.disassembled(grade, stars, share)[1] == exact
    assert catalog.disassembled(grade, 9, 1)[1] == 1


@pytest.mark.parametrize("level", [1, 7, 20])
def test_a_jackpot_doubles_at_two_percent_a_forge_level(level: int) -> None:
    hit = play(fan(forge=level), FAN, {"share": 20, "jackpot": 2 * level})
    assert hit.outcome == {"items": {"하급 강화석": 4}, "jackpot": True}
    missed = play(fan(forge=level), FAN, {"share": 20, "jackpot": 2 * level + 0.5})
    assert missed.outcome == {"items": {"하급 강화석": 2}, "jackpot": False}


@pytest.mark.parametrize("share", [19, 51])
def test_the_share_is_from_twenty_to_fifty(share: int) -> None:
    with pytest.raises(Exception, match="from 20 to 50"):
        play(fan(), FAN, {"share": share})


@pytest.mark.parametrize("grade", XP)
def test_disassembling_gives_the_experience_of_the_grade(grade: str) -> None:
    rows = hana(bag={"fan": catalog.EQUIPMENT_OF[("fan", grade)].name})
    low, high = XP[grade]
    for xp in (low, high):
        assert play(rows, FAN, {"xp": xp}).user["forge_xp"] == (0, xp)
    with pytest.raises(Exception, match=f"from {low} to {high}"):
        play(rows, FAN, {"xp": high + 1})


def test_what_can_not_be_disassembled_is_refused_by_its_reason() -> None:
    assert refusal(hana(), FAN) == "no_such_item"
    assert refusal(hana(bag={"fan": "미사일"}), FAN) == "not_equipment"
    assert refusal(fan(worn=["fan"]), FAN) == "item_is_worn"
    assert refusal(with_item(fan(), "fan", slot="hat"), FAN) == "not_equipment"
    assert refusal(fan(places={"material": 0}), FAN) == "bag_full"


def stones(tier: int, quantity: int, **given: object) -> Rows:
    return hana(bag={"stone": {"name": STONES[tier - 1], "quantity": quantity}}, **given)


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_ten_of_a_tier_become_one_of_the_next(tier: int) -> None:
    played = play(stones(tier, 35), Convert(STONES[tier - 1], "up", 3), {"jackpot": 100})
    assert played.outcome == {"spent": {STONES[tier - 1]: 30}, "items": {STONES[tier]: 3}, "jackpot": False}
    assert played.history == [("spend", "stone", -30, 5), ("gain", new_id("r1", 1), 3, 3)]
    assert played.user == {}


@pytest.mark.parametrize("tier", [2, 3, 4, 5])
def test_one_of_a_tier_becomes_three_to_five_of_the_one_below(tier: int) -> None:
    played = play(stones(tier, 2), Convert(STONES[tier - 1], "down", 2), {"number": 4, "jackpot": 100})
    assert played.outcome == {"spent": {STONES[tier - 1]: 2}, "items": {STONES[tier - 2]: 8}, "jackpot": False}
    for number in (2, 6):
        with pytest.raises(Exception, match="from 3 to 5"):
            play(stones(tier, 2), Convert(STONES[tier - 1], "down"), {"number": number})


@pytest.mark.parametrize(("to", "dice", "gained"), [("up", {}, 2), ("down", {"number": 5}, 10)])
def test_the_same_jackpot_doubles_what_is_converted(to: Direction, dice: dict[str, int], gained: int) -> None:
    hit = play(stones(3, 10, forge=4), Convert("상급 강화석", to), {"jackpot": 8, **dice})
    assert list(hit.outcome["items"].values()) == [gained]
    missed = play(stones(3, 10, forge=4), Convert("상급 강화석", to), {"jackpot": 8.5, **dice})
    assert list(missed.outcome["items"].values()) == [gained // 2]


def test_what_can_not_be_converted_is_refused_by_its_reason() -> None:
    assert refusal(stones(5, 100), Convert("신비의 강화석", "up")) == "top_tier"
    assert refusal(stones(1, 100), Convert("하급 강화석", "down")) == "bottom_tier"
    assert refusal(stones(1, 100), Convert("미사일", "up")) == "not_material"
    assert refusal(stones(1, 9), Convert("하급 강화석", "up")) == "not_enough_material"
    assert refusal(stones(1, 100, places={"material": 1}), Convert("하급 강화석", "up")) == "bag_full"


def test_the_place_that_is_emptied_takes_what_comes_of_it() -> None:
    assert play(stones(1, 10, places={"material": 1}), Convert("하급 강화석", "up"), {"jackpot": 100}).outcome


def test_a_place_that_holds_more_than_a_stack_is_spent_from_and_not_added_to() -> None:
    rows = with_item(stones(1, 100), "stone", quantity=250)
    played = play(rows, Convert("하급 강화석", "up", 20), {"jackpot": 100})
    assert played.history[0] == ("spend", "stone", -200, 50)
    rows = with_item(stones(1, 100), "stone", quantity=250)
    rows["user_inventory"][("hana", "two")] = {**rows["user_inventory"][("hana", "stone")], "id": "two"}
    rows["user_inventory"][("hana", "two")] |= {"name": "중급 강화석", "quantity": 3}
    played = play(rows, Convert("중급 강화석", "down", 1), {"number": 3, "jackpot": 100})
    assert played.history[1] == ("gain", new_id("r1", 1), 3, 3)
