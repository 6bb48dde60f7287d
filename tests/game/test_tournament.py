"""Tournaments: the score with the result, the reward by hand, each once."""

from __future__ import annotations

import pytest
from playing import play, refusal

from db import builders
from game import catalog
from game.chance import new_id
from game.commands import ClaimTournamentReward, FinishTournament, TournamentKind
from game.rows import Rows

KINDS: tuple[TournamentKind, ...] = ("neighborhood", "national", "world")


def hana(kind: str, **tournament: object) -> Rows:
    return builders.player("hana", tournaments={kind: tournament})


@pytest.mark.parametrize(("kind", "rank"), [(kind, rank) for kind in KINDS for rank in (1, 4, 6)])
def test_the_score_comes_with_the_result(kind: TournamentKind, rank: int) -> None:
    score = catalog.TOURNAMENTS[kind].scores[rank - 1]
    played = play(hana(kind), FinishTournament(kind), {"rank": rank})
    assert played.outcome == {"rank": rank, "score": score}
    assert played.user == {"tournament_score": (0, score), "cumulative_tournament_score": (0, score)}
    finished = {"status": ("bracket_ready", "complete"), "rank": (None, rank)}
    changed = played.updated("user_tournaments")[kind]
    assert {column: changed[column] for column in finished} == finished
    assert set(changed) - set(finished) == ({"gold"} if kind == "neighborhood" else set())
    assert (played.ledger, played.history) == ([], [])


def test_without_dice_every_rank_of_the_league_and_no_other_comes_up() -> None:
    players = [builders.player(f"p{n}", tournaments={"neighborhood": {}}) for n in range(200)]
    ranks = {play(rows, FinishTournament("neighborhood")).outcome["rank"] for rows in players}
    assert ranks == {1, 2, 3, 4, 5, 6}


def test_a_tournament_is_finished_once() -> None:
    assert refusal(hana("world", status="complete", rank=3), FinishTournament("world")) == "already_finished"
    assert refusal(hana("world", status="eliminated"), FinishTournament("world")) == "already_finished"
    assert refusal(hana("world"), FinishTournament("national")) == "no_tournament"


def test_a_record_that_remembers_only_a_day_is_no_tournament() -> None:
    rows = hana("world", status=None, played=5)
    assert refusal(rows, FinishTournament("world")) == "no_tournament"
    assert refusal(rows, ClaimTournamentReward("world")) == "no_tournament"


@pytest.mark.parametrize(("kind", "rank"), [(kind, rank) for kind in KINDS for rank in (1, 2, 3, 4, 6)])
def test_the_reward_is_the_items_of_the_rank(kind: TournamentKind, rank: int) -> None:
    played = play(hana(kind, status="complete", rank=rank), ClaimTournamentReward(kind))
    items = dict(catalog.TOURNAMENTS[kind].rewards[rank - 1])
    assert played.outcome == {"gold": 0, "items": items}
    assert played.updated("user_tournaments") == {kind: {"claimed": (False, True)}}
    assert len(played.history) == len(items)


@pytest.mark.parametrize(
    ("kind", "gold", "items"),
    [("neighborhood", 350, {"골드 꾸러미1": 1}), ("national", 0, {"골드 꾸러미1": 1, "중급 강화석": 7}),
     ("world", 0, {"골드 꾸러미1": 1, "다이아 꾸러미1": 1, "장비 상자 II": 2})],
)  # fmt: skip
def test_each_kind_pays_what_its_own_matches_gather(kind: TournamentKind, gold: int, items: dict[str, int]) -> None:
    gathered = {"gold": 350, "materials": {"중급 강화석": 7}, "boxes": {"장비 상자 II": 2}}
    played = play(hana(kind, status="complete", rank=5, **gathered), ClaimTournamentReward(kind))
    assert played.outcome == {"gold": gold, "items": items}
    assert played.ledger == ([("gold", 350, "tournament", 350)] if gold else [])
    assert played.history == [("gain", new_id("r1", n), number, number) for n, number in enumerate(items.values(), 1)]


def test_what_is_not_finished_or_claimed_before_pays_nothing() -> None:
    claim = ClaimTournamentReward("neighborhood")
    assert refusal(hana("neighborhood"), claim) == "not_finished"
    assert refusal(hana("neighborhood", status="complete"), claim) == "not_finished"
    assert refusal(hana("neighborhood", status="complete", rank=12), claim) == "not_finished"
    assert refusal(hana("neighborhood", status="complete", rank=1, claimed=True), claim) == "already_claimed"
    assert refusal(hana("world", status="complete", rank=1), claim) == "no_tournament"


def test_a_reward_that_does_not_fit_stays_claimable() -> None:
    rows = builders.player("hana", places={"consumable": 0}, tournaments={"world": {"status": "complete", "rank": 1}})
    assert refusal(rows, ClaimTournamentReward("world")) == "bag_full"
