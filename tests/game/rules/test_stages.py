"""Single-play stages: they open one after the other, and grant with the clear itself."""

from __future__ import annotations

import re

import pytest

from game.rows import Rows
from game.rules.chance import new_id
from game.rules.commands import ClearStage
from tests.game.records import hana, stages, with_user
from tests.game.rules.playing import play, refusal

LARGEST = 2**63 - 1
FIGURES = """
입문 | 100/10 | 150/20 | 10/10  | 10/10  | 2 | 다이아 꾸러미1
초급 | 200/30 | 250/52 | 30/20  | 30/20  | 3 | 다이아 꾸러미2
중급 | 300/100 | 300/100 | 50/30 | 50/30 | 4 | 다이아 꾸러미3
고급 | 500/200 | 600/200 | 100/40 | 100/40 | 5 | 다이아 꾸러미4
유단자 | 700/250 | 800/300 | 150/50 | 300/50 | 5 | 장비 상자 VI
"""
LEVELS = [re.split(r"\s*\|\s*", line) for line in FIGURES.strip().splitlines()]
ORDER = [f"{level[0]}-{n}" for level in LEVELS for n in range(1, 21)]
SAMPLE = [(level, n) for level in range(5) for n in (1, 2, 10, 11, 19, 20)]


def before(stage: str, **given: object) -> Rows:
    """All stages cleared that come before this one."""
    return stages(hana(**given), *ORDER[: ORDER.index(stage)])


@pytest.mark.parametrize(("level", "n"), SAMPLE)
def test_the_first_clear_pays_its_reward_and_later_ones_the_smaller_one(level: int, n: int) -> None:
    name, early, late, early_again, late_again, points, item = LEVELS[level]
    stage, ordinal = f"{name}-{n}", level * 20 + n
    gold, xp = map(int, (late if n > 10 else early).split("/"))
    rows = before(stage)
    played = play(rows, ClearStage(stage))
    items = {item: 1} if n == 20 else {}
    assert played.outcome == {"first": True, "gold": gold, "xp": xp, "items": items}
    assert played.user == {
        "gold": (0, gold),
        "strategy_xp": (0, xp),
        "action_points": (30, 30 - int(points)),
        "stage_progress": (0, ordinal),
    }
    assert played.ledger == [("gold", gold, "stage", gold)]
    assert played.history == ([("gain", new_id("r1", 1), 1, 1)] if items else [])
    (made,) = played.changes["user_stages"].inserts.values()
    assert made == {
        "user_id": "hana",
        "stage": stage,
        "position": 1024 * (ordinal - 1),
        "cleared": True,
        "rewarded": True,
    }
    gold_again, xp_again = map(int, (late_again if n > 10 else early_again).split("/"))
    again = play(with_user(played.rows, gold=0, strategy_xp=0), ClearStage(stage))
    assert again.outcome == {"first": False, "gold": gold_again, "xp": xp_again, "items": {}}
    assert set(again.user) == {"gold", "strategy_xp", "action_points"}
    assert "user_stages" not in again.changes


@pytest.mark.parametrize("flag", ["cleared", "rewarded"])
def test_either_flag_alone_says_that_the_first_reward_was_granted(flag: str) -> None:
    rows = stages(hana(), "입문-1", cleared=flag == "cleared", rewarded=flag == "rewarded")
    played = play(rows, ClearStage("입문-1"))
    assert played.outcome == {"first": False, "gold": 10, "xp": 10, "items": {}}
    other = "rewarded" if flag == "cleared" else "cleared"
    assert played.updated("user_stages") == {"입문-1": {other: (False, True)}}


@pytest.mark.parametrize("stage", ["입문-2", "입문-20", "초급-1", "유단자-1", "유단자-20"])
def test_a_stage_opens_when_the_one_before_it_is_cleared(stage: str) -> None:
    prior = ORDER[ORDER.index(stage) - 1]
    assert play(stages(hana(), prior), ClearStage(stage)).outcome["first"] is True
    assert refusal(hana(), ClearStage(stage)) == "stage_locked"
    assert refusal(stages(hana(), prior, cleared=False), ClearStage(stage)) == "stage_locked"


@pytest.mark.parametrize("stage", ["입문-0", "입문-21", "입문-01", "입문", "신급-1", "", "입문-1 "])
def test_a_stage_that_there_is_not_is_not_cleared(stage: str) -> None:
    assert refusal(hana(), ClearStage(stage)) == "no_such_stage"


def test_a_clear_costs_action_points_that_must_be_there() -> None:
    assert play(hana(action_points=2), ClearStage("입문-1")).user["action_points"] == (2, 0)
    assert refusal(hana(action_points=1), ClearStage("입문-1")) == "not_enough_action_points"


def test_progress_never_goes_back() -> None:
    rows = with_user(stages(hana(), "입문-1"), stage_progress=57)
    assert "stage_progress" not in play(rows, ClearStage("입문-2")).user


def test_a_clear_whose_reward_can_not_be_kept_is_refused_whole() -> None:
    assert refusal(before("입문-20", places={"consumable": 0}), ClearStage("입문-20")) == "bag_full"
    assert refusal(with_user(hana(), strategy_xp=LARGEST), ClearStage("입문-1")) == "balance_too_high"
