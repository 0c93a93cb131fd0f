"""Values as the tables keep them: a lead's row, and organisations' settings as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from state.lead import Engagement, Enrolment, Lead, LeadSource, LeadState, Mailbox, NameSource, SubState
from state.policy import BounceGuard, Plan, PlanPeriod, Sequence, SequenceKind, Step

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _out(at: datetime | None) -> int | None:
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def _in(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def lead_to_row(lead: Lead) -> dict[str, Any]:
    """All columns but `id` and `version`."""
    enrolment = lead.enrolment
    return {
        "organisation_id": lead.organisation_id,
        "address": lead.address,
        "owner_id": lead.owner_id,
        "assistant_id": lead.assistant_id,
        "state": lead.state.value,
        "sub_state": lead.sub_state.value,
        "at_risk": lead.at_risk,
        "next_at": enrolment.next_at if enrolment is not None and enrolment.active else None,
        "profile": {
            "first": lead.first,
            "last": lead.last,
            "name_source": lead.name_source.value,
            "source": lead.source.value,
            "created_at": _out(lead.created_at),
            "away_until": _out(lead.away_until),
            "company": lead.company,
            "designation": lead.designation,
            "industry": lead.industry,
            "phone": lead.phone,
            "time_zone": lead.time_zone,
            "country": lead.country,
            "custom": dict(lead.custom),
            "enrolment": _enrolment_to_json(enrolment) if enrolment else None,
            "subject": lead.subject,
            "conversation": list(lead.conversation),
            "first_mail_id": lead.first_mail_id,
            "copied": [[box.name, box.address] for box in lead.copied],
            "tags": list(lead.tags),
            "opens": [lead.opens.human, lead.opens.machine, lead.opens.unknown],
            "clicks": [lead.clicks.human, lead.clicks.machine, lead.clicks.unknown],
            "bounces_in_row": lead.bounces_in_row,
            "answered_at": _out(lead.answered_at),
        },
    }


def lead_from_row(row: Row[Any]) -> Lead:
    profile = row.profile
    enrolment = profile["enrolment"]
    return Lead(
        id=row.id,
        organisation_id=row.organisation_id,
        owner_id=row.owner_id,
        assistant_id=row.assistant_id,
        address=row.address,
        first=profile["first"],
        last=profile["last"],
        name_source=NameSource(profile["name_source"]),
        source=LeadSource(profile["source"]),
        created_at=_moment(profile["created_at"]),
        state=LeadState(row.state),
        sub_state=SubState(row.sub_state),
        away_until=_in(profile["away_until"]),
        at_risk=bool(row.at_risk),
        company=profile["company"],
        designation=profile["designation"],
        industry=profile["industry"],
        phone=profile["phone"],
        time_zone=profile["time_zone"],
        country=profile["country"],
        custom=profile["custom"],
        enrolment=_enrolment_from_json(enrolment, row.next_at) if enrolment else None,
        subject=profile["subject"],
        conversation=tuple(profile["conversation"]),
        first_mail_id=profile["first_mail_id"],
        copied=tuple(Mailbox(name, address) for name, address in profile["copied"]),
        tags=tuple(profile["tags"]),
        opens=Engagement(*profile["opens"]),
        clicks=Engagement(*profile["clicks"]),
        bounces_in_row=profile["bounces_in_row"],
        answered_at=_in(profile["answered_at"]),
        version=row.version,
    )


def _enrolment_to_json(enrolment: Enrolment) -> dict[str, Any]:
    return {
        "number": enrolment.number,
        "sequence": enrolment.sequence,
        "step": enrolment.step,
        "last_at": _out(enrolment.last_at),
        "active": enrolment.active,
        "sending": enrolment.sending,
        "held": enrolment.held,
    }


def _enrolment_from_json(value: Mapping[str, Any], next_at: datetime | None) -> Enrolment:
    return Enrolment(
        number=value["number"],
        sequence=value["sequence"],
        step=value["step"],
        last_at=_moment(value["last_at"]),
        next_at=next_at,
        active=value["active"],
        sending=value["sending"],
        held=value["held"],
    )


def sequence_to_json(sequence: Sequence) -> dict[str, Any]:
    return {
        "kind": sequence.kind.value,
        "steps": [
            {"after_days": s.after_days, "subject": s.subject, "text": s.text, "html": s.html, "template": s.template}
            for s in sequence.steps
        ],
    }


def sequence_from_json(name: str, value: Mapping[str, Any]) -> Sequence:
    return Sequence(name, SequenceKind(value["kind"]), tuple(Step(**step) for step in value["steps"]))


def plan_to_json(plan: Plan) -> dict[str, Any]:
    return {"leads": plan.leads, "period": plan.period.value, "cc_reserve": plan.cc_reserve}


def plan_from_json(value: Mapping[str, Any]) -> Plan:
    return Plan(value["leads"], PlanPeriod(value["period"]), value["cc_reserve"])


def guard_to_json(guard: BounceGuard) -> dict[str, Any]:
    return {"percent": guard.percent, "days": guard.days, "minimum": guard.minimum}


def guard_from_json(value: Mapping[str, Any]) -> BounceGuard:
    return BounceGuard(**value)
