"""Real time: a request that was answered before another of the same player was sent has the smaller number.

Judged in one pass over each player's receipts; the pairs are counted by sorting, n log n.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.history.violations import Violation, ViolationKind


@dataclass(frozen=True, slots=True)
class Placed:
    """A request in its place among the player's receipts. answered: None if no client ever learned that it was granted.

    store: how many switches lie before it, 0 on the store where the run began.
    """

    player: str
    request: str
    seq: int
    sent: int
    answered: int | None
    store: int


def violations(placed: Sequence[Placed]) -> Iterator[Violation]:
    """Yield each request of one player that was answered before one with a smaller number was sent. In order of seq."""
    latest: Placed | None = None
    for one in placed:
        if latest is not None and one.answered is not None and one.answered < latest.sent:
            yield Violation(
                ViolationKind.REORDERED,
                one.player,
                one.request,
                f"a number below {latest.seq}, that of {latest.request}, which was sent after this one was answered",
                f"{one.seq}",
            )
        if latest is None or one.sent > latest.sent:
            latest = one


def pairs(placed: Sequence[Placed]) -> int:
    """Count all pairs of one player's requests of which the first was answered before the second was sent."""
    return _pairs(placed, placed)


def pairs_across(placed: Sequence[Placed], switches: int) -> list[int]:
    """Count for each switch the pairs whose first was answered by the store before it, the second by the one after."""
    by_store: list[list[Placed]] = [[] for _ in range(switches + 1)]
    for one in placed:
        by_store[one.store].append(one)
    return [_pairs(before, after) for before, after in pairwise(by_store)]


def _pairs(first: Sequence[Placed], second: Sequence[Placed]) -> int:
    answered = sorted(one.answered for one in first if one.answered is not None)
    return sum(bisect_left(answered, one.sent) for one in second)
