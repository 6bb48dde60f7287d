"""Numbers of things in what is printed: 1 race, 2 races, 1,200 players."""

from __future__ import annotations


def count(number: int, one: str, many: str = "") -> str:
    """Return the number with its noun. many: the plural, where it is not the noun with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def counted(number: int, nouns: str) -> str:
    """Write a count with its noun, which is given in the plural: `1 text`, `2 texts`, `1,000 texts`."""
    return f"{number:,} {nouns if number != 1 else singular(nouns)}"


def singular(nouns: str) -> str:
    """Return the singular of a regular plural. A unit such as `s` stays as it is."""
    first, space, rest = nouns.partition(" ")
    if len(first) > 1:
        first = first.removesuffix("es") if first.endswith(("xes", "sses")) else first.removesuffix("s")
    return first + space + rest
