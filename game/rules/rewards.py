"""Rewards as they are granted, and a quest's read from its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from game.errors import Refused
from game.rules.json_columns import from_json, is_whole

_AMOUNTS = {"gold", "diamonds", "actionPoints"}
_KEYS = {*_AMOUNTS, "xp", "items"}
_LEVELS = ("strategy", "playful")


@dataclass(frozen=True, slots=True)
class Reward:
    """What is granted at once; items are (name, number), xp (strategy or playful, amount)."""

    gold: int = 0
    diamonds: int = 0
    action_points: int = 0
    items: Sequence[tuple[str, int]] = ()
    xp: Sequence[tuple[str, int]] = ()


def quest_reward(document: str) -> Reward:
    """{gold, diamonds, actionPoints, xp: {type, amount}, items: [{itemId, quantity}]}, each where there is one.

    Refused reward_unreadable for anything else: what the rules can't read whole is not granted in part.
    """
    found = from_json(document)
    if not isinstance(found, dict) or not found.keys() <= _KEYS:
        raise Refused("reward_unreadable", f"expected an object of {', '.join(sorted(_KEYS))}")
    if not all(_is_amount(found[key]) for key in _AMOUNTS & found.keys()):
        raise Refused("reward_unreadable", f"expected whole numbers as {', '.join(sorted(_AMOUNTS))}")
    return Reward(
        gold=found.get("gold", 0),
        diamonds=found.get("diamonds", 0),
        action_points=found.get("actionPoints", 0),
        items=_items(found.get("items", [])),
        xp=_xp(found["xp"]) if "xp" in found else (),
    )


def _items(found: object) -> list[tuple[str, int]]:
    if not isinstance(found, list):
        raise Refused("reward_unreadable", "items")
    return [_item(each) for each in found]


def _item(found: object) -> tuple[str, int]:
    match found:
        case {"itemId": str(name), "quantity": quantity, **others} if not others and _is_amount(quantity) and quantity:
            return name, quantity
        case _:
            raise Refused("reward_unreadable", "items")


def _xp(found: object) -> list[tuple[str, int]]:
    match found:
        case {"type": str(kind), "amount": amount, **others} if kind in _LEVELS and not others and _is_amount(amount):
            return [(kind, amount)]
        case _:
            raise Refused("reward_unreadable", "xp")


def _is_amount(value: object) -> bool:
    return is_whole(value) and isinstance(value, int) and value >= 0
