"""Orders of three sessions are drawn from a seed, with so many preemptions at most, and repeat themselves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

import pytest

from harness.gate.run import SEEDS
from harness.sweeps import pairs, threes
from harness.sweeps.proxied_database import ProxiedDatabase
from harness.sweeps.race_gates import Gate
from harness.sweeps.race_run import NAMES

TABLE = Path(__file__).parents[3] / "scenarios" / pairs.FILE
STEPS = 12


def waiting(names: Sequence[str] = NAMES) -> list[Gate]:
    return [Gate(name, threading.Condition(), []) for name in names]


def drawn(name: str, orders: int = 30) -> list[str]:
    """Return the orders of a race whose three sessions wait at every step."""
    return ["".join(choose(waiting(), None).name for _ in range(STEPS)) for choose in threes.draws(name, orders, STEPS)]


def test_the_orders_of_a_race_repeat_themselves_and_are_those_of_no_other() -> None:
    assert drawn("equip+sell_item+fence") == drawn("equip+sell_item+fence")
    assert drawn("equip+sell_item+fence") != drawn("equip+sell_item+mover")
    assert len(set(drawn("equip+sell_item+fence"))) > 20


def test_the_orders_follow_from_the_seed_in_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn("equip+sell_item+fence")
    assert SEEDS["orders"] == threes.SEED
    monkeypatch.setattr(threes, "SEED", "another")
    assert drawn("equip+sell_item+fence") != before


def test_each_order_has_as_many_preemptions_as_it_was_drawn_with() -> None:
    turns = [sum(one != other for one, other in pairwise(order)) for order in drawn("a+b+c")]
    assert turns == [1 + number % threes.MOST_PREEMPTIONS for number in range(len(turns))]


def test_one_that_does_not_wait_is_passed_over() -> None:
    for choose in islice(threes.draws("a+b+c", 9, STEPS), 9):
        assert choose(waiting("b"), "a").name == "b"
        assert choose(waiting("ca"), "b").name in "ca"


@pytest.mark.parametrize("third", ["fence", "mover"])
def test_a_race_beside_another_party_holds_and_leaves_the_store_open(third: str, proxied: ProxiedDatabase) -> None:
    three = pairs.read(TABLE).three(("claim_mail", "expand_bag", third))
    raced = threes.sweep(three, proxied, 6)
    assert not raced.failures
    assert raced.orders == 6
    assert len(raced.serial) == 6
    answers = [dict(end.answers) for end in raced.serial.values()]
    assert {answer.startswith("refused: fenced") for each in answers for answer in each.values()} == {True, False}
    assert len({each[f"the {third}"] for each in answers}) == (1 if third == "fence" else 5)
    proxied.place(three.starts)
    assert proxied.direct.status().fence == "open"
