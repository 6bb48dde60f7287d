"""Every action through dispatch: what the rules leave is what the store keeps, and the journals add up."""

from __future__ import annotations

from game import tables
from game.dispatch import Answer
from game.rows import Rows
from game.rules.commands import (
    ApplyPreset,
    ClaimAllMail,
    ClaimMail,
    ClaimMilestone,
    ClaimQuest,
    ClaimTournamentReward,
    ClearStage,
    CollectAllMissions,
    CollectMission,
    Combine,
    Command,
    Convert,
    DeleteMail,
    Disassemble,
    Enhance,
    Equip,
    ExpandBag,
    FinishTournament,
    LevelUpMission,
    OpenBundle,
    SavePreset,
    SellItem,
    StartMission,
    StartTournament,
    Unequip,
)
from harness.play import invariants
from tests.game.places import PostgresPlace
from tests.game.playing_on_stores import ask
from tests.game.records import hana, milestones, mission, preset, quest, stages

ALL: tuple[Command, ...] = (
    ClaimMail("m1"),
    DeleteMail("m1"),
    ClaimAllMail(),
    ClaimQuest("daily", "q1"),
    ClaimMilestone("daily", 20),
    Equip("fan"),
    Equip("board"),
    SavePreset("대회"),
    Unequip("fan"),
    SavePreset("대회"),
    ApplyPreset("둘"),
    Enhance("fan"),
    Combine(("c1", "c2", "c3"), random=True),
    Disassemble("fan3"),
    Convert("하급 강화석", "up", 2),
    StartTournament("neighborhood"),
    FinishTournament("neighborhood"),
    ClaimTournamentReward("neighborhood"),
    ClearStage("입문-1"),
    ClearStage("입문-1"),
    ClearStage("입문-2"),
    StartMission("mission_attendance"),
    CollectMission("mission_league"),
    CollectAllMissions(),
    LevelUpMission("mission_rival_match"),
    OpenBundle("bundle"),
    SellItem("stone", 3),
    SellItem("fan4"),
    ExpandBag("material"),
)


def player() -> Rows:
    fans = dict.fromkeys(("fan", "fan2", "fan3", "fan4", "c1", "c2", "c3"), "푸른 바람 부채")
    stones = {"stone": {"name": "하급 강화석", "quantity": 90}, "bundle": {"name": "골드 꾸러미1", "quantity": 2}}
    mail = {"m1": {"gold": 50, "items": {"골드 꾸러미1": 2, "새싹 바둑판": 1}}, "m2": {"diamonds": 3}, "m3": {}}
    rows = hana(gold=10_000, diamonds=500, level=30, bag={**fans, "board": "새싹 바둑판", **stones}, mail=mail)
    milestones(quest(rows, reward={"gold": 7, "xp": {"type": "strategy", "amount": 3}}), activity=10)
    preset(rows, "둘", {"fan": "fan2"})
    stages(rows, "초급-20")
    mission(rows, "mission_league", since=0)
    mission(rows, "mission_study_joseki", since=0)
    return mission(rows, "mission_rival_match", collected=9999)


def read(place: PostgresPlace) -> Rows:
    rows = place.store.read("hana")
    assert rows is not None
    return rows


def test_every_command_of_a_long_game_is_granted_kept_and_adds_up(postgres: PostgresPlace) -> None:
    postgres.put(player())
    start = read(postgres)
    order: list[str] = []
    for n, command in enumerate(ALL):
        before = read(postgres)
        answer = ask(postgres.store, command, f"r{n}")
        order.append(f"r{n}")
        after = read(postgres)
        assert ask(postgres.store, command, f"r{n}") == Answer(answer.outcome, replayed=True)
        assert read(postgres) == after
        assert invariants.breaches(after, order, opening=start) == [], command
        assert invariants.order_kept(before, after) == [], command
    assert {table.name for table in tables.PLAYER_STATE if start[table.name] != read(postgres)[table.name]} == {
        table.name for table in tables.PLAYER_STATE
    }
