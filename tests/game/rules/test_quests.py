"""Quests and milestones: claimed once, when they are reached, within their period."""

from __future__ import annotations

import json

import pytest

from game.rows import Rows, Value
from game.rules.commands import ClaimMilestone, ClaimQuest, Milestone, Period
from tests.game.records import DAY_MS, HOUR_MS, NOON_MS, hana, milestones, quest, with_user
from tests.game.rules.playing import play, refusal

CLAIM = ClaimQuest("daily", "q1")
MIDNIGHT_MS = NOON_MS - 12 * HOUR_MS
LARGEST = 2**63 - 1
PERIODS: tuple[Period, ...] = ("daily", "weekly", "monthly")
POINTS: tuple[Milestone, ...] = (20, 40, 60, 80, 100)
MILESTONES = {
    "daily": "골드 꾸러미1, 골드 꾸러미2, 재료 상자 I, 장비 상자 I, 다이아 꾸러미1",
    "weekly": "골드 꾸러미2, 골드 꾸러미3, 재료 상자 II, 장비 상자 II, 다이아 꾸러미2",
    "monthly": "골드 꾸러미3, 골드 꾸러미4, 재료 상자 III, 장비 상자 III, 다이아 꾸러미3",
}


def ready(reward: object = None, **columns: Value) -> Rows:
    return milestones(quest(hana(), reward=reward, **columns), activity=15)


def test_a_quest_pays_all_that_it_promises_and_its_activity_points() -> None:
    reward = {
        "gold": 100,
        "diamonds": 2,
        "actionPoints": 5,
        "xp": {"type": "playful", "amount": 40},
        "items": [{"itemId": "하급 강화석", "quantity": 3}, {"itemId": "하급 강화석", "quantity": 4}],
    }
    played = play(ready(reward), CLAIM, now_ms=NOON_MS)
    assert played.outcome == {
        "gold": 100,
        "diamonds": 2,
        "action_points": 5,
        "xp": {"playful": 40},
        "items": {"하급 강화석": 7},
        "activity_points": 10,
    }
    assert played.user == {"gold": (0, 100), "diamonds": (0, 2), "action_points": (30, 35), "playful_xp": (0, 40)}
    assert played.updated("user_quests") == {"daily/q1": {"claimed": (False, True)}}
    assert played.updated("user_milestones") == {"daily": {"activity": (15, 25)}}
    assert played.ledger == [("gold", 100, "quest", 100), ("diamonds", 2, "quest", 2)]
    assert [line[0::2] for line in played.history] == [("gain", 3), ("gain", 4)]


def test_a_quest_without_a_reward_gives_its_activity_points() -> None:
    played = play(ready(), CLAIM, now_ms=NOON_MS)
    assert set(played.changes) == {"user_quests", "user_milestones"}


def test_a_quest_is_claimed_when_it_is_done_and_once() -> None:
    assert refusal(ready(progress=2), CLAIM, now_ms=NOON_MS) == "quest_unfinished"
    assert play(ready(progress=9), CLAIM, now_ms=NOON_MS).outcome["activity_points"] == 10
    assert refusal(ready(claimed=True), CLAIM, now_ms=NOON_MS + DAY_MS) == "already_claimed"


def test_a_quest_that_is_not_there_or_whose_activity_is_kept_nowhere_is_none() -> None:
    assert refusal(ready(), ClaimQuest("daily", "q2"), now_ms=NOON_MS) == "no_such_quest"
    assert refusal(ready(), ClaimQuest("weekly", "q1"), now_ms=NOON_MS) == "no_such_quest"
    assert refusal(quest(hana()), CLAIM, now_ms=NOON_MS) == "no_such_quest"


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [  # Monday 2026-01-05 in Seoul
        ("daily", MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS - 1),
        ("weekly", MIDNIGHT_MS, MIDNIGHT_MS + 7 * DAY_MS - 1),
        ("monthly", MIDNIGHT_MS - 4 * DAY_MS, MIDNIGHT_MS + 27 * DAY_MS - 1),
    ],
)
def test_quests_and_milestones_end_with_their_period_in_seoul(period: Period, first: int, last: int) -> None:
    claims = (ClaimQuest(period, "q1"), "quest_expired"), (ClaimMilestone(period, 20), "milestone_expired")
    for claim, code in claims:
        rows = milestones(quest(hana(), period=period), period=period, activity=20, reset=first)
        assert play(rows, claim, now_ms=last).outcome
        assert refusal(rows, claim, now_ms=last + 1) == code
        early = milestones(quest(hana(), period=period), period=period, activity=20, reset=first - 1)
        assert refusal(early, claim, now_ms=first) == code


