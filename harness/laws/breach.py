"""A check of a player that does not hold, and how the rules are told that a receipt is none that they would grant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Breach:
    """A check that does not hold: whose, which, and by how much."""

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
