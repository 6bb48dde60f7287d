"""Days, weeks and months as they begin in Seoul: at 00:00, on Monday, on the 1st. Instants are epoch milliseconds."""

from __future__ import annotations

from datetime import date, timedelta

OFFSET_MS = 9 * 3_600_000
"""Seoul is nine hours ahead of UTC, the whole year round; it has kept no summer time since 1988."""

DAY_MS = 24 * 3_600_000
_EPOCH = date(1970, 1, 1)
"""A Thursday."""


def day(at_ms: int) -> int:
    """Return the number of the day in Seoul: 0 for 1970-01-01."""
    return (at_ms + OFFSET_MS) // DAY_MS


def start(period: str, now_ms: int) -> int:
    """Return the instant at which the period of `now_ms` began. period: daily, weekly or monthly, else ValueError."""
    today = day(now_ms)
    match period:
        case "daily":
            first = today
        case "weekly":
            first = today - (today + 3) % 7
        case "monthly":
            first = today - ((_EPOCH + timedelta(days=today)).day - 1)
        case _:
            raise ValueError(f"expected daily, weekly or monthly; found {period!r}")
    return first * DAY_MS - OFFSET_MS
