"""Numbers of things in what is printed: 1 race, 2 races, 1,200 players."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice


def count(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun. many: the plural, where it is not the noun with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def counted(number: int, nouns: str) -> str:
    """Write a count with its noun, which is given in the plural: `1 text`, `2 texts`, `1,000 texts`."""
    return f"{number:,} {nouns if number != 1 else singular(nouns)}"


def singular(nouns: str) -> str:
    """Return the singular of a regular plural. A unit such as `s` stays as it is."""
    first, space, others = nouns.partition(" ")
    if len(first) > 1:
        first = first.removesuffix("es") if first.endswith(("xes", "sses")) else first.removesuffix("s")
    return first + space + others


def few(items: Sequence[str], most: int, *, between: str = ", ", total: int | None = None) -> str:
    """Join the first of the items, and count the rest: `a, b and 17 more`. Says nothing of a rest if there is none.

    total: how many there are, if not all of them are given.
    """
    shown = between.join(items[:most])
    more = (len(items) if total is None else total) - min(len(items), most)
    return f"{shown} and {more:,} more" if more > 0 else shown


def first_of(items: Iterable[str], most: int, *, between: str = "; ") -> str:
    """Join the first of the items, and say that there are more, for items that are too many to be counted."""
    listed = list(islice(items, most + 1))
    return between.join(listed[:most]) + (" and more" if len(listed) > most else "")


def lines_of(lines: Sequence[str], most: int, nouns: str = "lines", see: str = "") -> list[str]:
    """Return the first of the lines, and a last one that counts the rest: `and 17 more problems`.

    nouns: what a line is, in the plural. see: where all of them are.
    """
    more = len(lines) - most
    last_line = f"and {more:,} more {singular(nouns) if more == 1 else nouns}{f'; {see}' if see else ''}"
    return [*lines[:most], *([last_line] if more > 0 else [])]
