"""Mail: claimed once, whole or not at all."""

from __future__ import annotations

import pytest

from db.samples import builders
from game.rows import Rows
from game.rules.chance import new_id
from game.rules.commands import ClaimMail
from tests.game.rules.playing import play, refusal

CLAIM = ClaimMail("m1")


def hana(**given: object) -> Rows:
    return builders.player("hana", **given)


def test_a_mail_gives_all_that_it_carries() -> None:
    mail = {"m1": {"gold": 50, "diamonds": 3, "action_points": 5, "items": {"골드 꾸러미1": 2}}}
    played = play(hana(gold=100, mail=mail), CLAIM)
    assert played.outcome == {"gold": 50, "diamonds": 3, "action_points": 5, "items": {"골드 꾸러미1": 2}}
    assert played.user == {"gold": (100, 150), "diamonds": (0, 3), "action_points": (30, 35)}
    assert played.updated("user_mail") == {"m1": {"claimed": (False, True)}}
    assert played.ledger == [("gold", 50, "mail", 150), ("diamonds", 3, "mail", 3)]
    assert played.history == [("gain", new_id("r1", 1), 2, 2)]


def test_a_new_stack_comes_last_in_the_bag() -> None:
    played = play(hana(bag={"a": "미사일", "b": "히든"}, mail={"m1": {"items": {"턴 추가": 4}}}), CLAIM)
    (made,) = played.changes["user_inventory"].inserts.values()
    assert made == {
        "user_id": "hana",
        "id": new_id("r1", 1),
        "position": 2048,
        "name": "턴 추가",
        "type": "consumable",
        "slot": None,
        "grade": None,
        "stars": 0,
        "quantity": 4,
        "fails": 0,
        "options": None,
        "worn_flag": None,
    }


def test_equipment_comes_one_a_place_with_its_main_option() -> None:
    played = play(hana(mail={"m1": {"items": {"은빛 결돌": 2}}}), CLAIM)
    made = list(played.changes["user_inventory"].inserts.values())
    assert [(item["slot"], item["grade"], item["quantity"]) for item in made] == [("stones", "uncommon", 1)] * 2
    assert made[0]["options"] == (
        '{"main":{"type":"안정감","value":12,"baseValue":12,"isPercentage":false},'
        '"combatSubs":[],"specialSubs":[],"mythicSubs":[]}'
    )


def test_stacks_are_filled_to_a_hundred_in_the_order_of_the_bag() -> None:
    bag = {
        "full": {"name": "하급 강화석", "quantity": 100},
        "first": {"name": "하급 강화석", "quantity": 70},
        "other": {"name": "중급 강화석", "quantity": 5},
        "second": {"name": "하급 강화석", "quantity": 95},
    }
    played = play(hana(bag=bag, mail={"m1": {"items": {"하급 강화석": 240}}}), CLAIM)
    assert played.updated("user_inventory") == {"first": {"quantity": (70, 100)}, "second": {"quantity": (95, 100)}}
    assert played.history == [
        ("gain", "first", 30, 100),
        ("gain", "second", 5, 100),
        ("gain", new_id("r1", 1), 100, 100),
        ("gain", new_id("r1", 2), 100, 100),
        ("gain", new_id("r1", 3), 5, 5),
    ]


@pytest.mark.parametrize(
    ("name", "number", "type_"),
    [("골드 꾸러미1", 1, "consumable"), ("하급 강화석", 1, "material"), ("새싹 바둑판", 1, "equipment")],
)
def test_a_bag_without_a_place_of_the_type_refuses(name: str, number: int, type_: str) -> None:
    rows = hana(places={type_: 0}, mail={"m1": {"gold": 5, "items": {name: number}}})
    assert refusal(rows, CLAIM) == "bag_full"


def test_the_last_place_is_enough_and_one_more_is_not() -> None:
    bag = {f"i{n}": "새싹 바둑판" for n in range(29)}
    assert play(hana(bag=bag, mail={"m1": {"items": {"새싹 바둑판": 1}}}), CLAIM).history
    assert refusal(hana(bag=bag, mail={"m1": {"items": {"새싹 바둑판": 2}}}), CLAIM) == "bag_full"


def test_places_of_one_type_are_not_taken_by_another() -> None:
    rows = hana(
        places={"material": 1}, bag={f"i{n}": "미사일" for n in range(5)}, mail={"m1": {"items": {"하급 강화석": 1}}}
    )
    assert play(rows, CLAIM).outcome["items"] == {"하급 강화석": 1}


def test_a_stack_with_room_needs_no_place() -> None:
    bag = {"stone": {"name": "하급 강화석", "quantity": 60}}
    rows = hana(places={"material": 1}, bag=bag, mail={"m1": {"items": {"하급 강화석": 40}}})
    assert play(rows, CLAIM).updated("user_inventory") == {"stone": {"quantity": (60, 100)}}


def test_a_mail_expires_at_its_instant_and_not_before() -> None:
    rows = hana(mail={"m1": {"gold": 5, "expires": 1000}})
    assert play(rows, CLAIM, now_ms=999).outcome["gold"] == 5
    assert refusal(rows, CLAIM, now_ms=1000) == "mail_expired"


@pytest.mark.parametrize("never", [{}, {"expires": 0}])
def test_no_time_and_the_time_nought_mean_never(never: dict[str, object]) -> None:
    rows = hana(mail={"m1": {"gold": 5, **never}})
    assert play(rows, CLAIM, now_ms=2**50).outcome["gold"] == 5


def test_a_mail_that_is_not_there_and_one_claimed_before_are_refused() -> None:
    assert refusal(hana(), CLAIM) == "no_such_mail"
    assert refusal(hana(mail={"m1": {"gold": 5, "claimed": True, "expires": 1}}), CLAIM, now_ms=2) == "already_claimed"


def test_an_item_that_no_catalog_knows_is_refused_whole() -> None:
    rows = hana(mail={"m1": {"gold": 5}})
    rows["user_mail"][("hana", "m1")]["items"] = '[["없는 물건",1]]'
    assert refusal(rows, CLAIM) == "no_such_item"


def test_a_mail_without_anything_is_claimed_without_a_line() -> None:
    played = play(hana(mail={"m1": {}}), CLAIM)
    assert set(played.changes) == {"user_mail"}
