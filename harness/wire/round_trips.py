"""Round trips, what may come of one (it passes, or is cut off, loses its answer, fails), and what an attempt's are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.wire import frames
from harness.wire.frames import Frame

SHOWN, SHOWN_END = 100, 30

BORDER = re.compile(r"(?:^|;)\s*(BEGIN|START|COMMIT|END|ROLLBACK|ABORT)\b(?!\s+TO\b)", re.IGNORECASE)
CALLED = {"START": "BEGIN", "END": "COMMIT", "ABORT": "ROLLBACK"}
ONE_TRANSACTION = "one BEGIN and one COMMIT or ROLLBACK, and every statement between them"


@dataclass(frozen=True, slots=True)
class Pass:
    """Let the round trip through."""


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Close the connection: the server never sees it."""


@dataclass(frozen=True, slots=True)
class DropReply:
    """Let the server carry it out, and close the connection in place of its answer."""


@dataclass(frozen=True, slots=True)
class InjectError:
    """Have the server itself raise an error in place of it. One in place of a COMMIT rolls back, as a real one does."""

    sqlstate: str


Decision: TypeAlias = Pass | DropBefore | DropReply | InjectError


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A round trip as the client sent it, `number` from 0 on its connection; `frames` less what it flushed before."""

    number: int
    sql: str
    frames: tuple[Frame, ...]

    @property
    def verb(self) -> str:
        """Return the first word of the SQL, in capitals."""
        word = re.match(r"\s*(\w+)", self.sql)
        return word[1].upper() if word else ""

    @property
    def commits(self) -> bool:
        """Return True if it ends a transaction and keeps it."""
        return self.verb in ("COMMIT", "END")

    @property
    def borders(self) -> list[str]:
        """Return where transactions begin and end in it: BEGIN, COMMIT and ROLLBACK, by whatever name, in order."""
        borders = (word.upper() for word in BORDER.findall(self.sql))
        return [CALLED.get(word, word) for word in borders]

    @property
    def short(self) -> str:
        """Return the SQL on one line: its beginning and end, as much as a line takes."""
        line = " ".join(self.sql.split())
        return line if len(line) <= SHOWN else f"{line[: SHOWN - SHOWN_END]} … {line[-SHOWN_END:]}"

    @property
    def extended(self) -> bool:
        """Return True if it ends with a Sync."""
        return self.frames[-1].kind == frames.SYNC


def beside_one_transaction(trips: Sequence[RoundTrip]) -> str | None:
    """Return how an attempt's round trips differ from ONE_TRANSACTION; None if they do not."""
    borders = [border for trip in trips for border in trip.borders]
    if borders in (["BEGIN", "COMMIT"], ["BEGIN", "ROLLBACK"]):
        within = trips[0].borders[:1] == ["BEGIN"] and trips[-1].borders
        return None if within else "statements outside of it"
    counted = ", ".join(f"{times} {border}" for border, times in Counter(borders).items())
    return counted or "no transaction"
