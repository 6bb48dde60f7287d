"""A planted defect: what makes it, what its evidence must name, and how the remedy of the check is filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from db.environments import Environment
from tests.db.monitor.watched import BY_NAME, Watched

STATEMENTS = re.compile(r"\b(?:ALTER|SELECT|DROP|ROLLBACK|VACUUM) [^;.]*(?:\.[^;. ][^;.]*)*;")


@dataclass(frozen=True)
class Planted:
    """The names in the evidence; `fill` for the words in capitals of the remedy, None where it is no statement.

    env: the environment to look at, where it is another.
    """

    names: str
    fill: Mapping[str, str] | None = None
    env: Environment | None = None


@dataclass(frozen=True)
class Plant:
    """A defect that can be planted. limits: lower ones, where the real one needs more time than a test has.

    again: look until it is seen, for a value of this moment that comes and goes.
    """

    planted: Callable[[Watched], AbstractContextManager[Planted]]
    limits: Mapping[str, float] = field(default_factory=dict)
    again: bool = False


def remedy(name: str, fill: Mapping[str, str]) -> list[str]:
    """Return the statements of the remedy that a check prints, the first alternative of them, filled in."""
    do = BY_NAME[name].do.partition("; or ")[0] + ";"
    for word, value in fill.items():
        do = do.replace(word, value)
    return [statement.rstrip(";") for statement in STATEMENTS.findall(do)]
