"""A message as it came: what the store keeps for good before anybody is told that it was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Envelope:
    """RFC 5321: not to be confused with the header's From and To."""

    mail_from: str  # "" is the null reverse-path
    rcpt_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RawMessage:
    """Bytes as they came, with their envelope. `via` says by which door: smtp, lmtp, receive, imap."""

    envelope: Envelope
    content: bytes
    received_at: datetime
    via: str
