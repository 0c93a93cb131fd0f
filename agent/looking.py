"""Looking at leads, as the one who looks may see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.context import Context
from agent.views import history_view, lead_view
from state import access
from state.lead import Lead, LeadState, shown_state
from state.organisation import Organisation, User
from state.store import journal, leads


@dataclass(frozen=True, slots=True)
class Filter:
    state: str | None = None
    owner: str | None = None
    assistant: str | None = None
    at_risk: bool = False
    as_user: str | None = None


def list_leads(context: Context, wanted: Filter) -> Iterator[dict[str, Any]]:
    """The leads that fit, by address, without their history."""
    if wanted.state is not None and wanted.state not in {state.value for state in LeadState}:
        return
    with context.store.read() as tx:
        for organisation in context.refresh(tx).organisations:
            viewer = organisation.find_user(wanted.as_user) if wanted.as_user else None
            if wanted.as_user and viewer is None:
                continue
            for lead in leads.find_all(tx, organisation_id=organisation.id):
                if _fits(organisation, viewer, lead, wanted):
                    yield lead_view(lead, organisation, context.sequences_of(organisation))


def _fits(organisation: Organisation, viewer: User | None, lead: Lead, wanted: Filter) -> bool:
    if viewer is not None and not access.may_see(organisation, viewer, lead):
        return False
    if wanted.state is not None and shown_state(lead)[0].value != wanted.state:
        return False
    if wanted.at_risk and not lead.at_risk:
        return False
    if wanted.owner is not None:
        owner = organisation.find_user(wanted.owner)
        if owner is None or owner.id != lead.owner_id:
            return False
    if wanted.assistant is not None:
        assistant = organisation.find_assistant(wanted.assistant)
        if assistant is None or assistant.id != lead.assistant_id:
            return False
    return True


def show_lead(context: Context, address: str, as_user: str | None) -> dict[str, Any] | None:
    """One lead with its history; None when there is none, or none that this user may see."""
    with context.store.read() as tx:
        directory = context.refresh(tx)
        for lead in leads.find_by_address_anywhere(tx, address.lower()):
            organisation = directory.by_id[lead.organisation_id]
            if as_user is not None:
                viewer = organisation.find_user(as_user)
                if viewer is None or not access.may_see(organisation, viewer, lead):
                    continue
            view = lead_view(lead, organisation, context.sequences_of(organisation))
            return {**view, "history": history_view(journal.of_lead(tx, lead.id))}
    return None
