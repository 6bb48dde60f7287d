"""The rows that some lines of the change log name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from db.ops.change_log import Line

PLAYERS = "users"
SCHEMA = "legacy_schema"

Request = tuple[str, str]
"""A player and a request: the first two columns of the key of a line of a journal."""


@dataclass(slots=True)
class Dirty:
    """The rows to look at.

    players: ids. requests: of players, whose receipts and lines changed. positions: rowids of `users`. whole: legacy
    tables. schema: the legacy file's schema, as Postgres keeps it, was changed by hand.
    """

    numbers: list[int] = field(default_factory=list)
    players: set[str] = field(default_factory=set)
    requests: set[Request] = field(default_factory=set)
    positions: set[int] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    schema: bool = False

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Dirty:
        """Return what the lines name."""
        dirty = cls()
        for line in lines:
            dirty.numbers.append(line.n)
            if line.source == SCHEMA:
                dirty.schema = True
            elif line.source == PLAYERS:
                dirty.players.update(line.keys)
                dirty.positions.update(line.positions)
                if line.requests is not None:
                    dirty.requests.update(zip(line.keys, line.requests, strict=True))
            else:
                dirty.whole.add(line.source)
        return dirty
