"""Entries of rewards: mail, quests, milestones and tournaments, each granted once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from game.rows import Record, text, whole_number
from game.rules import catalog, days
from harness.laws.account import Account, Answer
from harness.laws.breach import need

CARRIED = ("gold", "diamonds", "action_points")
READY, COMPLETE, ENDED = "bracket_ready", "complete", ("complete", "eliminated")


def claim_mail(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter all that the mail carries."""
    return _claim(account, [account.record("user_mail", fields["mail"])])


def claim_all_mail(account: Account, _fields: Answer, _outcome: Answer) -> Answer:
    """Enter what every mail carries that is neither claimed nor over, in the mailbox's order."""
    mails = sorted(account.rows.table("user_mail").values(), key=lambda m: (whole_number(m, "position"), text(m, "id")))
    waiting = [mail for mail in mails if not mail["claimed"] and _is_there(account, mail) and _is_worth(mail)]
    need(waiting, "a mail to claim", "none")
    return {"mails": [mail["id"] for mail in waiting], **_claim(account, waiting)}


def delete_mail(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Remove a mail that was claimed, or carries nothing."""
    mail = account.record("user_mail", fields["mail"])
    need(mail["claimed"] or not _is_worth(mail), "a mail that carries nothing any more", "one unclaimed")
    del account.rows["user_mail"][(account.player, fields["mail"])]
    return {"mail": fields["mail"]}


def claim_quest(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter the quest's reward, and its activity points."""
    quest = account.record("user_quests", fields["period"], fields["quest"])
    activity = account.record("user_milestones", fields["period"])
    need(whole_number(quest, "progress") >= whole_number(quest, "target"), "a quest that is done", quest["progress"])
    _need_under_way(account, activity)
    account.once(quest, "claimed", "a quest claimed")
    reward = json.loads(text(quest, "reward"))
    granted = {"gold": "gold", "diamonds": "diamonds", "action_points": "actionPoints"}
    amounts = {column: reward.get(key, 0) for column, key in granted.items()}
    xp = {reward["xp"]["type"]: reward["xp"]["amount"]} if "xp" in reward else {}
    account.add({**amounts, **{f"{kind}_xp": amount for kind, amount in xp.items()}})
    items = account.gain([(item["itemId"], item["quantity"]) for item in reward.get("items", [])])
    activity["activity"] = whole_number(activity, "activity") + whole_number(quest, "activity_points")
    return {**amounts, "xp": xp, "items": items, "activity_points": quest["activity_points"]}


def claim_milestone(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter the milestone's item, and its flag. NotGranted for too few points, or if it was claimed before."""
    record = account.record("user_milestones", fields["period"])
    need(whole_number(record, "activity") >= fields["milestone"], f"{fields['milestone']} points", record["activity"])
    _need_under_way(account, record)
    flags, place = json.loads(text(record, "claimed")), fields["milestone"] // 20 - 1
    need(flags[place] is False, "a milestone claimed once", "a second time")
    flags[place] = True
    record["claimed"] = json.dumps(flags)
    return {"items": account.gain([(catalog.MILESTONE_ITEMS[fields["period"]][place], 1)])}


def start_tournament(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Begin a tournament anew, once a day; what an unfinished one gathered is given up."""
    key = (account.player, fields["kind"])
    record = account.rows.table("user_tournaments").setdefault(key, {"status": None, "played_at": None})
    if record["played_at"]:
        need(days.day(account.at_ms) > days.day(whole_number(record, "played_at")), "a day later", "the same day")
    fresh: Record = {"rank": None, "gold": 0, "materials": "{}", "boxes": "{}", "claimed": False}
    record |= {"status": READY, "played_at": account.at_ms, **fresh}
    return {"status": READY}


def finish_tournament(account: Account, fields: Answer, outcome: Answer) -> Answer:
    """Enter the score of the rank that was drawn, and the gold of the matches."""
    record = account.record("user_tournaments", fields["kind"])
    need(record["status"] not in ENDED and record["rank"] is None, "a tournament finished once", "a second time")
    tournament, rank = catalog.TOURNAMENTS[fields["kind"]], outcome["rank"]
    need(rank in range(1, tournament.league + 1), f"a rank from 1 to {tournament.league}", rank)
    if record["status"] == READY and (by_league := tournament.gold_per_match):
        won, lost = by_league.get(text(account.user, "league")) or by_league["새싹"]
        matches, wins = tournament.league - 1, tournament.league - rank
        record["gold"] = whole_number(record, "gold") + wins * won + (matches - wins) * lost
    record |= {"status": COMPLETE, "rank": rank}
    score = tournament.scores[rank - 1]
    account.add({"tournament_score": score, "cumulative_tournament_score": score})
    return {"rank": rank, "score": score}


def claim_tournament_reward(account: Account, fields: Answer, _outcome: Answer) -> Answer:
    """Enter the items of the rank and what was gathered; without a rank what was gathered alone, which is then gone."""
    record = account.record("user_tournaments", fields["kind"])
    tournament = catalog.TOURNAMENTS[fields["kind"]]
    need(record["status"] in ENDED, "a tournament that is finished", record["status"])
    gold = whole_number(record, "gold") if tournament.gathers == "gold" else 0
    items: list[tuple[str, int]] = []
    if tournament.gathers != "gold":
        gathered = json.loads(text(record, tournament.gathers))
        items = [(name, int(number)) for name, number in gathered.items() if number]
    if whole_number(record, "rank") in range(1, tournament.league + 1):
        account.once(record, "claimed", "a tournament's reward claimed")
        items = [*tournament.rewards[whole_number(record, "rank") - 1].items(), *items]
    else:
        need(not record["claimed"], "a tournament's reward claimed once", "a second time")
        record[tournament.gathers] = 0 if tournament.gathers == "gold" else "{}"
    account.add({"gold": gold})
    return {"gold": gold, "items": account.gain(items)}


def _claim(account: Account, mails: Iterable[Record]) -> Answer:
    amounts: Counter[str] = Counter(dict.fromkeys(CARRIED, 0))
    items: list[tuple[str, int]] = []
    for mail in mails:
        need(_is_there(account, mail), "a mail that has not expired", "one that has")
        account.once(mail, "claimed", "a mail claimed")
        amounts.update({column: whole_number(mail, column) for column in CARRIED})
        items += _items(mail)
    account.add(amounts)
    return {**amounts, "items": account.gain(items)}


def _items(mail: Record) -> list[tuple[str, int]]:
    return [(name, number) for name, number in json.loads(text(mail, "items"))]


def _is_worth(mail: Record) -> bool:
    return bool(_items(mail)) or any(mail[column] for column in CARRIED)


def _is_there(account: Account, mail: Record) -> bool:
    return not mail["expires_at"] or account.at_ms < whole_number(mail, "expires_at")


def _need_under_way(account: Account, period: Record) -> None:
    if period["reset_at"]:
        began = days.start(text(period, "period"), account.at_ms)
        need(whole_number(period, "reset_at") >= began, "a period under way", "one that is over")
