"""What one-click links stand for and do. A GET only describes; a POST acts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from agent import clock
from agent.context import Context
from agent.unit_of_work import UnitOfWork
from mailflow.token import Link, link_token, read_link_token
from state import access
from state.events import AnyEvent, OptedOut, Renamed, RiskCleared, SequenceChanged, Stopped
from state.lead import Lead, SubState
from state.organisation import Organisation

ACTION_LINKS_LAST = timedelta(days=30)


def action_url(public_url: str, secret: str, link: Link, now: datetime) -> str:
    """A user's link in an acknowledgement or a notice."""
    return f"{public_url.rstrip('/')}/a/{quote(link_token(secret, link, now + ACTION_LINKS_LAST))}"


def unsubscribe_url(public_url: str, secret: str, lead_id: int) -> str:
    """The lead's own link; it never expires (RFC 8058 wants it to work for long, the law does too)."""
    return f"{public_url.rstrip('/')}/u/{quote(link_token(secret, Link('unsubscribe', lead_id), None))}"
