"""The one place that reads the time. Everything else is given `now`."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """An ISO 8601 time as given by --now and --at; without an offset it is taken as UTC.

    Raises ValueError when it is none.
    """
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
