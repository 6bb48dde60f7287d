"""The catalog's figures, against the game's rules as they are written down."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from game.rules import catalog

FORGE = """
normal    | 1×10 | 1×15 | 1×20 | 1×25 | 1×30 | 2×30  | 2×50 | 3×5  | 3×10  | 4×5
uncommon  | 1×20 | 1×30 | 1×40 | 1×50 | 1×60 | 2×50  | 3×10 | 3×20 | 4×10  | 4×20
rare      | 2×10 | 2×15 | 2×20 | 2×25 | 2×30 | 2×100 | 3×20 | 3×40 | 4×15  | 4×30
epic      | 2×20 | 2×30 | 2×40 | 2×50 | 2×60 | 3×30  | 3×50 | 4×20 | 4×45  | 4×80
legendary | 3×10 | 3×15 | 3×20 | 3×25 | 3×30 | 3×100 | 4×20 | 4×50 | 4×100 | 5×10
mythic    | 3×20 | 3×30 | 3×40 | 3×50 | 3×60 | 4×40  | 4×80 | 5×10 | 5×50  | 5×100
"""
BY_GRADE = {
    # wear level, main in percent, plain main, gold, XP, percent a failure adds
    "normal": (2, 4, 8, 100, (1, 10), 5),
    "uncommon": (3, 6, 12, 200, (5, 20), 4),
    "rare": (5, 8, 16, 300, (10, 30), 3),
    "epic": (10, 10, 20, 500, (20, 50), 2),
    "legendary": (12, 12, 24, 1000, (50, 100), 1),
    "mythic": (15, 15, 30, 2000, (100, 300), 0.5),
}
REWARDS = {
    "neighborhood": ["골드 꾸러미4 다이아 꾸러미1", "골드 꾸러미3", "골드 꾸러미2", *["골드 꾸러미1"] * 3],
    "national": [
        "골드 꾸러미4 다이아 꾸러미2",
        "골드 꾸러미3 다이아 꾸러미1",
        "골드 꾸러미2 다이아 꾸러미1",
        "골드 꾸러미1 다이아 꾸러미1",
        *["골드 꾸러미1"] * 4,
    ],
    "world": [
        "골드 꾸러미4 다이아 꾸러미3",
        "골드 꾸러미3 다이아 꾸러미2",
        "골드 꾸러미3 다이아 꾸러미1",
        "골드 꾸러미2 다이아 꾸러미1",
        *["골드 꾸러미1 다이아 꾸러미1"] * 4,
        *["골드 꾸러미1"] * 8,
    ],
}
SCORES = {
    "neighborhood": [32, 16, 8, 5, 3, 1],
    "national": [46, 29, 15, 7, 2, 2, 2, 2],
    "world": [58, 44, 21, 11, 5, 5, 5, 5, 3, 3, 3, 3, 3, 3, 3, 3],
}


def test_there_is_one_item_of_every_slot_and_grade_and_five_materials_and_twenty_seven_consumables() -> None:
    equipment = [t for t in catalog.TEMPLATES.values() if t.type == catalog.EQUIPMENT]
    assert {(t.slot, t.grade) for t in equipment} == {(slot, grade) for slot in catalog.SLOTS for grade in BY_GRADE}
    assert len(equipment) == 36
    tiers = [t.tier for t in catalog.TEMPLATES.values() if t.type == catalog.MATERIAL]
    assert tiers == [1, 2, 3, 4, 5]
    assert sum(t.type == catalog.CONSUMABLE for t in catalog.TEMPLATES.values()) == 27


@pytest.mark.parametrize(
    ("name", "slot", "grade"),
    [
        ("푸른 바람 부채", "fan", "normal"),
        ("산호결 바둑판", "board", "rare"),
        ("천룡 도복 하의", "bottom", "mythic"),
        ("옥", None, None),
        ("은빛 결돌", "stones", "uncommon"),
        ("용린 바둑통", "bowl", "legendary"),
    ],
)
def test_a_name_tells_slot_and_grade(name: str, slot: str | None, grade: str | None) -> None:
    template = catalog.TEMPLATES.get(name)
    assert (template and template.slot, template and template.grade) == (slot, grade)


@pytest.mark.parametrize("grade", BY_GRADE)
def test_a_grade_has_the_figures_of_the_rules(grade: str) -> None:
    figures = catalog.GRADES[grade]
    mains = catalog.main_base("fan", figures), catalog.main_base("stones", figures)
    wear_level, percentage, plain, gold, xp, bonus = BY_GRADE[grade]
    assert mains == ((percentage, True), (plain, False))
    assert (figures.wear_level, figures.enhance_gold, figures.enhance_xp, figures.failure_bonus) == (
        wear_level,
        gold,
        xp,
        bonus,
    )


def test_only_fan_board_and_top_have_a_main_option_in_percent() -> None:
    grade = catalog.GRADES["normal"]
    assert [slot for slot in catalog.SLOTS if catalog.main_base(slot, grade)[1]] == ["fan", "board", "top"]


@pytest.mark.parametrize("line", FORGE.strip().splitlines())
def test_a_star_takes_the_materials_of_the_table(line: str) -> None:
    grade, *cells = re.split(r"\s*\|\s*", line)
    names = ["하급 강화석", "중급 강화석", "상급 강화석", "최상급 강화석", "신비의 강화석"]
    wanted = [(names[int(tier) - 1], int(amount)) for tier, amount in (cell.split("×") for cell in cells)]
    assert [catalog.enhance_material(catalog.GRADES[grade], stars) for stars in range(10)] == wanted


@pytest.mark.parametrize(
    ("grade", "stars", "gold"),
    [
        ("normal", 0, 100),
        ("normal", 3, 338),
        ("normal", 5, 759),
        ("uncommon", 1, 300),
        ("rare", 3, 1013),
        ("epic", 4, 2531),
        ("legendary", 5, 7594),
        ("mythic", 9, 76887),
    ],
)
def test_gold_grows_by_half_a_star_and_halves_round_up(grade: str, stars: int, gold: int) -> None:
    assert catalog.enhance_gold(catalog.GRADES[grade], stars) == gold


@pytest.mark.parametrize("exact", ["0.5", "1.5", "2.5", "1012.5"])
def test_halves_go_up_where_python_goes_to_the_even(exact: str) -> None:
    assert catalog.rounded(Fraction(exact)) == int(Fraction(exact) + Fraction(1, 2))
    assert catalog.rounded(Fraction("2.49")) == 2


@pytest.mark.parametrize(
    ("grade", "stars", "fails", "chance"),
    [
        ("normal", 0, 0, 100),
        ("normal", 9, 0, 10),
        ("normal", 3, 0, 70),
        ("normal", 3, 1, 75),
        ("mythic", 8, 3, 21.5),
        ("epic", 9, 45, 100),
        ("epic", 9, 44, 98),
        ("uncommon", 5, 2, 58),
        ("legendary", 7, 1, 31),
        ("rare", 6, 1, 43),
    ],
)
def test_failures_add_to_the_chance_up_to_a_hundred(grade: str, stars: int, fails: int, chance: float) -> None:
    assert catalog.enhance_chance(catalog.GRADES[grade], stars, fails) == chance


def test_three_stars_ask_for_a_level_sum() -> None:
    assert [catalog.level_sum_for(star) for star in range(1, 11)] == [0, 0, 0, 3, 0, 0, 8, 0, 0, 15]


@pytest.mark.parametrize(
    ("base", "star", "gain"),
    [(4, 1, 4), (4, 4, 5), (15, 4, 20), (15, 7, 23), (8, 7, 12), (30, 10, 60), (6.5, 1, 7), (5, 4, 7)],
)
def test_a_star_adds_the_base_value_and_more_at_four_seven_and_ten(base: float, star: int, gain: int) -> None:
    assert catalog.main_gain(base, star) == gain


@pytest.mark.parametrize(
    ("level", "xp"),
    [(1, 1200), (5, 2000), (6, 2800), (10, 3800), (11, 4800), (15, 6000), (16, 7600), (19, 8650)],
)
def test_a_forge_level_asks_for_the_experience_of_the_rules(level: int, xp: int) -> None:
    assert catalog.xp_to_leave(level) == xp


def test_no_experience_leads_beyond_the_top() -> None:
    with pytest.raises(ValueError, match="the top"):
        catalog.xp_to_leave(20)


@pytest.mark.parametrize("kind", SCORES)
def test_every_rank_has_its_score_and_its_items(kind: str) -> None:
    tournament = catalog.TOURNAMENTS[kind]
    wanted = [dict.fromkeys(re.findall(r"\S+ 꾸러미\d", names), 1) for names in REWARDS[kind]]
    assert list(tournament.scores) == SCORES[kind]
    assert [dict(items) for items in tournament.rewards] == wanted
    assert tournament.league == len(wanted)
    assert all(name in catalog.TEMPLATES for items in tournament.rewards for name in items)
