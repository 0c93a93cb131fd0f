"""Who may see and do what. The only place that decides it (product section 1)."""

from __future__ import annotations

from state.lead import Lead
from state.organisation import Assistant, Organisation, Role, User


def may_see(organisation: Organisation, user: User, lead: Lead) -> bool:
    """A member sees own leads only, an assistant manager all leads of that assistant, an admin all."""
    if lead.organisation_id != organisation.id or organisation.find_user_by_id(user.id) is None:
        return False
    if user.role is Role.ADMIN or lead.owner_id == user.id:
        return True
    assistant = organisation.find_assistant_by_id(lead.assistant_id)
    return assistant is not None and user.id in assistant.manager_ids


def may_act(organisation: Organisation, user: User, lead: Lead) -> bool:
    """Whoever sees a lead may act on it as its owner does."""
    return may_see(organisation, user, lead)


def may_use(organisation: Organisation, user: User, assistant: Assistant) -> bool:
    """Copy the assistant in: a user assigned to it, its manager, or any admin."""
    if organisation.find_user_by_id(user.id) is None:
        return False
    return user.role is Role.ADMIN or user.id in assistant.user_ids or user.id in assistant.manager_ids
