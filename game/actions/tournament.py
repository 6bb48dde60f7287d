"""Tournaments: the score comes with the result, the reward is claimed."""

from __future__ import annotations

import json

from game import catalog
from game.actions.reward import Outcome, total
from game.catalog import Tournament
from game.commands import ClaimTournamentReward, FinishTournament
from game.errors import Refused
from game.player import Player, text, whole
from game.rows import Record

COMPLETE = "complete"
FINISHED = (COMPLETE, "eliminated")
"""The states in which the last match of the player's has ended."""


def finish_tournament(player: Player, command: FinishTournament) -> Outcome:
    """The last match ends: the rank from the server's dice (draw `rank`), and its score at once.

    Refused: no_tournament, already_finished.
    """
    record = _last(player, command.kind)
    if record["status"] in FINISHED or record["rank"] is not None:
        raise Refused("already_finished", command.kind)
    tournament = catalog.TOURNAMENTS[command.kind]
    rank = player.draw("rank", 1, tournament.league)
    score = tournament.scores[rank - 1]
    record |= {"status": COMPLETE, "rank": rank}
    for column in ("tournament_score", "cumulative_tournament_score"):
        player.user[column] = whole(player.user, column) + score
    return {"rank": rank, "score": score}


def claim_tournament_reward(player: Player, command: ClaimTournamentReward) -> Outcome:
    """The items of the rank, and what the matches gathered, once.

    Refused: no_tournament, not_finished (or without a rank in its league), already_claimed, bag_full, no_such_item.
    """
    record = _last(player, command.kind)
    tournament = catalog.TOURNAMENTS[command.kind]
    rank = whole(record, "rank")
    if record["status"] not in FINISHED or not 1 <= rank <= tournament.league:
        raise Refused("not_finished", command.kind)
    if record["claimed"]:
        raise Refused("already_claimed", command.kind)
    record["claimed"] = True
    gold = whole(record, "gold") if tournament.gathers == "gold" else 0
    player.pay("gold", gold, "tournament")
    items = [*tournament.rewards[rank - 1].items(), *_gathered(record, tournament)]
    player.gain(items)
    return {"gold": gold, "items": total(items)}


def _last(player: Player, kind: str) -> Record:
    """The last tournament of the kind. A record without a status remembers only a day or a flag: there is none."""
    record = player.rows["user_tournaments"].get((player.id, kind))
    if record is None or record["status"] is None:
        raise Refused("no_tournament", kind)
    return record


def _gathered(record: Record, tournament: Tournament) -> list[tuple[str, int]]:
    if tournament.gathers == "gold":
        return []
    return list(json.loads(text(record, tournament.gathers)).items())
