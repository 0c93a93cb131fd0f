"""Answers to invitations (iTIP, RFC 5546): accepted, declined, tentative, or another time proposed."""

from __future__ import annotations

from datetime import UTC, datetime

from mailflow.message import CalendarReply
from mailflow.parse import ParsedMessage

LARGEST = 1_000_000  # bytes
_STATUS = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative"}


def read_reply(parsed: ParsedMessage) -> CalendarReply | None:
    """What the message answers to an invitation; None when it is no such answer. Never raises."""
    content = parsed.content
    if b"text/calendar" not in content and b"TEXT/CALENDAR" not in content and b"application/ics" not in content:
        return None
    for attachment in parsed.attachments:
        is_calendar = attachment.content_type in ("text/calendar", "application/ics")
        if is_calendar and len(attachment.content) <= LARGEST and (reply := _read(attachment.content)) is not None:
            return reply
    return None


def _read(content: bytes) -> CalendarReply | None:
    from icalendar import Calendar

    try:
        calendar = Calendar.from_ical(content)
        method = str(calendar.get("method", "")).upper()
        if method not in ("REPLY", "COUNTER"):
            return None
        for event in calendar.walk("VEVENT"):
            attendees = event.get("attendee")
            attendee = attendees[0] if isinstance(attendees, list) else attendees
            if attendee is None:
                continue
            status = "counter" if method == "COUNTER" else _STATUS.get(str(attendee.params.get("PARTSTAT", "")).upper())
            if status is None:
                continue
            starts = event.decoded("dtstart", None)
            at = starts if isinstance(starts, datetime) else None
            return CalendarReply(
                status=status,
                attendee=str(attendee).lower().removeprefix("mailto:") or None,
                summary=str(event.get("summary", "")) or None,
                starts_at=at.astimezone(UTC) if at and at.tzinfo else None,
            )
    except Exception:  # a third party's parser on a stranger's file: what it can't read is no answer
        return None
    return None
