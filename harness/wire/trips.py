"""Round trips, and what may come of one: it passes, or is cut off, loses its answer, fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from harness.wire import frames
from harness.wire.frames import Frame

SHOWN, SHOWN_END = 100, 30


@dataclass(frozen=True, slots=True)
class Pass:
    """Let the round trip through."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection: the server never sees it."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Let the server carry it out, and close the connection in place of its answer."""


@dataclass(frozen=True, slots=True)
class Raise:
    """Have the server itself raise an error in place of it. One in place of a COMMIT rolls back, as a real one does."""

    sqlstate: str


Verdict: TypeAlias = Pass | Cut | Lose | Raise


@dataclass(frozen=True, slots=True)
class Trip:
    """A round trip as the client sent it, `number` from 0 on its connection; `frames` less what it flushed before."""

    number: int
    sql: str
    frames: tuple[Frame, ...]

    @property
    def verb(self) -> str:
        """Its first word, in capitals."""
        found = re.match(r"\s*(\w+)", self.sql)
        return found[1].upper() if found else ""

    @property
    def commits(self) -> bool:
        """Whether it ends a transaction and keeps it."""
        return self.verb in ("COMMIT", "END")

    @property
    def short(self) -> str:
        """The SQL on one line, as much of it as a line takes: how it begins, and how it ends."""
        line = " ".join(self.sql.split())
        return line if len(line) <= SHOWN else f"{line[: SHOWN - SHOWN_END]} … {line[-SHOWN_END:]}"

    @property
    def extended(self) -> bool:
        """Whether it ends with a Sync."""
        return self.frames[-1].kind == frames.SYNC
