"""What one-click links stand for and do. A GET only describes; a POST acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from agent.unit_of_work import UnitOfWork
from mailflow.token import Link, link_token, read_link_token
from state import access
from state.events import AnyEvent, OptedOut, Renamed, RiskCleared, SequenceChanged, Stopped
from state.lead import Lead, SubState
from state.organisation import Assistant, Organisation, User
from state.store.engine import StoreUnavailable

if TYPE_CHECKING:
    from agent.context import Context

ACTION_LINKS_LAST = timedelta(days=30)
LONGEST_NAME = 200


def action_url(public_url: str, secret: str, link: Link, now: datetime) -> str:
    """A user's link in an acknowledgement or a notice."""
    return f"{public_url.rstrip('/')}/a/{quote(link_token(secret, link, now + ACTION_LINKS_LAST))}"


def unsubscribe_url(public_url: str, secret: str, lead_id: int) -> str:
    """The lead's own link; it never expires, since the mail that bears it may be opened any time later."""
    return f"{public_url.rstrip('/')}/u/{quote(link_token(secret, Link('unsubscribe', lead_id), None))}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a valid link leads to, as things are now."""

    link: Link
    lead: Lead
    organisation: Organisation
    assistant: Assistant
    user: User | None  # None: the lead itself


@dataclass(frozen=True, slots=True)
class Described:
    """What a page shows before anything is done."""

    action: str  # unsubscribe | name | sequence | stop | not_at_risk
    lead_address: str
    lead_name: str
    organisation: str
    sequences: tuple[str, ...] = ()
    sequence: str | None = None


class Links:
    """Looks tokens up and carries out what they allow. Blocking: call it outside of the event loop."""

    def __init__(self, context: Context, now: Callable[[], datetime]) -> None:
        self._context = context
        self._now = now

    def describe(self, token: str) -> Described | None:
        """What the token's page says; None for a bad, old or foreign token. Changes nothing."""
        with self._context.store.read() as tx:
            place = self._find(UnitOfWork(self._context, tx, self._now()), token)
        if place is None:
            return None
        return Described(
            action=place.link.action,
            lead_address=place.lead.address,
            lead_name=f"{place.lead.first} {place.lead.last}".strip(),
            organisation=place.organisation.name,
            sequences=tuple(sorted(self._context.sequences_of(place.organisation)))
            if place.link.action == "sequence"
            else (),
            sequence=place.lead.enrolment.sequence if place.lead.enrolment else None,
        )

    def act(self, token: str, fields: Mapping[str, str]) -> str | None:
        """Do it. Returns `done`, or `invalid` when a field does not fit; None for a bad token.

        Doing it twice is doing it once.
        """
        now = self._now()
        with self._context.store.write() as tx:
            unit = UnitOfWork(self._context, tx, now)
            place = self._find(unit, token)
            if place is None:
                return None
            event = self._event(place, fields, now)
            if event is None:
                return "invalid"
            unit.apply(place.lead, event)
            unit.flush()
        return "done"

    def is_ready(self) -> bool:
        """Whether the database answers."""
        try:
            with self._context.store.read() as tx:
                self._context.refresh(tx)
        except StoreUnavailable:
            return False
        return True

    def _find(self, unit: UnitOfWork, token: str) -> _Place | None:
        link = read_link_token(self._context.secret, token, self._now())
        if link is None:
            return None
        directory = self._context.refresh(unit.tx)
        lead = unit.load_lead(link.lead_id)
        place = directory.by_assistant.get(lead.assistant_id) if lead else None
        if lead is None or place is None:
            return None
        organisation, assistant = place
        if link.action == "unsubscribe":
            return _Place(link, lead, organisation, assistant, None)
        user = organisation.find_user_by_id(link.user_id)
        if user is None or not access.may_act(organisation, user, lead):
            return None
        return _Place(link, lead, organisation, assistant, user)

    def _event(self, place: _Place, fields: Mapping[str, str], now: datetime) -> AnyEvent | None:
        by = f"user:{place.user.address}" if place.user else "link"
        match place.link.action:
            case "unsubscribe":
                return OptedOut(at=now, by="link", via=SubState.LINK)
            case "stop":
                return Stopped(at=now, by=by)
            case "not_at_risk":
                return RiskCleared(at=now, by=by)
            case "name":
                name = " ".join(fields.get("name", "").split())
                if not name or len(name) > LONGEST_NAME:
                    return None
                first, _, last = name.partition(" ")
                return Renamed(at=now, by=by, first=first, last=last)
            case "sequence":
                wanted = fields.get("sequence", "")
                known = self._context.sequences_of(place.organisation)
                return SequenceChanged(at=now, by=by, sequence=wanted) if wanted in known else None
        return None
