"""Points in time as scenarios write them: an ISO time with its offset, or a distance such as +90m, +1d or -1h."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

SEOUL = timezone(timedelta(hours=9))
EXPECTED = "an ISO time with its offset, or a distance such as +90m, +1d or -1h"

_DISTANCE = re.compile(r"([+-])([0-9]+)([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def absolute(text: str) -> int:
    """Epoch milliseconds of an ISO time; ValueError where it is none, or lacks its offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return round(moment.timestamp() * 1000)


def moved(now: int, text: str) -> int:
    """Where the clock stands after it was set to `text`, or moved by it; ValueError where that is neither."""
    if distance := _DISTANCE.fullmatch(text):
        sign, number, unit = distance.groups()
        return now + (1 if sign == "+" else -1) * int(number) * _UNIT_MS[unit]
    return absolute(text)


def written(milliseconds: int) -> str:
    """The ISO time in the game's own zone; milliseconds are shown only where there are any."""
    moment = datetime.fromtimestamp(milliseconds // 1000, SEOUL) + timedelta(milliseconds=milliseconds % 1000)
    return moment.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds")
