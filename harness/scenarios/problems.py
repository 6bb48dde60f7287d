"""What is not as it should be: where in the document, what was expected, what was found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from harness.scenarios.yaml_reader import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be, at a path of the document."""

    path: Path
    expected: str
    found: str
    hint: str = ""


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint at the choice that `name` may have meant, or nothing."""
    matches = difflib.get_close_matches(name, list(choices), n=1)
    return f"Did you mean {matches[0]!r}?" if matches else ""
