"""Training missions: whole cycles by the clock, up to a cap, collected by hand."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

import pytest

from game.rows import Rows
from game.rules.commands import CollectAllMissions, CollectMission, LevelUpMission, StartMission
from game.rules.missions import MISSIONS
from tests.game.records import HOUR_MS, NOON_MS, hana, mission, stages, with_user
from tests.game.rules.playing import play, refusal

MINUTE_MS = 60_000
LARGEST = 2**63 - 1
TABLE = """
mission_attendance    | 입문-1    | gold     | 5 ×6, 4.5 4 3.5 3             | 5 ×5, 10 ×5  | 50 60 70 80 90 100 110 120 130 150
mission_complete_game | 입문-20   | gold     | same                          | 10 ×5, 20 ×5 | 150 160 170 180 200 220 240 260 280 300
mission_rival_match   | 초급-20   | gold     | same                          | 20 ×6, 30 ×4 | 300 340 380 420 460 500 540 600 660 750
mission_study_joseki  | 중급-20   | diamonds | 60 58 56 54 52 50 47 44 41 35 | 1 ×10        | 2 ×4, 3 ×5, 4
mission_league        | 고급-20   | gold     | 5 ×6, 4.5 4 3.5 3             | 50 ×8, 100 ×2 | 500 550 600 650 700 750 800 850 900 1000
mission_ai_match      | 유단자-20 | diamonds | 60 58 56 54 52 50 47 44 41 35 | 1 ×10        | 3 ×4, 4 ×5, 5
"""  # noqa: E501 - a table of the rules
COLLECT = CollectMission("mission_attendance")


def ten(cell: str) -> list[Fraction]:
    """The ten values that `5 ×6, 4.5 4 3.5 3` says."""
    values: list[Fraction] = []
    for part in re.findall(r"[\d.]+(?: ×\d+)?", cell):
        value, _, times = part.partition(" ×")
        values += [Fraction(value)] * int(times or 1)
    return values


def table() -> list[list[str]]:
    rows = [re.split(r"\s*\|\s*", line) for line in TABLE.strip().splitlines()]
    for above, row in pairwise(rows):
        row[3] = above[3] if row[3] == "same" else row[3]
    return rows


@pytest.mark.parametrize("row", table(), ids=[row[0] for row in table()])
def test_a_mission_has_the_figures_of_the_rules_at_every_level(row: list[str]) -> None:
    name, opens_with, pays, minutes, each, caps = row
    entry = MISSIONS[name]
    assert (entry.opens_with, entry.pays) == (opens_with, pays)
    assert [level.cycle_ms for level in entry.levels] == [minute * MINUTE_MS for minute in ten(minutes)]
    assert [level.per_cycle for level in entry.levels] == ten(each)
    assert [level.cap for level in entry.levels] == ten(caps)
    assert len(entry.levels) == 10


@pytest.mark.parametrize(
    ("after_ms", "amount", "since_ms"),
    [
        (5 * MINUTE_MS, 5, 5 * MINUTE_MS),
        (10 * MINUTE_MS - 1, 5, 5 * MINUTE_MS),
        (49 * MINUTE_MS, 45, 45 * MINUTE_MS),
        (50 * MINUTE_MS, 50, 50 * MINUTE_MS),
        (52 * MINUTE_MS, 50, 52 * MINUTE_MS),  # full: the clock starts again at the collection
        (1000 * HOUR_MS, 50, 1000 * HOUR_MS),
    ],
)
def test_whole_cycles_are_collected_the_remainder_kept_and_a_full_clock_restarted(
    after_ms: int, amount: int, since_ms: int
) -> None:
    played = play(mission(hana(), "mission_attendance"), COLLECT, now_ms=NOON_MS + after_ms)
    assert played.outcome == {"missions": {"mission_attendance": amount}, "gold": amount, "diamonds": 0}
    assert played.updated("user_missions") == {
        "mission_attendance": {"collected": (0, amount), "since": (NOON_MS, NOON_MS + since_ms)}
    }
    assert played.ledger == [("gold", amount, "mission", amount)]


def test_before_the_first_cycle_is_whole_there_is_nothing_to_collect() -> None:
    rows = mission(hana(), "mission_attendance")
    assert refusal(rows, COLLECT, now_ms=NOON_MS + 5 * MINUTE_MS - 1) == "nothing_to_collect"


def test_what_was_there_already_is_collected_with_what_came() -> None:
    rows = mission(hana(), "mission_attendance", amount=20, collected=7)
    played = play(rows, COLLECT, now_ms=NOON_MS + 11 * MINUTE_MS)
    assert played.updated("user_missions")["mission_attendance"] == {
        "amount": (20, 0),
        "collected": (7, 37),
        "since": (NOON_MS, NOON_MS + 10 * MINUTE_MS),
    }


def test_a_clock_that_went_back_gives_nothing_and_takes_nothing() -> None:
    rows = mission(hana(), "mission_attendance")
    assert refusal(rows, COLLECT, now_ms=NOON_MS - HOUR_MS) == "nothing_to_collect"
    for amount in (20, 50):
        rows = mission(hana(), "mission_attendance", amount=amount)
        played = play(rows, COLLECT, now_ms=NOON_MS - HOUR_MS)
        assert played.updated("user_missions") == {
            "mission_attendance": {"amount": (amount, 0), "collected": (0, amount)}
        }


@pytest.mark.parametrize("since", [None, 0])
def test_a_started_mission_without_a_time_is_full(since: int | None) -> None:
    played = play(mission(hana(), "mission_attendance", since=since), COLLECT, now_ms=NOON_MS)
    assert played.outcome["gold"] == 50
    assert played.updated("user_missions")["mission_attendance"]["since"] == (since, NOON_MS)


def test_an_amount_beyond_the_cap_is_neither_cut_nor_added_to() -> None:
    rows = mission(hana(), "mission_attendance", amount=777)
    assert play(rows, COLLECT, now_ms=NOON_MS + HOUR_MS).outcome["gold"] == 777


def test_all_that_is_started_and_has_something_is_collected_at_once() -> None:
    rows = hana()
    mission(rows, "mission_study_joseki", since=NOON_MS - HOUR_MS)
    mission(rows, "mission_of_another_game", amount=9)
    mission(rows, "mission_league", started=False, amount=9)
    mission(rows, "mission_attendance", since=NOON_MS - 12 * MINUTE_MS)
    mission(rows, "mission_rival_match")
    played = play(rows, CollectAllMissions(), now_ms=NOON_MS)
    assert played.outcome == {
        "missions": {"mission_study_joseki": 1, "mission_attendance": 10},
        "gold": 10,
        "diamonds": 1,
    }
    assert played.ledger == [("diamonds", 1, "mission", 1), ("gold", 10, "mission", 10)]
    assert set(played.updated("user_missions")) == {"mission_study_joseki", "mission_attendance"}
    assert refusal(played.rows, CollectAllMissions(), now_ms=NOON_MS) == "nothing_to_collect"


def test_what_can_not_be_collected_is_refused_by_its_reason() -> None:
    assert refusal(hana(), CollectMission("mission_of_another_game")) == "no_such_mission"
    assert refusal(hana(), COLLECT) == "mission_not_started"
    assert refusal(mission(hana(), "mission_attendance", started=False, amount=9), COLLECT) == "mission_not_started"
    full = mission(hana(), "mission_attendance", amount=50)
    assert refusal(with_user(full, gold=LARGEST), COLLECT, now_ms=NOON_MS) == "balance_too_high"
    full = mission(hana(), "mission_attendance", amount=50, collected=LARGEST)
    assert refusal(full, COLLECT, now_ms=NOON_MS) == "balance_too_high"


@pytest.mark.parametrize(("name", "stage"), [(row[0], row[1]) for row in table()])
def test_a_mission_starts_once_its_stage_is_cleared(name: str, stage: str) -> None:
    start = StartMission(name)
    assert refusal(hana(), start) == "mission_locked"
    assert refusal(stages(hana(), stage, cleared=False), start) == "mission_locked"
    played = play(stages(hana(), stage), start, now_ms=NOON_MS)
    assert played.outcome == {"level": 1}
    (made,) = played.changes["user_missions"].inserts.values()
    assert made == {
        "user_id": "hana",
        "id": name,
        "position": 0,
        "started": True,
        "level": 1,
        "amount": 0,
        "collected": 0,
        "since": NOON_MS,
    }
    assert refusal(played.rows, start, now_ms=NOON_MS) == "already_started"


def test_a_mission_that_had_a_level_starts_at_it() -> None:
    rows = mission(stages(hana(), "입문-1"), "mission_attendance", started=False, level=4, collected=9, since=0)
    played = play(rows, StartMission("mission_attendance"), now_ms=NOON_MS)
    assert played.outcome == {"level": 4}
    assert played.updated("user_missions") == {"mission_attendance": {"started": (False, True), "since": (0, NOON_MS)}}
    assert refusal(rows, StartMission("mission_of_another_game")) == "no_such_mission"


def ripe(name: str, level: int, *, collected: int, gold: int, **columns: int) -> Rows:
    """A mission whose stage is cleared, at the level, with so much collected and gold."""
    rows = stages(hana(gold=gold), MISSIONS[name].opens_with)
    return mission(rows, name, level=level, collected=collected, **columns)


@pytest.mark.parametrize(("name", "level"), [(row[0], level) for row in table() for level in (1, 5, 8, 9)])
def test_a_level_asks_for_what_was_collected_and_for_gold(name: str, level: int) -> None:
    row = next(row for row in table() if row[0] == name)
    cap, up = int(ten(row[5])[level - 1]), LevelUpMission(name)
    needed, cost = level * 10 * cap, cap * (5 if row[2] == "gold" else 1000)
    played = play(ripe(name, level, collected=needed, gold=cost), up, now_ms=NOON_MS)
    amount = int(ten(row[4])[level])
    assert played.outcome == {"level": level + 1, "amount": amount}
    assert played.ledger == [("gold", -cost, "level_up_mission", 0)]
    assert played.updated("user_missions")[name] == {
        "level": (level, level + 1),
        "amount": (0, amount),
        "collected": (needed, 0),
    }
    assert refusal(ripe(name, level, collected=needed - 1, gold=cost), up, now_ms=NOON_MS) == "not_enough_collected"
    assert refusal(ripe(name, level, collected=needed, gold=cost - 1), up, now_ms=NOON_MS) == "not_enough_gold"


@pytest.mark.parametrize(("minutes", "kept", "since_minutes"), [(4, 5, 0), (12, 10, 10), (50, 50, 50), (57, 50, 57)])
def test_what_was_produced_at_the_old_level_is_kept(minutes: int, kept: int, since_minutes: int) -> None:
    rows = ripe("mission_attendance", 1, collected=500, gold=250)
    played = play(rows, LevelUpMission("mission_attendance"), now_ms=NOON_MS + minutes * MINUTE_MS)
    assert played.outcome == {"level": 2, "amount": kept}
    assert played.rows["user_missions"][("hana", "mission_attendance")]["since"] == NOON_MS + since_minutes * MINUTE_MS


def test_more_than_the_new_cap_is_not_kept() -> None:
    rows = ripe("mission_attendance", 1, collected=500, gold=250, amount=99)
    assert play(rows, LevelUpMission("mission_attendance"), now_ms=NOON_MS).outcome == {"level": 2, "amount": 60}


def test_a_level_can_be_refused_by_its_reason() -> None:
    up = LevelUpMission("mission_attendance")
    assert refusal(hana(), LevelUpMission("mission_of_another_game")) == "no_such_mission"
    assert refusal(hana(), up) == "mission_not_started"
    assert refusal(ripe("mission_attendance", 10, collected=99_999, gold=99_999), up) == "mission_at_top"


def test_only_the_last_level_asks_for_the_stage_again() -> None:
    up = LevelUpMission("mission_attendance")
    for level, code in ((8, None), (9, "mission_locked")):
        rows = mission(hana(gold=9999), "mission_attendance", level=level, collected=99_999)
        if code is None:
            assert play(rows, up, now_ms=NOON_MS).outcome["level"] == 9
        else:
            assert refusal(rows, up, now_ms=NOON_MS) == code


def test_what_a_mission_had_produced_before_it_is_started_again_is_still_there() -> None:
    rows = mission(stages(hana(), "입문-1"), "mission_attendance", started=False, amount=50, level=3)
    played = play(rows, StartMission("mission_attendance"), now_ms=NOON_MS)
    assert played.rows["user_missions"][("hana", "mission_attendance")]["amount"] == 50
