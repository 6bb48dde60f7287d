"""For every action a player to whom it is granted, and the command: what tests that concern all actions begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from db.samples import builders
from game.rows import Rows
from game.rules.commands import Command, decode

FAN = "푸른 바람 부채"
SILVER_FAN = "은결 바람 부채"
STONE = "하급 강화석"


@dataclass(frozen=True)
class Example:
    """A player, and a command that is granted to that player at noon of the scenarios' default day."""

    given: Mapping[str, object] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)

    def player(self, player: str = "hana") -> Rows:
        return builders.player(player, **dict(self.given))


QUEST = {"daily": {"q1": {"target": 3, "progress": 3, "reward": {"gold": 100}, "activity_points": 20}}}
STONES = {"name": STONE, "quantity": 60}
SOLVED = ["입문-1", "입문-2"]

EXAMPLES: dict[str, Example] = {
    "claim_mail": Example(
        {"mail": {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2, "새싹 바둑판": 1}}}}, {"mail": "m1"}
    ),
    "claim_all_mail": Example({"mail": {"m1": {"gold": 50}, "m2": {"diamonds": 3, "items": {STONE: 120}}}}),
    "delete_mail": Example({"mail": {"m1": {"gold": 50, "claimed": True}, "m2": {}}}, {"mail": "m1"}),
    "claim_quest": Example({"quests": QUEST}, {"period": "daily", "quest": "q1"}),
    "claim_milestone": Example(
        {"quests": QUEST, "milestones": {"daily": {"activity": 60, "claimed": [20]}}},
        {"period": "daily", "milestone": 40},
    ),
    "equip": Example({"bag": {"fan": FAN, "fan2": SILVER_FAN}, "worn": ["fan2"], "level": 30}, {"item": "fan"}),
    "unequip": Example({"bag": {"fan": FAN}, "worn": ["fan"]}, {"slot": "fan"}),
    "save_preset": Example({"bag": {"fan": FAN}, "worn": ["fan"]}, {"name": "연습"}),
    "apply_preset": Example(
        {"bag": {"fan": FAN, "board": "새싹 바둑판"}, "worn": ["fan"], "presets": {"연습": {"board": "board"}}},
        {"name": "연습"},
    ),
    "enhance": Example(
        {"gold": 5000, "level": 30, "bag": {"fan": {"name": FAN, "stars": 3}, "stone": STONES}},
        {"item": "fan"},
    ),
    "combine": Example({"bag": {"a": FAN, "b": FAN, "c": "새싹 바둑판"}}, {"items": ["a", "b", "c"]}),
    "disassemble": Example({"bag": {"fan": {"name": FAN, "stars": 2}}}, {"item": "fan"}),
    "convert": Example({"bag": {"stone": STONES}}, {"material": STONE, "to": "up", "times": 2}),
    "start_tournament": Example({}, {"kind": "world"}),
    "finish_tournament": Example({"tournaments": {"neighborhood": {}}}, {"kind": "neighborhood"}),
    "claim_tournament_reward": Example(
        {"tournaments": {"world": {"status": "complete", "rank": 2, "boxes": {"장비 상자 I": 2}}}}, {"kind": "world"}
    ),
    "clear_stage": Example({"stages": SOLVED, "progress": 2, "action_points": 10}, {"stage": "입문-3"}),
    "start_mission": Example({"stages": SOLVED}, {"mission": "mission_attendance"}),
    "collect_mission": Example(
        {"stages": SOLVED, "missions": {"mission_attendance": {"started": True, "amount": 30}}},
        {"mission": "mission_attendance"},
    ),
    "collect_all_missions": Example(
        {
            "missions": {
                "mission_attendance": {"started": True, "amount": 30},
                "mission_study_joseki": {"amount": 2, "started": True},
            }
        }
    ),
    "level_up_mission": Example(
        {"gold": 1000, "stages": SOLVED, "missions": {"mission_attendance": {"started": True, "collected": 500}}},
        {"mission": "mission_attendance"},
    ),
    "open_bundle": Example({"bag": {"bundle": {"name": "골드 꾸러미2", "quantity": 3}}}, {"item": "bundle"}),
    "sell_item": Example({"bag": {"stone": STONES}}, {"item": "stone", "quantity": 15}),
    "expand_bag": Example({"diamonds": 150}, {"type": "material"}),
}


def command(action: str) -> Command:
    """Return the example's command, decoded from its fields."""
    return decode(action, EXAMPLES[action].fields)
