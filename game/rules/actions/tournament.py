"""Tournaments: once a day each; the score comes with the result, the reward is claimed."""

from __future__ import annotations

import json

from game.errors import Refused
from game.rows import Record, text, whole_number
from game.rules import catalog, days
from game.rules.actions.outcome import Outcome, total
from game.rules.catalog import TournamentDefinition
from game.rules.commands import ClaimTournamentReward, FinishTournament, StartTournament
from game.rules.json_columns import UNREADABLE_STATUS
from game.rules.player import Player, add

READY = "bracket_ready"
"""No match has been played yet."""

COMPLETE = "complete"
FINISHED = (COMPLETE, "eliminated")
"""The states in which the last match of the player's has ended."""

LOWEST_LEAGUE = "새싹"


def start_tournament(player: Player, command: StartTournament) -> Outcome:
    """Start a tournament of the kind, once a day in Seoul; an unfinished one of an earlier day is given up.

    A clock that went back before the day of the last one starts none. One that is finished with a reward unclaimed
    must be claimed first, so that nothing gathered is lost.
    Refused: already_played_today, reward_unclaimed.
    """
    records = player.rows.table("user_tournaments")
    record = records.setdefault((player.id, command.kind), {"user_id": player.id, "kind": command.kind})
    if record.get("played_at") and days.day(player.now_ms) <= days.day(whole_number(record, "played_at")):
        raise Refused("already_played_today", command.kind)
    if record.get("status") in FINISHED and not record["claimed"] and (_has_rank(record) or _has_gathered(record)):
        raise Refused("reward_unclaimed", command.kind)
    if record.get("status") == UNREADABLE_STATUS:
        raise Refused("reward_unclaimed", f"{command.kind}: its last state can't be read")
    record |= {"status": READY, "rank": None, "gold": 0, "materials": "{}", "boxes": "{}", "claimed": False}
    record["played_at"] = player.now_ms
    return {"status": READY}


def finish_tournament(player: Player, command: FinishTournament) -> Outcome:
    """Finish the last match: the rank from the server's dice (draw `rank`), and its score at once.

    Where no match was played before, the player's matches gather gold by the league: of five, one win more for each
    rank above the last. A league that the rules don't know counts as the lowest. What was gathered before stays.
    Refused: no_tournament, already_finished, balance_too_high.
    """
    record = _last(player, command.kind)
    if record["status"] in FINISHED or record["rank"] is not None:
        raise Refused("already_finished", command.kind)
    tournament = catalog.TOURNAMENTS[command.kind]
    rank = player.draw("rank", 1, tournament.league)
    score = tournament.scores[rank - 1]
    if record["status"] == READY:
        add(record, "gold", _match_gold(player, tournament, rank))
    record |= {"status": COMPLETE, "rank": rank}
    for column in ("tournament_score", "cumulative_tournament_score"):
        add(player.user, column, score)
    return {"rank": rank, "score": score}


def claim_tournament_reward(player: Player, command: ClaimTournamentReward) -> Outcome:
    """Grant the items of the rank, and what the matches gathered, once.

    A legacy one may have ended without a rank in its league: what was gathered is paid out of it, and it stays
    unclaimed, for whoever comes to know the rank.
    Refused: no_tournament, not_finished (or neither a rank nor anything gathered), already_claimed, bag_full,
    no_such_item, balance_too_high.
    """
    record = _last(player, command.kind)
    tournament = catalog.TOURNAMENTS[command.kind]
    gold = whole_number(record, "gold") if tournament.gathers == "gold" else 0
    items = _gathered(record, tournament)
    if record["status"] not in FINISHED or not (_has_rank(record) or gold or items):
        raise Refused("not_finished", command.kind)
    if record["claimed"]:
        raise Refused("already_claimed", command.kind)
    if _has_rank(record):
        record["claimed"] = True
        items = [*tournament.rewards[whole_number(record, "rank") - 1].items(), *items]
    else:
        record[tournament.gathers] = 0 if tournament.gathers == "gold" else "{}"
    player.pay("gold", gold, "tournament")
    player.bag.gain(items)
    return {"gold": gold, "items": total(items)}


def _last(player: Player, kind: str) -> Record:
    """Return the last tournament of the kind; None for a record without a status, which keeps only a day or a flag."""
    record = player.rows.table("user_tournaments").get((player.id, kind))
    if record is None or record["status"] in (None, UNREADABLE_STATUS):
        raise Refused("no_tournament", kind)
    return record


def _has_rank(record: Record) -> bool:
    return 1 <= whole_number(record, "rank") <= catalog.TOURNAMENTS[text(record, "kind")].league


def _has_gathered(record: Record) -> bool:
    return bool(record["gold"] or _counts(record, "materials") or _counts(record, "boxes"))


def _match_gold(player: Player, tournament: TournamentDefinition, rank: int) -> int:
    """Return the gold of all matches of a round robin that ends with the rank."""
    if not tournament.gold_per_match:
        return 0
    leagues = tournament.gold_per_match
    won, lost = leagues.get(text(player.user, "league"), leagues[LOWEST_LEAGUE])
    wins = tournament.league - rank
    return wins * won + (tournament.league - 1 - wins) * lost


def _gathered(record: Record, tournament: TournamentDefinition) -> list[tuple[str, int]]:
    """Return materials or boxes; a legacy document may write a number as 3.0, or null for none."""
    return [] if tournament.gathers == "gold" else _counts(record, tournament.gathers)


def _counts(record: Record, column: str) -> list[tuple[str, int]]:
    return [(name, int(number)) for name, number in json.loads(text(record, column)).items() if number]
