"""Problems of a document: the place, what was expected, what was found."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from harness.scenarios.yaml_reader import Path


@dataclass(frozen=True, slots=True)
class ScenarioProblem:
    """One thing that is not as it should be, at a path of the document.

    order: the requests of a race in the order in which it is so; empty if it is so in each.
    """

    path: Path
    expected: str
    found: str
    hint: str = ""
    order: str = ""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint at the choice that `name` may have meant, or nothing."""
    matches = difflib.get_close_matches(name, list(choices), n=1)
    return f"Did you mean {matches[0]!r}?" if matches else ""


MOST_LISTED = 16
"""A longer list of choices is not read."""


def known(path: Path, name: str, choices: Collection[str], what: str, where: str = "") -> Iterator[ScenarioProblem]:
    """Yield a problem if `name` is none of the choices: with all of them if they are few, and the nearest one.

    what: says what is named, where the choices are many. where: the hint if none of them is near.
    """
    if name not in choices:
        yield ScenarioProblem(path, one_of(choices) or what, repr(name), nearest(name, choices) or where)


def one_of(choices: Collection[str]) -> str:
    """Return the choices in words if they are few enough to be read, else nothing."""
    if len(choices) > MOST_LISTED:
        return ""
    return f"one of {', '.join(choices)}" if len(choices) > 1 else "".join(map(repr, choices))
