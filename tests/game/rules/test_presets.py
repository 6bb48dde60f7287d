"""Presets: what is worn is remembered under a name, and put on again whole or not at all."""

from __future__ import annotations

import json

import pytest

from game.rows import Rows
from game.rules.commands import ApplyPreset, SavePreset
from tests.game.records import hana, preset, with_item, with_user
from tests.game.rules.playing import play, refusal

BAG = {
    "fan": "푸른 바람 부채",
    "fan2": "은결 바람 부채",
    "board": "새싹 바둑판",
    "top": "봄빛 도복 상의",
    "stone": "하급 강화석",
}
APPLY = ApplyPreset("대회")


def player(*worn: str, level: int = 30) -> Rows:
    return hana(bag=BAG, worn=list(worn), level=level)


def keep(rows: Rows, slot: str) -> Rows:
    rows["user_equipment"][("hana", slot)] = {
        "user_id": "hana",
        "slot": slot,
        "position": 9999,
        "item_id": None,
        "kept": '"item-gone"',
    }
    return rows


def test_what_is_worn_is_saved_under_the_name() -> None:
    played = play(keep(player("fan", "board"), "top"), SavePreset("대회"))
    assert played.outcome == {"name": "대회", "equipment": {"fan": "fan", "board": "board"}}
    (made,) = played.changes["user_equipment_presets"].inserts.values()
    assert made == {"user_id": "hana", "name": "대회", "position": 0, "equipment": '{"fan":"fan","board":"board"}'}
    assert set(played.changes) == {"user_equipment_presets"}


def test_a_name_that_is_taken_stands_for_the_new_set_in_its_old_place() -> None:
    rows = preset(preset(player(), "대회", {"fan": "fan2"}), "다른", {})
    played = play(rows, SavePreset("대회"))
    assert played.updated("user_equipment_presets") == {"대회": {"equipment": ('{"fan": "fan2"}', "{}")}}


def test_ten_presets_are_kept_and_an_eleventh_is_refused() -> None:
    rows = player("fan")
    for n in range(9):
        preset(rows, f"p{n}", {})
    saved = play(rows, SavePreset("tenth")).rows
    assert refusal(saved, SavePreset("eleventh")) == "too_many_presets"
    assert play(saved, SavePreset("p3")).outcome["name"] == "p3"


def test_exactly_the_items_of_the_preset_are_worn_after() -> None:
    rows = preset(player("fan", "board"), "대회", {"fan": "fan2", "top": "top"})
    played = play(rows, APPLY)
    assert played.outcome == {"worn": {"fan": "fan2", "top": "top"}}
    equipment = played.changes["user_equipment"]
    assert list(equipment.deletes) == [("hana", "board")]
    assert list(equipment.inserts) == [("hana", "top")]
    assert played.updated("user_equipment") == {"fan": {"item_id": ("fan", "fan2")}}
    assert played.history == [
        ("unequip", "board", 0, 1),
        ("unequip", "fan", 0, 1),
        ("equip", "fan2", 0, 1),
        ("equip", "top", 0, 1),
    ]


def test_what_is_worn_already_and_stays_is_not_touched() -> None:
    rows = preset(player("fan", "board"), "대회", {"board": "board", "fan": "fan"})
    played = play(rows, APPLY)
    assert (played.outcome, played.history) == ({"worn": {"board": "board", "fan": "fan"}}, [])
    assert set(played.changes) == set()


def test_an_empty_preset_takes_all_off() -> None:
    played = play(preset(player("fan", "board"), "대회", {"fan": None}), APPLY)
    assert played.outcome == {"worn": {}}
    assert [line[:2] for line in played.history] == [("unequip", "fan"), ("unequip", "board")]


def test_a_kept_entry_gives_way_only_where_the_preset_fills_its_slot() -> None:
    rows = preset(keep(keep(player(), "fan"), "board"), "대회", {"fan": "fan"})
    played = play(rows, APPLY)
    assert played.updated("user_equipment") == {"fan": {"item_id": (None, "fan"), "kept": ('"item-gone"', None)}}
    assert played.changes["user_equipment"].deletes == {}


@pytest.mark.parametrize(
    "equipment",
    [
        {"fan": "sold"},
        {"fan": "board"},
        {"fan": "stone"},
        {"hat": "fan"},
        {"fan": 5},
        {"fan": ["fan"]},
        {"fan": "fan", "board": "\ud800"},
        "[]",
        "null",
        "{",
    ],
)
def test_an_item_that_is_gone_refuses_the_whole_preset(equipment: dict[str, object] | str) -> None:
    assert refusal(preset(player("top"), "대회", equipment), APPLY) == "preset_item_gone"


def test_the_refusal_names_the_item_that_is_gone_in_text_that_can_be_sent() -> None:
    for item in ("sold", "\ud800"):
        with pytest.raises(Exception, match="preset_item_gone") as refused:
            play(preset(player(), "대회", json.dumps({"fan": item})), APPLY)
        assert json.dumps(item)[1:-1] in refused.value.detail
        assert refused.value.detail.encode()


def test_an_item_that_the_rules_no_longer_know_is_gone() -> None:
    rows = preset(player(), "대회", {"fan": "fan"})
    for changes in ({"grade": "divine"}, {"type": "relic"}, {"slot": None}):
        assert refusal(with_item(rows.copy(), "fan", **changes), APPLY) == "preset_item_gone"


def test_every_item_asks_for_its_level() -> None:
    rows = preset(player(), "대회", {"board": "board", "fan": "fan2"})
    assert refusal(with_user(rows, strategy_level=1, playful_level=1), APPLY) == "level_too_low"
    assert play(with_user(rows, strategy_level=2, playful_level=1), APPLY).outcome


def test_a_preset_of_another_name_is_none() -> None:
    assert refusal(preset(player(), "대회 ", {}), APPLY) == "no_such_preset"
