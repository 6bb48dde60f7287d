"""Rewards as they are granted, and a quest's read from its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from game.errors import Refused
from game.rules.json_columns import from_json, is_whole_number

_AMOUNTS = {"gold", "diamonds", "actionPoints"}
_KEYS = {*_AMOUNTS, "xp", "items"}
_LEVELS = ("strategy", "playful")


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward, granted at once; items are (name, number), xp (strategy or playful, amount)."""

    gold: int = 0
    diamonds: int = 0
    action_points: int = 0
    items: Sequence[tuple[str, int]] = ()
    xp: Sequence[tuple[str, int]] = ()


def quest_reward(document: str) -> Reward:
    """Parse {gold, diamonds, actionPoints, xp: {type, amount}, items: [{itemId, quantity}]}, every key optional.

    Refused reward_unreadable for anything else: a reward that can't be read completely is not granted in part.
    """
    parsed = from_json(document)
    if not isinstance(parsed, dict) or not parsed.keys() <= _KEYS:
        raise Refused("reward_unreadable", f"expected an object of {', '.join(sorted(_KEYS))}")
    if not all(_is_amount(parsed[key]) for key in _AMOUNTS & parsed.keys()):
        raise Refused("reward_unreadable", f"expected whole numbers as {', '.join(sorted(_AMOUNTS))}")
    return Reward(
        gold=parsed.get("gold", 0),
        diamonds=parsed.get("diamonds", 0),
        action_points=parsed.get("actionPoints", 0),
        items=_items(parsed.get("items", [])),
        xp=_xp(parsed["xp"]) if "xp" in parsed else (),
    )


def _items(entries: object) -> list[tuple[str, int]]:
    if not isinstance(entries, list):
        raise Refused("reward_unreadable", "items")
    return [_item(entry) for entry in entries]


def _item(entry: object) -> tuple[str, int]:
    match entry:
        case {"itemId": str(name), "quantity": quantity, **unknown} if (
            not unknown and _is_amount(quantity) and quantity
        ):
            return name, quantity
        case _:
            raise Refused("reward_unreadable", "items")


def _xp(entry: object) -> list[tuple[str, int]]:
    match entry:
        case {"type": str(kind), "amount": amount, **unknown} if kind in _LEVELS and not unknown and _is_amount(amount):
            return [(kind, amount)]
        case _:
            raise Refused("reward_unreadable", "xp")


def _is_amount(value: object) -> bool:
    return is_whole_number(value) and isinstance(value, int) and value >= 0
