"""Rewards: mail, quests and milestones, each claimed once, whole or not at all."""

from __future__ import annotations

import json

from game.errors import Refused
from game.rows import Record, text, whole_number
from game.rules import catalog, days
from game.rules.actions.outcome import Outcome, total
from game.rules.bag import in_order
from game.rules.commands import ClaimAllMail, ClaimMail, ClaimMilestone, ClaimQuest, DeleteMail
from game.rules.journals import Reason
from game.rules.json_columns import from_json, to_json
from game.rules.player import Player, add
from game.rules.rewards import Reward, quest_reward

CARRIED = ("gold", "diamonds", "action_points")
"""The amounts that a mail may carry, beside its items."""


def claim_mail(player: Player, command: ClaimMail) -> Outcome:
    """Grant all that the mail carries, once, before it expires. What does not fit the bag is refused whole.

    Refused: no_such_mail, already_claimed, mail_expired, bag_full, no_such_item (a name that no item bears),
    balance_too_high.
    """
    mail = _mail(player, command.mail)
    if mail["claimed"]:
        raise Refused("already_claimed", command.mail)
    if _has_expired(player, mail):
        raise Refused("mail_expired", command.mail)
    return _claim(player, [mail])


def claim_all_mail(player: Player, _command: ClaimAllMail) -> Outcome:
    """Grant all that is unclaimed, unexpired and carries something, in the mailbox's order; all of it or nothing.

    Refused: nothing_to_claim, bag_full, no_such_item, balance_too_high.
    """
    mailbox = in_order(player.rows.table("user_mail").values())
    waiting = [mail for mail in mailbox if _carries(mail) and not mail["claimed"] and not _has_expired(player, mail)]
    if not waiting:
        raise Refused("nothing_to_claim")
    return {"mails": [mail["id"] for mail in waiting], **_claim(player, waiting)}


def delete_mail(player: Player, command: DeleteMail) -> Outcome:
    """Remove a mail that carries nothing, or nothing any more; one that expired unclaimed stays, as evidence.

    Refused: no_such_mail, mail_unclaimed.
    """
    mail = _mail(player, command.mail)
    if _carries(mail) and not mail["claimed"]:
        raise Refused("mail_unclaimed", command.mail)
    del player.rows.table("user_mail")[(player.id, command.mail)]
    return {"mail": command.mail}


def claim_quest(player: Player, command: ClaimQuest) -> Outcome:
    """Grant the quest's reward, and its activity points, once, within its period.

    Where the player has no record of the period's activity there is nowhere to add the points to, and no quest.
    Refused: no_such_quest, already_claimed, quest_expired, quest_unfinished, reward_unreadable, bag_full, no_such_item,
    balance_too_high.
    """
    quest = player.rows.table("user_quests").get((player.id, command.period, command.quest))
    activity = player.rows.table("user_milestones").get((player.id, command.period))
    if quest is None or activity is None:
        raise Refused("no_such_quest", command.quest)
    if quest["claimed"]:
        raise Refused("already_claimed", command.quest)
    if _is_over(player, activity):
        raise Refused("quest_expired", command.quest)
    progress, target = whole_number(quest, "progress"), whole_number(quest, "target")
    if progress < target:
        raise Refused("quest_unfinished", f"{progress} of {target}")
    reward = quest_reward(text(quest, "reward"))
    quest["claimed"] = True
    _grant(player, reward, "quest")
    add(activity, "activity", whole_number(quest, "activity_points"))
    granted = {"gold": reward.gold, "diamonds": reward.diamonds, "action_points": reward.action_points}
    return {**granted, "xp": dict(reward.xp), "items": total(reward.items), "activity_points": quest["activity_points"]}


def claim_milestone(player: Player, command: ClaimMilestone) -> Outcome:
    """Grant the milestone's item, once, within its period.

    Refused: no_such_milestone (no record of the period), already_claimed, milestone_expired, milestone_unreached,
    reward_unreadable (flags of another shape), bag_full.
    """
    record = player.rows.table("user_milestones").get((player.id, command.period))
    if record is None:
        raise Refused("no_such_milestone", command.period)
    flags = _flags(record)
    n = catalog.MILESTONES.index(command.milestone)
    if flags[n]:
        raise Refused("already_claimed", f"{command.period} {command.milestone}")
    if _is_over(player, record):
        raise Refused("milestone_expired", command.period)
    activity = whole_number(record, "activity")
    if activity < command.milestone:
        raise Refused("milestone_unreached", f"{activity} of {command.milestone}")
    flags[n] = True
    record["claimed"] = to_json(flags)
    item = catalog.MILESTONE_ITEMS[command.period][n]
    player.bag.gain([(item, 1)])
    return {"items": {item: 1}}


def _mail(player: Player, mail_id: str) -> Record:
    mail = player.rows.table("user_mail").get((player.id, mail_id))
    if mail is None:
        raise Refused("no_such_mail", mail_id)
    return mail


def _has_expired(player: Player, mail: Record) -> bool:
    return bool(mail["expires_at"]) and whole_number(mail, "expires_at") <= player.now_ms


def _carries(mail: Record) -> bool:
    return any(mail[column] for column in CARRIED) or bool(_items(mail))


def _items(mail: Record) -> list[tuple[str, int]]:
    return [(name, number) for name, number in json.loads(text(mail, "items"))]


def _claim(player: Player, mails: list[Record]) -> Outcome:
    for mail in mails:
        mail["claimed"] = True
        gold, diamonds, action_points = (whole_number(mail, column) for column in CARRIED)
        _grant(player, Reward(gold, diamonds, action_points, _items(mail)), "mail")
    amounts = {column: sum(whole_number(mail, column) for mail in mails) for column in CARRIED}
    return {**amounts, "items": total(item for mail in mails for item in _items(mail))}


def _grant(player: Player, reward: Reward, reason: Reason) -> None:
    player.pay("gold", reward.gold, reason)
    player.pay("diamonds", reward.diamonds, reason)
    add(player.user, "action_points", reward.action_points)
    for kind, amount in reward.xp:
        add(player.user, f"{kind}_xp", amount)
    player.bag.gain(reward.items)


def _is_over(player: Player, period: Record) -> bool:
    """Return True if the period of what was handed out ended before now; without a time it never ends."""
    return bool(period["reset_at"]) and whole_number(period, "reset_at") < days.start(
        text(period, "period"), player.now_ms
    )


def _flags(record: Record) -> list[bool]:
    flags = from_json(text(record, "claimed"))
    if not isinstance(flags, list) or [type(flag) for flag in flags] != [bool] * len(catalog.MILESTONES):
        raise Refused("reward_unreadable", "the milestones' flags")
    return flags
