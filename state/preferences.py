"""Preferences as a file or a command states them, merged into values: shipped < organisation's < an assistant's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import time
from typing import Any

from state.policy import BusinessHours, Notification, Preferences

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = frozenset(field.name for field in fields(Preferences))


def read_business_hours(text: str) -> BusinessHours:
    """`"09:00-17:00"`; `"00:00-24:00"` is always. Raises ValueError for anything else."""
    opens, dash, closes = (part.strip() for part in text.partition("-"))
    if not dash:
        raise ValueError(f'{text!r}: business hours are written "09:00-17:00"')
    try:
        start = time.fromisoformat(opens)
        end = None if closes in ("24:00", "00:00") else time.fromisoformat(closes)
    except ValueError:
        raise ValueError(f'{text!r}: business hours are written "09:00-17:00"') from None
    if end is not None and end <= start:
        raise ValueError(f"{text!r}: closing must come after opening")
    return BusinessHours(start, end)


def read_off_days(names: object) -> frozenset[int]:
    """`[sat, sun]` as weekday numbers, Monday 0. Raises ValueError for a name that is no day."""
    if not isinstance(names, list | tuple | frozenset | set):
        raise ValueError("off days are a list such as [sat, sun]")
    days = set()
    for name in names:
        short = str(name).strip().lower()[:3]
        if short not in WEEKDAYS:
            raise ValueError(f"{name!r}: days are {', '.join(WEEKDAYS)}")
        days.add(WEEKDAYS.index(short))
    if len(days) == len(WEEKDAYS):
        raise ValueError("at least one day of the week must be a business day")
    return frozenset(days)


def read_preferences(*layers: Mapping[str, Any]) -> Preferences:
    """The preferences that these layers make, the last one winning; notifications are merged event by event.

    Values are JSON values that were checked when they were set; an unknown name is left out.
    """
    merged = Preferences()
    for layer in layers:
        changes = {name: _value(name, value, merged) for name, value in layer.items() if name in _NAMES}
        merged = replace(merged, **changes)
    return merged


def _value(name: str, value: Any, before: Preferences) -> Any:
    match name:
        case "business_hours":
            return read_business_hours(value)
        case "off_days":
            return read_off_days(value)
        case "nurture":
            return tuple(value)
        case "notifications":
            merged = dict(before.notifications)
            for event, switches in value.items():
                known = merged.get(event, Notification())
                merged[event] = Notification(
                    email=switches.get("email", known.email),
                    whatsapp=switches.get("whatsapp", known.whatsapp),
                    extra=tuple(switches.get("extra", known.extra)),
                )
            return merged
    return value
