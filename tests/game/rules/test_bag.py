"""The bag: bundles, sales and places."""

from __future__ import annotations

from math import floor

import pytest

from game.rows import Rows
from game.rules import catalog
from game.rules.commands import ExpandBag, ItemType, OpenBundle, SellItem
from tests.game.records import hana, with_item, with_user
from tests.game.rules.playing import play, refusal

LARGEST = 2**63 - 1
TYPES: tuple[ItemType, ...] = ("equipment", "material", "consumable")
BUNDLES = {
    "골드 꾸러미1": ("gold", 10, 500),
    "골드 꾸러미2": ("gold", 100, 1000),
    "골드 꾸러미3": ("gold", 500, 3000),
    "골드 꾸러미4": ("gold", 1000, 10000),
    "다이아 꾸러미1": ("diamonds", 1, 20),
    "다이아 꾸러미2": ("diamonds", 10, 30),
    "다이아 꾸러미3": ("diamonds", 20, 50),
    "다이아 꾸러미4": ("diamonds", 30, 100),
}
PRICES = {"normal": 50, "uncommon": 100, "rare": 200, "epic": 300, "legendary": 500, "mythic": 1000}
STONES = {"하급 강화석": 10, "중급 강화석": 30, "상급 강화석": 50, "최상급 강화석": 100, "신비의 강화석": 200}


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_gives_what_is_drawn_from_its_range(name: str) -> None:
    currency, low, high = BUNDLES[name]
    rows = hana(bag={"b": {"name": name, "quantity": 3}})
    for amount in (low, high):
        played = play(rows, OpenBundle("b"), {"amount": amount})
        assert played.outcome == {"gold": 0, "diamonds": 0} | {currency: amount}
        assert played.ledger == [(currency, amount, "bundle", amount)]
        assert played.history == [("spend", "b", -1, 2)]
    for amount in (low - 1, high + 1):
        with pytest.raises(Exception, match=f"from {low} to {high}"):
            play(rows, OpenBundle("b"), {"amount": amount})


def test_the_last_bundle_leaves_its_place() -> None:
    played = play(hana(bag={"b": "골드 꾸러미1"}), OpenBundle("b"))
    assert list(played.changes["user_inventory"].deletes) == [("hana", "b")]


def test_what_is_no_bundle_is_not_opened() -> None:
    for name in ("장비 상자 I", "재료 상자 VI", "미사일", "하급 강화석", "새싹 바둑판"):
        assert refusal(hana(bag={"b": name}), OpenBundle("b")) == "not_a_bundle"
    assert refusal(with_item(hana(bag={"b": "골드 꾸러미1"}), "b", type="relic"), OpenBundle("b")) == "not_a_bundle"
    assert refusal(hana(), OpenBundle("b")) == "no_such_item"
    rows = with_user(hana(bag={"b": "골드 꾸러미1"}), gold=LARGEST - 9)
    assert refusal(rows, OpenBundle("b")) == "balance_too_high"


@pytest.mark.parametrize(("grade", "stars"), [(grade, stars) for grade in PRICES for stars in range(11)])
def test_equipment_sells_for_its_grade_and_a_fifth_more_a_star(grade: str, stars: int) -> None:
    price = floor(PRICES[grade] * 6**stars / 5**stars + 1e-9)
    rows = hana(bag={"fan": {"name": catalog.EQUIPMENT_OF[("fan", grade)].name, "stars": stars}})
    played = play(rows, SellItem("fan"))
    assert played.outcome == {"gold": price}
    assert played.ledger == [("gold", price, "sale", price)]
    assert played.history == [("spend", "fan", -1, 0)]


@pytest.mark.parametrize(("grade", "stars", "price"), [("normal", 1, 60), ("normal", 3, 86), ("mythic", 10, 6191)])
def test_a_price_is_cut_off_and_not_rounded(grade: str, stars: int, price: int) -> None:
    assert catalog.equipment_price(catalog.GRADES[grade], stars) == price


@pytest.mark.parametrize(("name", "price"), STONES.items())
def test_materials_sell_by_tier_any_number_of_them(name: str, price: int) -> None:
    played = play(hana(bag={"stone": {"name": name, "quantity": 9}}), SellItem("stone", 7))
    assert played.outcome == {"gold": 7 * price}
    assert played.history == [("spend", "stone", -7, 2)]


def sold(name: str, quantity: int = 1, **given: object) -> Rows:
    return hana(bag={"i": {"name": name, "quantity": quantity}}, **given)


def test_what_can_not_be_sold_is_refused_by_its_reason() -> None:
    assert refusal(sold("미사일"), SellItem("i")) == "cannot_be_sold"
    assert refusal(hana(), SellItem("i")) == "no_such_item"
    assert refusal(hana(bag={"i": "새싹 바둑판"}, worn=["i"]), SellItem("i")) == "item_is_worn"
    assert refusal(sold("하급 강화석", 5), SellItem("i", 6)) == "not_enough_material"
    assert refusal(sold("하급 강화석", 5), SellItem("i", LARGEST)) == "not_enough_material"
    assert refusal(hana(bag={"i": "새싹 바둑판"}), SellItem("i", 2)) == "not_enough_material"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "relic"}, "cannot_be_sold"),
        ({"type": "material"}, "cannot_be_sold"),
        ({"grade": "divine"}, "not_equipment"),
        ({"grade": None}, "not_equipment"),
        ({"slot": "hat"}, "not_equipment"),
        ({"quantity": 3}, None),
    ],
)
def test_what_the_rules_do_not_know_has_no_price(changes: dict[str, str | int | None], code: str | None) -> None:
    rows = with_item(hana(bag={"i": "새싹 바둑판"}), "i", **changes)
    if code is None:
        assert play(rows, SellItem("i")).history == [("spend", "i", -1, 2)]
        assert refusal(rows, SellItem("i", 2)) == "not_enough_material"
    else:
        assert refusal(rows, SellItem("i")) == code


def test_a_sale_beyond_what_a_purse_holds_is_refused() -> None:
    assert refusal(with_item(sold("하급 강화석"), "i", quantity=LARGEST), SellItem("i", LARGEST)) == "balance_too_high"


@pytest.mark.parametrize(
    ("places", "price", "after"),
    [
        (30, 100, 40),
        (40, 120, 50),
        (50, 140, 60),
        (90, 220, 100),
        (95, 220, 100),
        (99, 220, 100),
        (39, 100, 49),
        (0, 100, 10),
        (29, 100, 39),
    ],
)
def test_ten_places_cost_a_hundred_diamonds_and_twenty_more_each_time(places: int, price: int, after: int) -> None:
    for type_ in TYPES:
        played = play(hana(places={type_: places}, diamonds=price), ExpandBag(type_))
        assert played.outcome == {"type": type_, "places": after}
        assert played.user == {"diamonds": (price, 0), f"places_{type_}": (places, after)}
        assert played.ledger == [("diamonds", -price, "expand_bag", 0)]
    assert refusal(hana(places={"material": places}, diamonds=price - 1), ExpandBag("material")) == (
        "not_enough_diamonds"
    )


@pytest.mark.parametrize("places", [100, 130, LARGEST])
def test_a_bag_of_a_hundred_places_is_not_expanded(places: int) -> None:
    rows = with_user(hana(diamonds=10_000), places_material=places)
    assert refusal(rows, ExpandBag("material")) == "bag_at_limit"
