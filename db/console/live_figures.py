"""The figures of a live move for people, from what its steps reported: rates, time left, lag, the window to expect."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from db.console.bars import DAY, clock
from db.console.live_view import CopyProgress, MoveState, RoundProgress, durations
from db.counts import counted

RECENT_SECONDS = 15.0
"""A rate is that of the last seconds: the first players say little about how long the rest takes."""

KEPT_ROUNDS = 20
COMMITS = 2
"""The commits of a window beside its last round: the fence of the file, and the lift of Postgres. Each is flushed to
disk, so each takes about as long as the shortest round that wrote anything.
"""

UNTHROTTLED = 0.95
"""A copy that pauses less is as fast as it can be."""

MB = 1_000_000
NOT_KNOWN = "not known yet"


@dataclass(slots=True)
class MoveFigures:
    """The reports so far. now: the clock, monotonic seconds. reason: why it is in its state.

    dirty: changes that wait on the log.
    """

    now: Callable[[], float] = time.monotonic
    state: MoveState = MoveState.COPYING
    reason: str = ""
    copy: CopyProgress | None = None
    rounds: int = 0
    dirty: int | None = None
    parts_ms: Mapping[str, float] = field(default_factory=dict)
    _copied: deque[tuple[float, CopyProgress]] = field(default_factory=deque)
    _recent: deque[RoundProgress] = field(default_factory=lambda: deque(maxlen=KEPT_ROUNDS))

    @contextmanager
    def within(self, state: MoveState, reason: str) -> Iterator[None]:
        """Have the move in this state while the block lasts, and in the one of before after it."""
        before = self.state, self.reason
        self.state, self.reason = state, reason
        try:
            yield
        finally:
            self.state, self.reason = before

    def copied(self, progress: CopyProgress) -> None:
        """Add a batch. Batches that are no longer recent are dropped, except the newest of them."""
        now = self.now()
        self.copy = progress
        self._copied.append((now, progress))
        while len(self._copied) > 2 and self._copied[1][0] < now - RECENT_SECONDS:
            self._copied.popleft()

    def applied(self, progress: RoundProgress) -> None:
        """Add a round that was committed."""
        self.rounds += 1
        self.dirty = self.dirty if progress.left is None else progress.left
        self._recent.append(progress)

    @property
    def last(self) -> RoundProgress | None:
        """Return the last round; None before the first."""
        return self._recent[-1] if self._recent else None

    @property
    def rates(self) -> tuple[float, float] | None:
        """Return the recent players and bytes a second; None while they are not known."""
        if len(self._copied) < 2:
            return None
        (since, first), (until, last) = self._copied[0], self._copied[-1]
        seconds = until - since
        if seconds <= 0:
            return None
        return (last.players - first.players) / seconds, (last.bytes - first.bytes) / seconds

    @property
    def left_seconds(self) -> float | None:
        """Return the seconds that the remaining players take at the recent rate."""
        if self.copy is None or self.rates is None or self.rates[0] <= 0:
            return None
        return (self.copy.total - self.copy.players) / self.rates[0]

    @property
    def arrival(self) -> float | None:
        """Return how many rows a second players change, over the recent rounds."""
        if len(self._recent) < 2:
            return None
        first, *others = self._recent
        seconds = others[-1].read_at - first.read_at
        return sum(one.rows for one in others) / seconds if seconds > 0 else None

    @property
    def applying(self) -> float | None:
        """Return how many rows a second the largest recent round applied: small rounds spend their time on commits."""
        largest = max(self._recent, key=lambda one: one.rows, default=None)
        return largest.rows / largest.seconds if largest is not None and largest.rows and largest.seconds else None

    @property
    def lag_seconds(self) -> float | None:
        """Return the age of the last round's snapshot. None before the first round: unknown is never zero."""
        return None if self.last is None else self.now() - self.last.read_at

    @property
    def window_ms(self) -> float | None:
        """Return the ms to expect of the window: the last round, and the commits beside it. None while not known."""
        least = min((one.seconds for one in self._recent if one.written), default=None)
        return None if self.last is None or least is None else (self.last.seconds + COMMITS * least) * 1000

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        # The bar has the players of a copy that is under way, and their rate. A run that goes on may copy nothing.
        copied = self._copying_text() if self.state is MoveState.COPYING else self._whole_text()
        return [
            *([] if copied == NOT_KNOWN and self.state is not MoveState.COPYING else [("copied", copied)]),
            ("waiting", NOT_KNOWN if self.dirty is None else counted(self.dirty, "changes")),
            ("rounds", self._rounds_text()),
            ("rows a second", self._rates_text()),
            ("lag", NOT_KNOWN if self.lag_seconds is None else seconds_text(self.lag_seconds)),
            ("window", NOT_KNOWN if self.window_ms is None else f"some {self.window_ms:,.0f} ms to expect"),
        ]

    def values(self) -> dict[str, object]:
        """Return the figures for machines: seconds, ms, bytes, and units a second; None where one is not known."""
        copy, rates = self.copy, self.rates
        return {
            "state": str(self.state),
            "reason": self.reason,
            "players": copy and copy.players,
            "players_total": copy and copy.total,
            "rows": copy and copy.rows,
            "bytes": copy and copy.bytes,
            "share": copy and round(copy.share, 2),
            "players_a_second": rates and round(rates[0], 1),
            "bytes_a_second": rates and round(rates[1]),
            "left_seconds": _rounded(self.left_seconds, 1),
            "dirty": self.dirty,
            "rounds": self.rounds,
            "rows_arriving_a_second": _rounded(self.arrival, 1),
            "rows_applied_a_second": _rounded(self.applying, 1),
            "lag_seconds": _rounded(self.lag_seconds, 3),
            "expected_window_ms": _rounded(self.window_ms, 1),
            "parts_ms": dict(self.parts_ms),
        }

    def line(self) -> str:
        """Return the same in one line, as far as it is known."""
        copying, lag = self.state is MoveState.COPYING, self.lag_seconds
        parts = [
            *([self._players_text(), self._copying_text(), self.left] if copying else []),
            *([f"{counted(self.dirty, 'changes')} waiting"] if self.dirty is not None else []),
            *([f"rounds {self._rounds_text()}", f"lag {seconds_text(lag)}"] if lag is not None else []),
        ]
        figures = ", ".join(part for part in parts if part)
        if self.reason:
            return self.state.explained(self.reason) + (f" ({figures})" if figures else "")
        return f"{self.state}: {figures or NOT_KNOWN}"

    def window(self) -> list[tuple[str, str]]:
        """Return the parts of the window that is over with their ms, and the moment when each had ended."""
        took = durations(self.parts_ms)
        return [(name, f"{took[name]:,.1f} ms, until {end:,.1f} ms") for name, end in self.parts_ms.items()]

    @property
    def left(self) -> str:
        """Return the time left, such as `0:01:10 left`."""
        seconds = self.left_seconds
        return "" if seconds is None else f"{clock(min(seconds, 99 * DAY))} left"

    def _players_text(self) -> str:
        if self.copy is None:
            return NOT_KNOWN
        players = f"{self.copy.players:,} of {counted(self.copy.total, 'players')}"
        return f"{players}, {self.rates[0]:,.0f} players/s" if self.rates and self.left_seconds else players

    def _whole_text(self) -> str:
        return NOT_KNOWN if self.copy is None else f"{self._players_text()}, {self.copy.bytes / MB:,.1f} MB"

    def _bytes_text(self) -> str:
        if self.copy is None:
            return NOT_KNOWN
        size = f"{self.copy.bytes / MB:,.1f} MB"
        return size if self.rates is None else f"{size}, {self.rates[1] / MB:,.1f} MB/s"

    def _copying_text(self) -> str:
        return NOT_KNOWN if self.copy is None else f"{self._bytes_text()}, {throttle_text(self.copy.share)}"

    def _rates_text(self) -> str:
        rates = {"arriving": self.arrival, "applied": self.applying}
        return ", ".join(f"{what} {rate:,.0f}" for what, rate in rates.items() if rate is not None) or NOT_KNOWN

    def _rounds_text(self) -> str:
        if self.last is None:
            return "none yet"
        last = self.last
        changed = f"{counted(last.rows, 'rows')} of {counted(last.players, 'players')}"
        return f"{self.rounds:,}; the last: {changed} in {seconds_text(last.seconds)}"


def throttle_text(share: float) -> str:
    """Say how much of the time a copy works; the rest is left to players."""
    return f"throttled to {share * 100:.0f} %" if share < UNTHROTTLED else "not throttled"


def seconds_text(seconds: float) -> str:
    """Write a short time: ms below a second, tenths below a minute, and as h:mm:ss from there on."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