@pytest.mark.parametrize("reset", [None, 0])
def test_what_has_no_time_does_not_run_out(reset: int | None) -> None:
    rows = milestones(quest(hana()), activity=20, reset=reset)
    assert play(rows, CLAIM, now_ms=NOON_MS).outcome
    assert play(rows, ClaimMilestone("daily", 20), now_ms=NOON_MS).outcome


def test_a_clock_that_went_back_expires_nothing() -> None:
    assert play(ready(), CLAIM, now_ms=NOON_MS - 5 * DAY_MS).outcome


@pytest.mark.parametrize(
    "reward",
    [
        {"gold": 5, "rubies": 1},
        {"gold": -5},
        {"gold": 1.0},
        {"gold": True},
        {"gold": "5"},
        {"gold": None},
        [5],
        {"actionPoints": {}},
        {"items": {}},
        {"items": ["미사일"]},
        {"items": [{"itemId": "미사일"}]},
        {"items": [{"itemId": "미사일", "quantity": 0}]},
        {"items": [{"itemId": 5, "quantity": 1}]},
        {"items": [{"itemId": "미사일", "quantity": 1, "bound": True}]},
        {"xp": 5},
        {"xp": {"type": "strategy"}},
        {"xp": {"type": "wisdom", "amount": 5}},
        {"xp": {"type": ["strategy"], "amount": 5}},
        {"xp": {"type": "strategy", "amount": -1}},
        {"xp": {"type": "strategy", "amount": 5, "x": 1}},
        "null",
        "",
        "{",
        "[" * 100_000,
        '{"gold":1,"gold":2}',
        '{"gold":' + "9" * 5000 + "}",
    ],
)
def test_a_reward_that_can_not_be_read_whole_is_not_granted_in_part(reward: object) -> None:
    assert refusal(ready(reward), CLAIM, now_ms=NOON_MS) == "reward_unreadable"


def test_a_reward_that_can_not_be_kept_leaves_the_quest_claimable() -> None:
    stones = {"items": [{"itemId": "하급 강화석", "quantity": 1}]}
    rows = milestones(quest(hana(places={"material": 0}), reward=stones))
    assert refusal(rows, CLAIM, now_ms=NOON_MS) == "bag_full"
    assert refusal(ready({"items": [{"itemId": "없는 물건", "quantity": 1}]}), CLAIM, now_ms=NOON_MS) == "no_such_item"
    assert refusal(ready({"gold": LARGEST + 1}), CLAIM, now_ms=NOON_MS) == "balance_too_high"
    xp = {"xp": {"type": "strategy", "amount": 1}}
    assert refusal(with_user(ready(xp), strategy_xp=LARGEST), CLAIM, now_ms=NOON_MS) == "balance_too_high"
    full = milestones(quest(hana()), activity=LARGEST)
    assert refusal(full, CLAIM, now_ms=NOON_MS) == "balance_too_high"


@pytest.mark.parametrize(("period", "n"), [(period, n) for period in PERIODS for n in range(5)])
def test_a_milestone_pays_its_item_once_it_is_reached(period: Period, n: int) -> None:
    claim, item = ClaimMilestone(period, POINTS[n]), MILESTONES[period].split(", ")[n]
    assert refusal(milestones(hana(), period=period, activity=POINTS[n] - 1), claim, now_ms=NOON_MS) == (
        "milestone_unreached"
    )
    played = play(milestones(hana(), period=period, activity=POINTS[n]), claim, now_ms=NOON_MS)
    assert played.outcome == {"items": {item: 1}}
    flags = [place == n for place in range(5)]
    (before, after) = played.updated("user_milestones")[period]["claimed"]
    assert (json.loads(str(before)), json.loads(str(after))) == ([False] * 5, flags)
    assert refusal(played.rows, claim, now_ms=NOON_MS + 40 * DAY_MS) == "already_claimed"


def test_a_milestone_that_does_not_fit_stays_claimable() -> None:
    rows = milestones(hana(places={"consumable": 0}), activity=100)
    assert refusal(rows, ClaimMilestone("daily", 100), now_ms=NOON_MS) == "bag_full"


def test_a_period_without_a_record_has_no_milestones() -> None:
    assert refusal(milestones(hana()), ClaimMilestone("weekly", 20), now_ms=NOON_MS) == "no_such_milestone"


@pytest.mark.parametrize("flags", ["", "null", "{}", "[true]", "[0,0,0,0,0]", "[false,false,false,false,false,false]"])
def test_flags_of_another_shape_refuse_a_milestone(flags: str) -> None:
    rows = milestones(hana(), activity=100, claimed=flags)
    assert refusal(rows, ClaimMilestone("daily", 20), now_ms=NOON_MS) == "reward_unreadable"
