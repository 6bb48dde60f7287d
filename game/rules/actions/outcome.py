"""Outcomes: what a client is told of a command that was granted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

Outcome: TypeAlias = dict[str, object]


def total(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the numbers by name, names in the order of their first."""
    numbers: Counter[str] = Counter()
    for name, number in items:
        numbers[name] += number
    return dict(numbers)
