"""When the next mail is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from state.policy import BusinessHours
from state.schedule import Calendar, next_time

BERLIN = Calendar(time_zone="Europe/Berlin")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN.zone)


@pytest.mark.parametrize(
    ("previous", "after_days", "expected"),
    [
        ("2026-03-02T10:15", 2, "2026-03-04T10:15"),
        ("2026-03-02T10:15", 0.25, "2026-03-02T16:15"),
        ("2026-03-02T16:00", 0.25, "2026-03-03T09:00"),  # past closing: the next opening
        ("2026-03-05T10:00", 2, "2026-03-09T10:00"),  # Saturday: Monday at the same time
        ("2026-03-05T22:00", 2, "2026-03-09T09:00"),  # Saturday 22:00: Monday 09:00
        ("2026-03-27T11:00", 3, "2026-03-30T11:00"),  # over the change to summer time
        ("2026-10-23T11:00", 3, "2026-10-26T11:00"),  # and back
    ],
)
def test_step_dates(previous: str, after_days: float, expected: str) -> None:
    assert next_time(local(previous), after_days, BERLIN) == local(expected)


def test_holidays_of_the_country_and_own_ones() -> None:
    calendar = Calendar(time_zone="Europe/Berlin", country="DE", holidays=frozenset({date(2026, 5, 4)}))
    # 1 May is a holiday, then comes a weekend, then a day of the organisation's own.
    assert next_time(local("2026-04-29T10:00"), 2, calendar) == local("2026-05-05T10:00")


def test_spread_only_delays_and_never_past_closing() -> None:
    calendar = Calendar(hours=BusinessHours(time(9), time(17)))
    at = datetime(2026, 3, 2, 16, 50, tzinfo=UTC)
    for number in range(200):
        due = next_time(at, 1, calendar, spread_minutes=60, jitter=str(number))
        assert datetime(2026, 3, 3, 16, 50, tzinfo=UTC) <= due < datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
        assert due == next_time(at, 1, calendar, spread_minutes=60, jitter=str(number))
