"""Draws: the same for the same request, fixed where a scenario says so, and foretold by nobody."""

from __future__ import annotations

import pytest

from game.errors import BadDice
from game.rules.chance import Chance, new_id

SECRET = "a secret of sixteen"


def drawn(request_id: str = "r1", secret: str = SECRET, of: str = "hana", name: str = "xp") -> list[int]:
    chance = Chance(secret, request_id)
    return [chance.draw(name, 1, 1_000_000, of=of) for _ in range(3)]


def test_a_retry_draws_what_the_first_attempt_drew() -> None:
    assert drawn() == drawn()


def test_a_name_drawn_again_gives_another_number() -> None:
    assert len(set(drawn())) == 3


@pytest.mark.parametrize(
    "other", [{"request_id": "r2"}, {"secret": "another secret!!"}, {"of": "dodo"}, {"name": "rank"}]
)
def test_secret_player_request_and_name_all_count(other: dict[str, str]) -> None:
    assert not set(drawn()) & set(drawn(**other))


def test_every_number_of_a_range_comes_up_and_no_other() -> None:
    assert {Chance(SECRET, f"r{n}").draw("rank", 1, 6) for n in range(300)} == {1, 2, 3, 4, 5, 6}


def test_a_percentage_is_a_half_from_a_half_to_a_hundred() -> None:
    percents = {Chance(SECRET, f"r{n}").percent("success") for n in range(3000)}
    assert percents == {n / 2 for n in range(1, 201)}


def test_dice_fix_a_draw_by_its_name_and_place() -> None:
    chance = Chance(SECRET, "r1", {"xp": 7, "xp.2": 9, "success": 70.5})
    assert [chance.draw("xp", 1, 10), chance.draw("xp", 1, 10)] == [7, 9]
    assert chance.percent("success") == 70.5


def test_dice_that_nothing_draws_are_told() -> None:
    chance = Chance(SECRET, "r1", {"xp": 7, "rank": 1})
    chance.draw("xp", 1, 10)
    assert chance.unused() == {"rank"}


@pytest.mark.parametrize("value", [0, 11, 4.5])
def test_dice_outside_of_the_range_are_refused(value: float) -> None:
    with pytest.raises(BadDice, match="xp: expected a whole number from 1 to 10"):
        Chance(SECRET, "r1", {"xp": value}).draw("xp", 1, 10)


@pytest.mark.parametrize("value", [0, 100.5, 33.3])
def test_a_percentage_that_is_no_half_is_refused(value: float) -> None:
    with pytest.raises(BadDice, match=r"success: expected a percentage from 0.5 to 100 in halves"):
        Chance(SECRET, "r1", {"success": value}).percent("success")


def test_ids_follow_from_request_and_place_and_are_here_to_stay() -> None:
    assert new_id("r1", 1) == "item-7730559c-d2b5-576c-9fed-56986243165d"
    assert len({new_id(request, n) for request in ("r1", "r2") for n in (1, 2)}) == 4
