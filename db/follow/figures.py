"""Figures of the rounds: what to show of one, and the window that a rollback would have."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

LEAST = 3
"""Fewer rounds predict nothing: the first ones have what waited before."""

KEPT = 30
"""So many rounds predict the window: at one a second, half a minute."""

MOST_LOAD = 0.9
"""Rounds that take more than this share of the time would predict windows without end."""


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round. lag: the age in seconds of the oldest change that the file lacks after it; lines: changes that wait.

    seconds: of the round; applied: lines of the log that it brought to the file. window_seconds: predicted.
    """

    lag: float
    lines: int
    seconds: float
    applied: int
    window_seconds: float | None


class Prediction:
    """Predicts the window from the last rounds.

    The last round of a rollback has what was changed while the round before it ran. So it takes what the shortest round
    takes, prolonged by the share of the time that rounds need for what players do.
    """

    def __init__(self) -> None:
        self._rounds: deque[tuple[float, float]] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> None:
        """Add a round that ended now."""
        self._rounds.append((time.monotonic(), seconds))

    @property
    def seconds(self) -> float | None:
        """Return the predicted window; None before LEAST rounds."""
        if len(self._rounds) < LEAST:
            return None
        took = [seconds for _ended, seconds in self._rounds]
        (first, seconds), (last, _) = self._rounds[0], self._rounds[-1]
        elapsed = last - first + seconds
        load = min(sum(took) / elapsed if elapsed > 0 else 0.0, MOST_LOAD)
        return min(took) / (1 - load)
