"""Days, weeks and months as they begin in Seoul."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from game.rules import days

SEOUL = timezone(timedelta(hours=9))


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "day", "week", "month"),
    [
        ("2026-01-05T00:00", "2026-01-05", "2026-01-05", "2026-01-01"),
        ("2026-01-04T23:59", "2026-01-04", "2025-12-29", "2026-01-01"),
        ("2025-12-31T23:59", "2025-12-31", "2025-12-29", "2025-12-01"),
        ("2024-02-29T12:00", "2024-02-29", "2024-02-26", "2024-02-01"),
        ("2024-03-01T00:00", "2024-03-01", "2024-02-26", "2024-03-01"),
        ("1969-12-31T12:00", "1969-12-31", "1969-12-29", "1969-12-01"),
    ],
)
def test_a_period_begins_at_midnight_in_seoul(now: str, day: str, week: str, month: str) -> None:
    at = ms(datetime.fromisoformat(now).replace(tzinfo=SEOUL))
    starts = [datetime.fromtimestamp(days.start(period, at) / 1000, SEOUL) for period in ("daily", "weekly", "monthly")]
    assert [start.isoformat() for start in starts] == [f"{date}T00:00:00+09:00" for date in (day, week, month)]


def test_a_day_ends_at_three_in_the_afternoon_of_greenwich() -> None:
    afternoon = ms(datetime(2026, 1, 4, 15, tzinfo=UTC))
    assert days.day(afternoon) == days.day(afternoon - 1) + 1


def test_a_period_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected daily, weekly or monthly"):
        days.start("yearly", 0)
