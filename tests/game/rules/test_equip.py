"""Tests worn items: one item a slot, each item once, by who may wear it."""

from __future__ import annotations

import pytest

from db.samples import builders
from game.rows import Rows
from game.rules import catalog
from game.rules.commands import Equip, Unequip
from tests.game.rules.playing import play, refusal

FANS = {"fan": "푸른 바람 부채", "fan2": "은결 바람 부채", "board": "새싹 바둑판", "stone": "하급 강화석"}


def hana(**given: object) -> Rows:
    return builders.player("hana", **({"bag": FANS, "level": 30} | given))


def test_an_item_is_worn_in_its_slot() -> None:
    played = play(hana(), Equip("fan"))
    assert played.outcome == {"slot": "fan", "item": "fan", "replaced": None}
    (worn,) = played.changes["user_equipment"].inserts.values()
    assert worn == {"user_id": "hana", "slot": "fan", "position": 0, "item_id": "fan", "kept": None}
    assert played.history == [("equip", "fan", 0, 1)]


def test_another_item_of_the_slot_takes_its_place() -> None:
    played = play(hana(worn=["fan", "board"]), Equip("fan2"))
    assert played.outcome == {"slot": "fan", "item": "fan2", "replaced": "fan"}
    assert played.updated("user_equipment") == {"fan": {"item_id": ("fan", "fan2")}}
    assert played.history == [("unequip", "fan", 0, 1), ("equip", "fan2", 0, 1)]


def test_taking_off_leaves_the_slot_empty() -> None:
    played = play(hana(worn=["fan", "board"]), Unequip("fan"))
    assert played.outcome == {"slot": "fan", "item": "fan"}
    assert list(played.changes["user_equipment"].deletes) == [("hana", "fan")]
    assert played.history == [("unequip", "fan", 0, 1)]


@pytest.mark.parametrize(("grade", "level"), [(name, grade.wear_level) for name, grade in catalog.GRADES.items()])
def test_a_grade_asks_for_its_level_sum(grade: str, level: int) -> None:
    name = next(t.name for t in catalog.TEMPLATES.values() if t.grade == grade)
    assert play(hana(bag={"i": name}, level=level), Equip("i")).outcome["item"] == "i"
    rows = hana(bag={"i": name}, level=level)
    rows["users"][("hana",)]["strategy_level"] = level - 2
    assert refusal(rows, Equip("i")) == "level_too_low"


def test_what_cannot_be_worn_is_refused_by_its_reason() -> None:
    assert refusal(hana(), Equip("ghost")) == "no_such_item"
    assert refusal(hana(), Equip("stone")) == "not_equipment"
    assert refusal(hana(worn=["fan"]), Equip("fan")) == "already_worn"
    assert refusal(hana(), Unequip("fan")) == "slot_empty"


@pytest.mark.parametrize(("column", "value"), [("slot", "hat"), ("grade", "divine"), ("slot", None)])
def test_equipment_that_the_rules_do_not_know_is_none(column: str, value: str | None) -> None:
    rows = hana()
    rows["user_inventory"][("hana", "fan")][column] = value
    assert refusal(rows, Equip("fan")) == "not_equipment"


def kept(rows: Rows) -> Rows:
    rows["user_equipment"][("hana", "fan")] = {
        "user_id": "hana",
        "slot": "fan",
        "position": 0,
        "item_id": None,
        "kept": '"item-gone"',
    }
    return rows


def test_a_dangling_entry_gives_way_to_an_item() -> None:
    played = play(kept(hana()), Equip("fan"))
    assert played.outcome["replaced"] is None
    assert played.updated("user_equipment") == {"fan": {"item_id": (None, "fan"), "kept": ('"item-gone"', None)}}
    assert played.history == [("equip", "fan", 0, 1)]


def test_a_dangling_entry_is_nothing_to_take_off() -> None:
    assert refusal(kept(hana()), Unequip("fan")) == "slot_empty"


def test_a_flag_that_disagreed_agrees_once_the_item_is_touched() -> None:
    rows = hana(worn=["fan"])
    for item, flag in (("fan", False), ("fan2", True), ("board", True)):
        rows["user_inventory"][("hana", item)]["worn_flag"] = flag
    played = play(rows, Equip("fan2"))
    assert played.updated("user_inventory") == {
        "fan": {"worn_flag": (False, None)},
        "fan2": {"worn_flag": (True, None)},
    }
