"""A small model of what players own, which knows only what was answered: independent of the rules and of the stores.

It adds up currencies, numbers of items by name, what is worn, and what may be granted once; figures that an answer does
not hold (a price, a cost) are worked out again from game-rules' tables, in other words than the rules'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from game.rows import Rows

GRADES = ("normal", "uncommon", "rare", "epic", "legendary", "mythic")
ENHANCE_GOLD = (100, 200, 300, 500, 1000, 2000)
PRICES = (50, 100, 200, 300, 500, 1000)
TIERS = ("하급 강화석", "중급 강화석", "상급 강화석", "최상급 강화석", "신비의 강화석")
TIER_PRICES = (10, 30, 50, 100, 200)
STAGE_POINTS = {"입문": 2, "초급": 3, "중급": 4, "고급": 5, "유단자": 5}
MATERIALS = {
    "normal": "1×10 1×15 1×20 1×25 1×30 2×30 2×50 3×5 3×10 4×5",
    "uncommon": "1×20 1×30 1×40 1×50 1×60 2×50 3×10 3×20 4×10 4×20",
    "rare": "2×10 2×15 2×20 2×25 2×30 2×100 3×20 3×40 4×15 4×30",
    "epic": "2×20 2×30 2×40 2×50 2×60 3×30 3×50 4×20 4×45 4×80",
    "legendary": "3×10 3×15 3×20 3×25 3×30 3×100 4×20 4×50 4×100 5×10",
    "mythic": "3×20 3×30 3×40 3×50 3×60 4×40 4×80 5×10 5×50 5×100",
}
CAPS = {
    "mission_attendance": (50, 60, 70, 80, 90, 100, 110, 120, 130, 150),
    "mission_complete_game": (150, 160, 170, 180, 200, 220, 240, 260, 280, 300),
    "mission_rival_match": (300, 340, 380, 420, 460, 500, 540, 600, 660, 750),
    "mission_study_joseki": (2, 2, 2, 2, 3, 3, 3, 3, 3, 4),
    "mission_league": (500, 550, 600, 650, 700, 750, 800, 850, 900, 1000),
    "mission_ai_match": (3, 3, 3, 3, 4, 4, 4, 4, 4, 5),
}
PAY_DIAMONDS = ("mission_study_joseki", "mission_ai_match")

Answer = Mapping[str, Any]


@dataclass
class Owned:
    """The property of one player, as far as the model knows."""

    gold: int
    diamonds: int
    action_points: int
    items: Counter[str]
    worn: dict[str, str]
    once: set[tuple[object, ...]] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Rows) -> Owned:
        """Read the property from the rows; the model is compared with it too."""
        (user,) = rows["users"].values()
        items: Counter[str] = Counter()
        for item in rows["user_inventory"].values():
            items[str(item["name"])] += int(item["quantity"] or 0)
        worn = {str(w["slot"]): str(w["item_id"]) for w in rows["user_equipment"].values() if w["item_id"] is not None}
        return cls(int(user["gold"] or 0), int(user["diamonds"] or 0), int(user["action_points"] or 0), items, worn)

    def shown(self) -> tuple[object, ...]:
        """Return the values that are compared."""
        return self.gold, self.diamonds, self.action_points, dict(+self.items), self.worn

    def answered(self, action: str, fields: Answer, outcome: Answer, before: Rows) -> None:
        """Account for a command that was granted. Raises AssertionError where it may be granted only once."""
        EFFECTS.get(action, _nothing)(self, fields, outcome, before)

    def granted_once(self, *what: object) -> None:
        assert what not in self.once, f"granted a second time: {what}"
        self.once.add(what)

    def gain(self, outcome: Answer) -> None:
        self.gold += outcome.get("gold", 0)
        self.diamonds += outcome.get("diamonds", 0)
        self.action_points += outcome.get("action_points", 0)
        self.items.update(outcome.get("items", {}))

    def lose(self, name: str, number: int) -> None:
        self.items[name] -= number
        assert self.items[name] >= 0, f"{name}: {self.items[name]}"


def _item(before: Rows, item_id: str) -> dict[str, Any]:
    return next(item for (_, one), item in before["user_inventory"].items() if one == item_id)


def _nothing(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    """An action that moves nothing which the model counts."""


def _claimed(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    for mail in outcome.get("mails", [fields.get("mail")]):
        owned.granted_once("mail", mail)
    owned.gain(outcome)


def _quest(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.granted_once("quest", fields["period"], fields["quest"])
    owned.gain(outcome)


def _milestone(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.granted_once("milestone", fields["period"], fields["milestone"])
    owned.gain(outcome)


def _equip(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    assert owned.worn.get(outcome["slot"]) == outcome["replaced"]
    owned.worn[outcome["slot"]] = fields["item"]


def _unequip(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    assert owned.worn.pop(fields["slot"]) == outcome["item"]


def _save(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    assert outcome["equipment"] == owned.worn


def _apply(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.worn = dict(outcome["worn"])


def _enhance(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    item = _item(before, fields["item"])
    stars, grade = item["stars"], GRADES.index(item["grade"])
    assert outcome["stars"] == stars + bool(outcome["success"])
    owned.gold -= _half_up(Decimal(ENHANCE_GOLD[grade]) * Decimal("1.5") ** stars)
    tier, amount = map(int, MATERIALS[item["grade"]].split()[stars].split("×"))
    owned.lose(TIERS[tier - 1], amount)


def _combine(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    for item_id in fields["items"]:
        assert item_id not in owned.worn.values()
        owned.lose(_item(before, item_id)["name"], 1)
    owned.items[outcome["name"]] += 1


def _disassemble(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    assert fields["item"] not in owned.worn.values()
    owned.lose(_item(before, fields["item"])["name"], 1)
    owned.gain(outcome)


def _convert(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    times = fields.get("times", 1)
    owned.lose(fields["material"], times * (10 if fields["to"] == "up" else 1))
    owned.gain(outcome)


def _bundle(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.lose(_item(before, fields["item"])["name"], 1)
    owned.gain(outcome)


def _sell(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    item, number = _item(before, fields["item"]), fields.get("quantity", 1)
    assert fields["item"] not in owned.worn.values()
    if item["type"] == "material":
        price = TIER_PRICES[TIERS.index(item["name"])]
    else:
        price = int(Decimal(PRICES[GRADES.index(item["grade"])]) * Decimal("1.2") ** item["stars"])
    owned.lose(item["name"], number)
    owned.gold += price * number


def _expand(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    (user,) = before["users"].values()
    places = int(user[f"places_{fields['type']}"] or 0)
    assert outcome["places"] == places + 10
    owned.diamonds -= 100 + 20 * ((places - 30) // 10)


def _start(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.once = {what for what in owned.once if what[:2] != ("tournament", fields["kind"])}


def _finish(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.granted_once("tournament", fields["kind"], "finished")


def _reward(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    owned.granted_once("tournament", fields["kind"], "claimed")
    owned.gain(outcome)


def _stage(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    if outcome["first"]:
        owned.granted_once("stage", fields["stage"])
    owned.action_points -= STAGE_POINTS[fields["stage"].split("-")[0]]
    owned.gain(outcome)


def _level_up(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    mission, level = fields["mission"], outcome["level"] - 1
    cap = CAPS[mission][level - 1]
    owned.gold -= (1000 if mission in PAY_DIAMONDS else 5) * cap
    assert 0 < outcome["amount"] <= CAPS[mission][level]


def _collect(owned: Owned, fields: Answer, outcome: Answer, before: Rows) -> None:
    for (_, mission), record in before["user_missions"].items():
        assert outcome["missions"].get(mission, 0) <= CAPS[str(mission)][int(record["level"] or 1) - 1]
    owned.gain(outcome)


def _half_up(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


EFFECTS: dict[str, Callable[[Owned, Answer, Answer, Rows], None]] = {
    "claim_mail": _claimed,
    "claim_all_mail": _claimed,
    "claim_quest": _quest,
    "claim_milestone": _milestone,
    "equip": _equip,
    "unequip": _unequip,
    "save_preset": _save,
    "apply_preset": _apply,
    "enhance": _enhance,
    "combine": _combine,
    "disassemble": _disassemble,
    "convert": _convert,
    "open_bundle": _bundle,
    "sell_item": _sell,
    "expand_bag": _expand,
    "start_tournament": _start,
    "finish_tournament": _finish,
    "claim_tournament_reward": _reward,
    "clear_stage": _stage,
    "collect_mission": _collect,
    "collect_all_missions": _collect,
    "level_up_mission": _level_up,
}
