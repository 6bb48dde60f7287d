"""Tournaments: the score with the result, the reward by hand, each once."""

from __future__ import annotations

import pytest

from db.samples import builders
from game.rows import Rows
from game.rules import catalog
from game.rules.chance import new_id
from game.rules.commands import ClaimTournamentReward, FinishTournament, StartTournament, TournamentKind
from tests.game.records import DAY_MS, HOUR_MS, NOON_MS, with_user
from tests.game.rules.playing import play, refusal

KINDS: tuple[TournamentKind, ...] = ("neighborhood", "national", "world")


def hana(kind: str, **tournament: object) -> Rows:
    """Make a player with a tournament; of its fields only `status` may be given as None."""
    given = {field: value for field, value in tournament.items() if value is not None or field == "status"}
    return builders.player("hana", tournaments={kind: given})


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
    [
        ("neighborhood", 350, {"골드 꾸러미1": 1}),
        ("national", 0, {"골드 꾸러미1": 1, "중급 강화석": 7}),
        ("world", 0, {"골드 꾸러미1": 1, "다이아 꾸러미1": 1, "장비 상자 II": 2}),
    ],
)
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_tournament_makes_its_record(kind: TournamentKind) -> None:
    played = play(builders.player("hana"), StartTournament(kind), now_ms=NOON_MS)
    assert played.outcome == {"status": "bracket_ready"}
    (made,) = played.changes["user_tournaments"].inserts.values()
    assert made == {
        "user_id": "hana",
        "kind": kind,
        "status": "bracket_ready",
        "rank": None,
        "gold": 0,
        "materials": "{}",
        "boxes": "{}",
        "claimed": False,
        "played_at": NOON_MS,
    }


def test_a_tournament_is_played_once_a_day_in_seoul() -> None:
    rows = hana("world", status="complete", rank=3, claimed=True, played=NOON_MS)
    start, midnight = StartTournament("world"), NOON_MS + 12 * HOUR_MS
    assert refusal(rows, start, now_ms=midnight - 1) == "already_played_today"
    played = play(rows, start, now_ms=midnight)
    assert played.updated("user_tournaments")["world"] == {
        "status": ("complete", "bracket_ready"),
        "rank": (3, None),
        "claimed": (True, False),
        "played_at": (NOON_MS, midnight),
    }
    assert play(rows, StartTournament("national"), now_ms=NOON_MS).outcome


def test_a_clock_that_went_back_to_another_day_starts_none() -> None:
    rows = hana("world", status="complete", rank=3, claimed=True, played=NOON_MS)
    assert refusal(rows, StartTournament("world"), now_ms=NOON_MS - 3 * DAY_MS) == "already_played_today"


@pytest.mark.parametrize("played", [None, 0])
def test_one_that_has_no_day_was_not_played_today(played: int | None) -> None:
    rows = hana("world", status="bracket_ready", gold=3, materials={"하급 강화석": 1}, boxes={"장비 상자 I": 1})
    rows["user_tournaments"][("hana", "world")]["played_at"] = played
    record = play(rows, StartTournament("world"), now_ms=NOON_MS).rows["user_tournaments"][("hana", "world")]
    assert (record["gold"], record["materials"], record["boxes"]) == (0, "{}", "{}")


@pytest.mark.parametrize("status", ["complete", "eliminated"])
def test_a_reward_must_be_claimed_before_the_next_one_starts(status: str) -> None:
    start, day_after = StartTournament("world"), NOON_MS + DAY_MS
    assert refusal(hana("world", status=status, rank=16, played=NOON_MS), start, now_ms=day_after) == "reward_unclaimed"
    assert play(hana("world", status=status, played=NOON_MS), start, now_ms=day_after).outcome
    for left in ("bracket_ready", "round_in_progress", None):
        assert play(hana("world", status=left, rank=16, played=NOON_MS), start, now_ms=day_after).outcome
    others = hana("neighborhood", status=status, rank=7, played=NOON_MS)
    assert play(others, StartTournament("neighborhood"), now_ms=day_after).outcome


def test_one_of_an_earlier_day_can_still_be_finished() -> None:
    rows = hana("world", played=NOON_MS)
    assert play(rows, FinishTournament("world"), now_ms=NOON_MS + 5 * DAY_MS).outcome


GOLD = {
    "새싹": (100, 50),
    "루키": (200, 75),
    "라이징": (300, 100),
    "에이스": (500, 150),
    "다이아": (1000, 200),
    "마스터": (1500, 300),
    "그랜드마스터": (2000, 500),
    "챌린저": (3000, 1000),
}


@pytest.mark.parametrize(("league", "rank"), [(league, rank) for league in GOLD for rank in range(1, 7)])
def test_the_five_matches_gather_gold_by_league_and_rank(league: str, rank: int) -> None:
    won, lost = GOLD[league]
    rows = with_user(hana("neighborhood"), league=league)
    played = play(rows, FinishTournament("neighborhood"), {"rank": rank})
    gold = (6 - rank) * won + (rank - 1) * lost
    assert played.updated("user_tournaments")["neighborhood"]["gold"] == (0, gold)
    assert play(played.rows, ClaimTournamentReward("neighborhood")).outcome["gold"] == gold


