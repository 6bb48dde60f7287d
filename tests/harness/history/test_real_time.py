"""The order in real time is judged and counted exactly, also where requests overlap, and over a switch."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from harness.history import real_time
from harness.history.real_time import Placed


def placed(*spans: tuple[int, int | None], stores: Sequence[int] = ()) -> list[Placed]:
    """Requests by (sent, answered), in the order of their numbers."""
    return [
        Placed("hana", f"r{n}", n, sent, answered, stores[n - 1] if stores else 0)
        for n, (sent, answered) in enumerate(spans, start=1)
    ]


def broken(history: Sequence[Placed]) -> list[str]:
    return [violation.request for violation in real_time.violations(history)]


def by_definition(history: Sequence[Placed]) -> tuple[int, set[str]]:
    """All pairs, one by one: how many are ordered in real time, and which requests stand behind one sent later."""
    ordered = [(a, b) for a in history for b in history if a.answered is not None and a.answered < b.sent]
    return len(ordered), {a.request for a, b in ordered if a.seq > b.seq}


def test_requests_one_after_the_other_are_in_order() -> None:
    history = placed((1, 2), (3, 4), (5, 6))
    assert (broken(history), real_time.pairs(history)) == ([], 3)


def test_requests_that_overlap_may_stand_in_either_order() -> None:
    assert (broken(placed((2, 5), (1, 4))), real_time.pairs(placed((2, 5), (1, 4)))) == ([], 0)


def test_an_answer_at_the_instant_of_the_next_request_orders_nothing() -> None:
    assert real_time.pairs(placed((1, 2), (2, 3))) == 0


def test_one_that_was_answered_before_another_was_sent_stands_before_it() -> None:
    history = placed((5, 6), (1, 2), (7, 8))
    (violation,) = real_time.violations(history)
    assert (violation.kind, violation.player, violation.request) == ("reordered", "hana", "r2")
    assert "r1" in violation.expected


def test_one_without_an_answer_is_before_nothing_but_may_stand_too_early() -> None:
    assert broken(placed((1, None), (2, 3))) == []
    assert broken(placed((9, None), (2, 3))) == ["r2"]
    assert real_time.pairs(placed((2, 3), (9, None))) == 1


def test_pairs_across_a_switch_have_one_request_on_each_side() -> None:
    history = placed((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), stores=[0, 0, 1, 1, 2])
    assert real_time.pairs_across(history, 2) == [4, 2]
    assert real_time.pairs_across(history[:2], 2) == [0, 0]
    assert real_time.pairs_across(history, 2) == [2 * 2, 2 * 1]


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_findings_are_those_of_the_definition(seed: int) -> None:
    draw = random.Random(seed)
    spans = []
    for _ in range(40):
        sent = draw.randrange(200)
        spans.append((sent, None if draw.random() < 0.1 else sent + draw.randrange(1, 30)))
    history = placed(*sorted(spans, key=lambda span: span[0] + draw.randrange(25)))
    count, late = by_definition(history)
    assert real_time.pairs(history) == count
    assert set(broken(history)) == late
