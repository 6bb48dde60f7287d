"""Points in time as scenarios write them: an ISO time with its offset, or a distance such as +90m, +1d or -1h."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

SEOUL = timezone(timedelta(hours=9))
EXPECTED = "an ISO time with its offset, or a distance such as +90m, +1d or -1h"
EXPECTED_ABSOLUTE = "an ISO time with its offset"
FIRST_YEAR, LAST_YEAR = 1900, 9000
"""Beyond them the game's calendar could leave the years that Python's datetime has."""
IN_RANGE = f"a time between the years {FIRST_YEAR} and {LAST_YEAR}"

_DISTANCE = re.compile(r"([+-])([0-9]+)([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000 for year in (FIRST_YEAR, LAST_YEAR))
_MOST_DIGITS = 18
"""The most digits of a distance: a longer one is out of range whatever its unit, and int() refuses thousands of digits.
"""


def absolute(text: str) -> int:
    """Return the epoch milliseconds of an ISO time. Raises ValueError, which says what is expected."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(EXPECTED_ABSOLUTE) from None
    if moment.tzinfo is None:
        raise ValueError(EXPECTED_ABSOLUTE)
    return _in_range(round(moment.timestamp() * 1000))


def moved(now: int, text: str) -> int:
    """Return where the clock stands after it was set to `text` or moved by it. Raises ValueError, as `absolute`."""
    if distance := _DISTANCE.fullmatch(text):
        sign, number, unit = distance.groups()
        if len(number) > _MOST_DIGITS:
            raise ValueError(IN_RANGE)
        return _in_range(now + (1 if sign == "+" else -1) * int(number) * _UNIT_MS[unit])
    try:
        return absolute(text)
    except ValueError as error:
        raise ValueError(EXPECTED if str(error) == EXPECTED_ABSOLUTE else str(error)) from None


def written(milliseconds: int) -> str:
    """Return the ISO time in the game's own zone; milliseconds are shown only where there are any."""
    moment = datetime.fromtimestamp(milliseconds // 1000, SEOUL) + timedelta(milliseconds=milliseconds % 1000)
    return moment.isoformat(timespec="milliseconds" if milliseconds % 1000 else "seconds")


def _in_range(milliseconds: int) -> int:
    if not _FIRST <= milliseconds < _LAST:
        raise ValueError(IN_RANGE)
    return milliseconds