@pytest.mark.parametrize("league", [None, "", "브론즈"])
def test_a_league_that_the_rules_do_not_know_is_the_lowest(league: str | None) -> None:
    rows = with_user(hana("neighborhood"), league=league)
    played = play(rows, FinishTournament("neighborhood"), {"rank": 6})
    assert played.updated("user_tournaments")["neighborhood"]["gold"] == (0, 250)


def test_what_was_gathered_before_stays_and_only_the_unplayed_gather_more() -> None:
    ready = play(hana("neighborhood", gold=7), FinishTournament("neighborhood"), {"rank": 6})
    assert ready.updated("user_tournaments")["neighborhood"]["gold"] == (7, 257)
    for rows in (hana("neighborhood", status="round_in_progress", gold=7), hana("national"), hana("world")):
        ((_, kind),) = rows["user_tournaments"]
        (finished,) = play(rows, FinishTournament(kind)).updated("user_tournaments").values()
        assert "gold" not in finished


def test_a_gathered_number_written_as_a_decimal_or_null_is_read_as_it_is_meant() -> None:
    rows = hana("national", status="complete", rank=5)
    record = rows["user_tournaments"][("hana", "national")]
    record["materials"] = '{"하급 강화석":3.0,"중급 강화석":null,"상급 강화석":0}'
    played = play(rows, ClaimTournamentReward("national"))
    assert [line[2:] for line in played.history] == [(1, 1), (3, 3)]
    assert all(type(item["quantity"]) is int for item in played.rows["user_inventory"].values())
    record["materials"] = '{"없는 물건":1}'
    assert refusal(rows, ClaimTournamentReward("national")) == "no_such_item"


@pytest.mark.parametrize("column", ["tournament_score", "cumulative_tournament_score"])
def test_a_score_never_grows_beyond_what_a_column_holds(column: str) -> None:
    rows = with_user(hana("world"), **{column: 2**63 - 1})
    assert refusal(rows, FinishTournament("world")) == "balance_too_high"
    rows = hana("neighborhood", gold=2**63 - 1)
    assert refusal(rows, FinishTournament("neighborhood")) == "balance_too_high"
    rows = with_user(hana("neighborhood", gold=7, status="complete", rank=6), gold=2**63 - 1)
    assert refusal(rows, ClaimTournamentReward("neighborhood")) == "balance_too_high"


@pytest.mark.parametrize("status", ["complete", "eliminated"])
@pytest.mark.parametrize(
    ("kind", "rank", "gathered", "outcome", "left"),
    [
        ("neighborhood", None, {"gold": 350}, {"gold": 350, "items": {}}, 0),
        ("neighborhood", 12, {"gold": 350}, {"gold": 350, "items": {}}, 0),
        ("national", None, {"materials": {"하급 강화석": 3}}, {"gold": 0, "items": {"하급 강화석": 3}}, "{}"),
        ("world", None, {"boxes": {"장비 상자 I": 2}}, {"gold": 0, "items": {"장비 상자 I": 2}}, "{}"),
    ],
)
def test_one_that_ended_without_a_rank_pays_what_was_gathered_once_and_gives_way(
    kind: TournamentKind, rank: int | None, gathered: dict[str, object], outcome: object, left: object, status: str
) -> None:
    ((column, _),) = gathered.items()
    claim, start = ClaimTournamentReward(kind), StartTournament(kind)
    rows = hana(kind, status=status, rank=rank, played=NOON_MS, **gathered)
    assert refusal(rows, start, now_ms=NOON_MS + DAY_MS) == "reward_unclaimed"
    played = play(rows, claim)
    assert played.outcome == outcome
    changed = played.updated("user_tournaments")[kind]
    assert {name: after for name, (_, after) in changed.items()} == {column: left}
    assert refusal(played.rows, claim) == "not_finished"
    assert play(played.rows, start, now_ms=NOON_MS + DAY_MS).outcome
    rows["user_tournaments"][("hana", kind)]["claimed"] = True
    assert refusal(rows, claim) == "already_claimed"


@pytest.mark.parametrize(
    "left",
    [{"gold": 1500}, {"boxes": '{"장비 상자 I":1}'}, {"materials": '{"하급 강화석":3}'}, {"status": "unreadable"}],
)
def test_what_was_gathered_and_can_not_be_claimed_is_never_lost_to_a_new_start(left: dict[str, object]) -> None:
    rows = builders.player("hana", tournaments={"world": {"status": "complete"}})
    rows["user_tournaments"][("hana", "world")] |= left
    assert refusal(rows, StartTournament("world"), now_ms=NOON_MS) == "reward_unclaimed"


def test_a_state_that_can_not_be_read_is_neither_finished_nor_claimed() -> None:
    rows = builders.player("hana", tournaments={"world": {"status": "unreadable"}})
    for command in (FinishTournament("world"), ClaimTournamentReward("world")):
        assert refusal(rows, command, now_ms=NOON_MS) == "no_tournament"
