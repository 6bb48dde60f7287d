"""Input and results of a replay of the quarantine: an operator's decision, and the outcome for each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["loaded", "released", "held", "aside", "overwritten"]


@dataclass(frozen=True, slots=True)
class Decided:
    """An operator's decision: `text` takes the place of the value number `n`."""

    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a replay added to the journals of a player that had begun: by currency, and by item id.

    receipt: the request id under which it stands there.
    """

    receipt: str
    currencies: dict[str, int]
    items: dict[str, int]


@dataclass(frozen=True, slots=True)
class Replay:
    """The result for one value. why: the reason in a sentence, "" for one that was loaded.

    loaded: its rows are the game's now. released: it can't be read, but this version lets the player play. held, aside:
    as before. overwritten: the player's play has replaced it; its bytes stay in the quarantine alone.
    adjustment: what the journals lacked of all that was loaded of the player; None if nothing.
    """

    n: int
    outcome: Outcome
    kind: str
    table: str
    player: str | None
    column: str
    path: str
    rule: str
    why: str = ""
    adjustment: Adjustment | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """The results for the values that were asked for. held: the players, or rows of no player, that still are.

    verdict: pass, or inconclusive if any is held. phase: of the database; `live` if players play on it.
    """

    verdict: str
    run: str
    phase: str
    dry_run: bool
    values: tuple[Replay, ...]
    held: tuple[str, ...]

    def of(self, *outcomes: Outcome) -> list[Replay]:
        """Return the values that ended so."""
        return [value for value in self.values if value.outcome in outcomes]
