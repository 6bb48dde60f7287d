"""Numbers of things in what is printed: 1 race, 2 races, 1,200 players."""

from __future__ import annotations


def count(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun. many: the plural, where it is not the noun with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
