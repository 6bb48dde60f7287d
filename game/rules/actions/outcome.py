"""Outcomes: what a client is told of a command that was granted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

Outcome: TypeAlias = dict[str, object]


def total(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up the numbers of each name. The names keep the order in which they first come."""
    numbers: Counter[str] = Counter()
    for name, number in items:
        numbers[name] += number
    return dict(numbers)
