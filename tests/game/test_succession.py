"""Every combination of what two stores can show, and the one in which a process leaves the one for the other."""

from __future__ import annotations

from itertools import product

import pytest

from game.succession import StoreChoice, judge
from game.unit_of_work import FenceState, FenceView

STATES: tuple[FenceState, ...] = ("open", "fenced", "moved")
SERVED, OTHER, THIRD = "served", "other", "third"
PEERS = (None, SERVED, OTHER, THIRD)
OTHERS = [FenceView(identity, state, peer) for identity in (OTHER, None) for state, peer in product(STATES, PEERS)]


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("state", STATES)
def test_the_other_store_is_followed_only_where_both_name_each_other(state: FenceState, peer: str | None) -> None:
    choices = {other: judge(FenceView(SERVED, state, peer), other) for other in (None, *OTHERS)}
    followed = {other for other, choice in choices.items() if choice is StoreChoice.FOLLOW}
    closed_for_it = state != "open" and peer == OTHER
    assert followed == ({FenceView(OTHER, "open"), FenceView(OTHER, "open", SERVED)} if closed_for_it else set())


@pytest.mark.parametrize("other", [None, *OTHERS])
def test_a_store_that_is_open_is_served_on_and_one_that_is_silent_is_never_left(other: FenceView | None) -> None:
    assert judge(None, other) is StoreChoice.UNKNOWN
    assert {judge(FenceView(SERVED, "open", peer), other) for peer in PEERS} == {StoreChoice.STAY}


@pytest.mark.parametrize("state", STATES[1:])
def test_what_closed_it_is_waited_for_and_nothing_else(state: FenceState) -> None:
    waited = {other for other in (None, *OTHERS) if judge(FenceView(SERVED, state, OTHER), other) is StoreChoice.WAIT}
    assert waited == {None} | {FenceView(OTHER, closed, peer) for closed in STATES[1:] for peer in (None, SERVED)}
    for peer in (None, SERVED):
        assert {judge(FenceView(SERVED, state, peer), other) for other in (None, *OTHERS)} == {StoreChoice.REFUSE}


def test_a_store_that_tells_no_identity_follows_what_it_names_and_what_names_nobody() -> None:
    served = FenceView(None, "moved", OTHER)
    assert judge(served, FenceView(OTHER, "open")) is StoreChoice.FOLLOW
    assert judge(served, FenceView(OTHER, "open", SERVED)) is StoreChoice.REFUSE
