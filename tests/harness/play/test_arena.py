"""A scenario's players are the same on either store, whatever is given of them."""

from __future__ import annotations

import json

from harness import scenarios
from harness.play import differential
from harness.play.arena import PlayedStore, starts

GIVEN = """
about: Everything that may be given.
given:
  hana:
    bag: {fan: 푸른 바람 부채}
    worn: [fan]
    league: 루키
    action_points: 3
    presets: {대국: {fan: fan, top: gone}}
    quests:
      weekly: {q1: {target: 3, progress: 3, reward: {gold: 5, items: {골드 꾸러미1: 1}}, activity_points: 20}}
      daily: {q2: {claimed: true}}
    milestones: {daily: {activity: 40, claimed: [20], reset: -1d}, monthly: {reset: null}}
    missions: {mission_attendance: {level: 2, amount: 5, collected: 7, since: -1h}}
    stages: {입문-1: {}, 입문-3: {cleared: false}, 입문-2: {rewarded: false}}
    progress: 2
steps: [{by: hana, do: unequip, with: {slot: fan}}]
"""


def test_a_player_is_the_same_on_both_stores(postgres_stage: PlayedStore, legacy_stage: PlayedStore) -> None:
    assert differential.replay_twins(scenarios.read(GIVEN, "given.yaml").scenario, postgres_stage, legacy_stage) == []


def test_moments_are_told_from_the_scenarios_clock() -> None:
    (start,) = starts(scenarios.read(GIVEN, "given.yaml").scenario).values()
    noon = 1_767_582_000_000
    resets = {key[1]: record["reset_at"] for key, record in start.rows["user_milestones"].items()}
    assert resets == {"daily": noon - 86_400_000, "weekly": noon - 43_200_000, "monthly": None}
    assert start.rows["user_missions"]["hana", "mission_attendance"]["since"] == noon - 3_600_000
    assert json.loads(str(start.legacy["quests"]))["daily"]["lastReset"] == noon - 86_400_000
