"""When the next mail is due: zone, business hours, off days, holidays, spread. A pure calendar, no clock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from state.policy import BusinessHours

LONGEST_SEARCH = 400  # days; a calendar without any business day must not be searched for ever


@dataclass(frozen=True, slots=True)
class Calendar:
    """When mails may be sent to one lead. `country` is ISO 3166-1 alpha-2, for public holidays."""

    time_zone: str = "UTC"
    hours: BusinessHours = BusinessHours()
    off_days: frozenset[int] = frozenset({5, 6})  # Monday is 0
    holidays: frozenset[date] = frozenset()
    country: str | None = None
    public_holidays: bool = True

    @property
    def zone(self) -> ZoneInfo:
        """The zone; UTC for a name that does not exist."""
        return _zone(self.time_zone)

    def is_business_day(self, day: date) -> bool:
        if day.weekday() in self.off_days or day in self.holidays:
            return False
        return not (self.public_holidays and self.country and day in _public_holidays(self.country, day.year))

    def business_day_from(self, day: date) -> date:
        """The day itself or the first business day after it; unchanged when there is none within reach."""
        for ahead in range(LONGEST_SEARCH):
            candidate = day + timedelta(days=ahead)
            if self.is_business_day(candidate):
                return candidate
        return day

    def opening(self, day: date) -> datetime:
        """The first business moment on or after a day, in UTC."""
        return self._local(self.business_day_from(day), self.hours.opens).astimezone(UTC)

    def is_open(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        return self.is_business_day(local.date()) and self._within_hours(local.time())

    def next_open(self, at: datetime) -> datetime:
        """The moment itself when open. First the hours: outside of them, the next opening; then the days:
        an off day or holiday moves to the next business day at the same time. In UTC."""
        local = at.astimezone(self.zone)
        day, clock_time = local.date(), local.time()
        if not self._within_hours(clock_time):
            if clock_time >= self.hours.opens:
                day += timedelta(days=1)
            clock_time = self.hours.opens
        target = self.business_day_from(day)
        if target == local.date() and clock_time == local.time():
            return at.astimezone(UTC)
        return self._local(target, clock_time).astimezone(UTC)

    def closing(self, at: datetime) -> datetime:
        """When the business day of a moment ends, in UTC."""
        local = at.astimezone(self.zone)
        if self.hours.closes is None:
            return self._local(local.date() + timedelta(days=1), time(0)).astimezone(UTC)
        return self._local(local.date(), self.hours.closes).astimezone(UTC)

    def _within_hours(self, clock_time: time) -> bool:
        return clock_time >= self.hours.opens and (self.hours.closes is None or clock_time < self.hours.closes)

    def _local(self, day: date, clock_time: time) -> datetime:
        """A wall-clock time; one that a change to summer time leaves out becomes the moment after the gap."""
        local = datetime.combine(day, clock_time.replace(tzinfo=None), self.zone)
        return local.astimezone(UTC).astimezone(self.zone)


def next_time(
    previous: datetime,
    after_days: float,
    calendar: Calendar,
    *,
    spread_minutes: int = 0,
    jitter: str = "",
) -> datetime:
    """When the mail that comes `after_days` after `previous` is due, in UTC.

    Whole days keep the local wall-clock time, also over a change of summer time; the fraction is added in
    hours; then business hours and days. The spread delays by a share of `spread_minutes` that `jitter`
    decides, the same at every call, and never past closing.
    """
    whole = int(after_days)
    fraction = after_days - whole
    local = previous.astimezone(calendar.zone)
    moved = calendar._local(local.date() + timedelta(days=whole), local.time()).replace(fold=local.fold)
    due = calendar.next_open(moved.astimezone(UTC) + timedelta(days=fraction))
    return spread(due, calendar, spread_minutes, jitter)


def spread(due: datetime, calendar: Calendar, minutes: int, jitter: str) -> datetime:
    """Delay by up to `minutes`, evenly over all jitters, never past closing."""
    if minutes <= 0:
        return due
    share = int.from_bytes(hashlib.sha256(jitter.encode()).digest()[:8], "big") / 2**64
    room = timedelta(minutes=minutes)
    if calendar.is_open(due):
        room = max(timedelta(0), min(room, calendar.closing(due) - due - timedelta(seconds=1)))
    return due + timedelta(seconds=int(room.total_seconds() * share))


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


@lru_cache(maxsize=512)
def _public_holidays(country: str, year: int) -> frozenset[date]:
    import holidays

    try:
        return frozenset(holidays.country_holidays(country.upper(), years=year))
    except NotImplementedError:
        return frozenset()
