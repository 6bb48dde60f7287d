"""The ways in which a history can be wrong, each with its name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ViolationKind(StrEnum):
    """The name of what is wrong. Each is told apart from the others by what the stores and the clients say."""

    VANISHED = "vanished whole"
    """Acknowledged, and neither receipt nor line is there; or a number is missing between two receipts."""

    TORN = "there in part"
    """Lines without their receipt, or a receipt without all of its lines."""

    ANSWERED_DIFFERENTLY = "answered differently"
    """The client was told something else than the receipt says, or one thing and later another."""

    REORDERED = "reordered"
    """Answered before another was sent, and its receipt has the greater number."""

    DOUBLE_GRANT = "double grant"
    """Two receipts, lines or effects of one request; or a grant that the rules refuse in this place."""

    LOST_UPDATE = "lost update"
    """A request was carried out, or the player's rows are, as if an earlier request had not been."""

    UNASKED = "asked for by nobody"
    """A receipt of no request that any client sent."""

    CHAIN = "chain broken"
    """A receipt's digest does not follow from the receipt before it, its own texts and its lines."""

    UNNUMBERED = "without a number"
    """A receipt bears no number, so its place is not known."""

    NOT_BY_THE_RULES = "not by the rules"
    """The rules give another outcome or other lines in this place, in a way that no other name fits."""

    AGAINST_A_LAW = "against a law"
    """All is as the rules give it, and yet does not follow from the receipts by the rules' tables (`harness.laws`)."""

    ROWS_DIFFER = "rows differ"
    """The player's rows are not what the receipts give by the rules, in a way that no other name fits."""


GRANTED_TOO_OFTEN = frozenset({ViolationKind.DOUBLE_GRANT, ViolationKind.UNASKED})
"""The kinds that are too much; each other one counts as something that is missing."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: its name, whose request it is ("" if no single one), what was expected and found."""

    kind: ViolationKind
    player: str
    request: str
    expected: str
    found: str

    def __str__(self) -> str:
        request = f", request {self.request}" if self.request else ""
        return f"{self.kind}: player {self.player}{request}: expected {self.expected}; found {self.found}"
