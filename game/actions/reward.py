"""Rewards by mail."""

from __future__ import annotations

import json
from collections import Counter
from typing import TypeAlias

from game.commands import ClaimMail
from game.errors import Refused
from game.player import Player, text, whole

Outcome: TypeAlias = dict[str, object]


def claim_mail(player: Player, command: ClaimMail) -> Outcome:
    """All that the mail carries, once, before it expires. What does not fit the bag is refused whole.

    Refused: no_such_mail, already_claimed, mail_expired, bag_full, no_such_item (a name that no item bears).
    """
    mail = player.rows["user_mail"].get((player.id, command.mail))
    if mail is None:
        raise Refused("no_such_mail", command.mail)
    if mail["claimed"]:
        raise Refused("already_claimed", command.mail)
    if mail["expires_at"] and whole(mail, "expires_at") <= player.now_ms:
        raise Refused("mail_expired", command.mail)
    mail["claimed"] = True
    player.pay("gold", whole(mail, "gold"), "mail")
    player.pay("diamonds", whole(mail, "diamonds"), "mail")
    player.user["action_points"] = whole(player.user, "action_points") + whole(mail, "action_points")
    items: list[tuple[str, int]] = [(name, number) for name, number in json.loads(text(mail, "items"))]
    player.gain(items)
    return {
        "gold": mail["gold"],
        "diamonds": mail["diamonds"],
        "action_points": mail["action_points"],
        "items": total(items),
    }


def total(items: list[tuple[str, int]]) -> dict[str, int]:
    """The numbers by name, names in the order of their first."""
    numbers: Counter[str] = Counter()
    for name, number in items:
        numbers[name] += number
    return dict(numbers)
