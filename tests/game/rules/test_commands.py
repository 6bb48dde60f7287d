"""Commands: what a request may say, and what a receipt keeps of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from game import tables
from game.errors import BadRequest
from game.rules.actions import ACTIONS
from game.rules.commands import COMMANDS, Combine, Convert, SavePreset, decode


def test_every_command_has_its_action_and_loads_tables_of_a_players_state() -> None:
    assert set(COMMANDS.values()) == set(ACTIONS)
    known = {table.name for table in tables.PLAYER_STATE} - {"users"}
    for command in COMMANDS.values():
        assert set(command.tables) <= known
        assert len(set(command.tables)) == len(command.tables)


def test_what_is_left_out_is_what_it_is_by_default() -> None:
    assert decode("combine", {"items": ["a", "b", "c"]}) == Combine(("a", "b", "c"), random=False)
    assert decode("convert", {"material": "하급 강화석", "to": "up"}) == Convert("하급 강화석", "up", 1)
    assert decode("combine", {"items": ["a", "b", "c"]}).body() == Combine(("a", "b", "c")).body()
    assert json.loads(Combine(("a", "b", "c")).body()) == ["combine", {"items": ["a", "b", "c"], "random": False}]


def test_a_presets_name_is_kept_without_the_spaces_around_it() -> None:
    assert decode("save_preset", {"name": "  대회 용 "}) == SavePreset("대회 용")
    assert decode("save_preset", {"name": " " + "가" * 30}) == SavePreset("가" * 30)


@pytest.mark.parametrize(
    ("action", "fields", "where"),
    [
        ("claim_quest", {"period": "yearly", "quest": "q"}, "period"),
        *[("claim_milestone", {"period": "daily", "milestone": odd}, "milestone") for odd in (0, 21, 20.0, "20", True)],
        *[("combine", {"items": odd}, "items") for odd in ("abc", [], ["a", "b"], ["a", "b", "c", "d"], [1, 2, 3])],
        *[("combine", {"items": ["a", "b", "c"], "random": odd}, "random") for odd in (1, "yes", None)],
        *[
            ("convert", {"material": "하급 강화석", "to": "up", "times": odd}, "times")
            for odd in (0, -1, 101, 1.0, "1", True, None)
        ],
        ("convert", {"material": "하급 강화석", "to": "sideways"}, "to"),
        *[("sell_item", {"item": "i", "quantity": odd}, "quantity") for odd in (0, -5, 2**63, 1.5, "1", True)],
        ("expand_bag", {"type": "relic"}, "type"),
        *[("save_preset", {"name": odd}, "name") for odd in ("", "   ", "가" * 31, "a\0", "a\nb", "\ud800", 5)],
        ("clear_stage", {"stage": "\udfff"}, "stage"),
        ("collect_all_missions", {"mission": "x"}, "mission"),
        ("claim_all_mail", {"mail": "m1"}, "mail"),
    ],
)
def test_a_field_of_another_kind_is_a_bad_request(action: str, fields: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequest, match=f"^{action}: {where}"):
        decode(action, fields)
