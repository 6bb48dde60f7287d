"""A breach of a law by a player's rows, and the exception for a receipt that the rules' tables do not grant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that does not hold: of which player, which law, what was expected and found."""

    player: str
    law: str
    expected: str
    found: str


class NotGranted(Exception):
    """A receipt of something that the rules' tables do not grant after the receipts before it."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = str(found)


def need(holds: object, expected: str, found: object) -> None:
    """Raise NotGranted if that does not hold."""
    if not holds:
        raise NotGranted(expected, found)
