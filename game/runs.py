"""Splits what is too much for memory into runs of a bounded weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def runs(items: Iterable[Item], weight: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Yield runs of items that weigh at most `limit` together, in their order; a heavier item is a run of its own."""
    run: list[Item] = []
    total = 0
    for item in items:
        more = weight(item)
        if run and total + more > limit:
            yield run
            run, total = [], 0
        run.append(item)
        total += more
        del item  # It may be a hundred megabytes: nobody here keeps one that was handed on.
        if total > limit:
            yield run
            run, total = [], 0
    if run:
        yield run
