"""Everything that one transaction changes: leads, their history, what must be sent, who must not be written to.

Looked up in batches, changed in memory by the machine, written in a few statements at the end,
so that a hundred messages cost little more than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from mailflow import token
from state import machine
from state.effects import AnyEffect, CancelUnsent, ForwardToOwner, NotifyOwner, SendStep, Suppress
from state.events import AnyEvent
from state.lead import Lead, shown_state
from state.organisation import Assistant, Organisation, User
from state.store import inbox, journal, leads, outbox, suppression
from state.store.inbox import InboxMessage
from state.store.outbox import Outgoing

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from agent.context import Context


@dataclass(slots=True)
class UnitOfWork:
    """One transaction's working set. Not shared between threads."""

    context: Context
    tx: Connection
    now: datetime
    by_id: dict[int, Lead] = field(default_factory=dict)
    by_address: dict[tuple[int, str], int | None] = field(default_factory=dict)
    by_message_id: dict[tuple[int, str], tuple[int, ...]] = field(default_factory=dict)
    by_outbox_id: dict[int, Outgoing | None] = field(default_factory=dict)
    changed: dict[int, Lead] = field(default_factory=dict)  # as they were loaded
    entries: list[journal.Entry] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    suppressed: dict[tuple[int, str], bool] = field(default_factory=dict)
    messages: dict[int, InboxMessage | None] = field(default_factory=dict)
    threads: list[tuple[int, str, int]] = field(default_factory=list)  # organisation, Message-ID, lead

    # -- looking up ---------------------------------------------------------------------------

    def prefetch(self, organisation_id: int, addresses: Iterable[str], message_ids: Iterable[str]) -> None:
        """Load, in one query each, what the single look-ups below will ask for."""
        wanted_addresses = [a for a in addresses if (organisation_id, a) not in self.by_address]
        wanted_ids = [m for m in message_ids if (organisation_id, m) not in self.by_message_id]
        by_message_id = leads.find_by_message_ids(self.tx, organisation_id, wanted_ids) if wanted_ids else {}
        by_address = leads.find_by_addresses(self.tx, organisation_id, wanted_addresses) if wanted_addresses else {}
        for lead in by_address.values():
            self._remember(lead)
        for address in wanted_addresses:
            found = by_address.get(address)
            self.by_address[organisation_id, address] = found.id if found else None
        for message_id in wanted_ids:
            self.by_message_id[organisation_id, message_id] = by_message_id.get(message_id, ())
        missing = {i for ids in by_message_id.values() for i in ids} - self.by_id.keys()
        for lead in leads.load_many(self.tx, sorted(missing)).values() if missing else ():
            self._remember(lead)

    def find_lead(self, organisation_id: int, address: str) -> Lead | None:
        if (organisation_id, address) not in self.by_address:
            self.prefetch(organisation_id, [address], [])
        lead_id = self.by_address[organisation_id, address]
        return self.by_id[lead_id] if lead_id is not None else None

    def find_by_message_id(self, organisation_id: int, message_id: str) -> tuple[Lead, ...]:
        if (organisation_id, message_id) not in self.by_message_id:
            self.prefetch(organisation_id, [], [message_id])
        return tuple(self.by_id[i] for i in self.by_message_id[organisation_id, message_id])

    def find_outgoing(self, outbox_id: int) -> Outgoing | None:
        if outbox_id not in self.by_outbox_id:
            self.by_outbox_id[outbox_id] = outbox.load(self.tx, outbox_id)
        return self.by_outbox_id[outbox_id]

    def load_lead(self, lead_id: int) -> Lead | None:
        if lead_id not in self.by_id:
            for lead in leads.load_many(self.tx, [lead_id]).values():
                self._remember(lead)
        return self.by_id.get(lead_id)

    def find_suppressed(self, organisation_id: int, addresses: Iterable[str]) -> set[str]:
        """Those of the addresses that must not be written to. Asked for many at once, it looks once."""
        wanted = dict.fromkeys(addresses)
        unknown = {
            token.address_key(self.context.secret, organisation_id, address): address
            for address in wanted
            if (organisation_id, address) not in self.suppressed
        }
        if unknown:
            found = suppression.are_suppressed(self.tx, organisation_id, list(unknown))
            for key, address in unknown.items():
                self.suppressed[organisation_id, address] = key in found
        return {address for address in wanted if self.suppressed[organisation_id, address]}

    def load_message(self, inbox_id: int) -> InboxMessage | None:
        if inbox_id not in self.messages:
            self.prefetch_messages([inbox_id])
        return self.messages[inbox_id]

    def prefetch_messages(self, inbox_ids: Iterable[int]) -> None:
        """Load stored messages that will be quoted or passed on, in one query."""
        wanted = [i for i in dict.fromkeys(inbox_ids) if i not in self.messages]
        loaded = inbox.load_many(self.tx, wanted) if wanted else {}
        for inbox_id in wanted:
            self.messages[inbox_id] = loaded.get(inbox_id)

    def remember(self, loaded: Iterable[Lead]) -> None:
        """Take over leads that the caller has just loaded in this transaction."""
        for lead in loaded:
            self._remember(lead)

    def _remember(self, lead: Lead) -> None:
        # A lead that was already changed here is newer than what the database says.
        self.by_id.setdefault(lead.id, lead)
        self.by_address[lead.organisation_id, lead.address] = lead.id

    # -- changing -----------------------------------------------------------------------------

    def add_lead(self, lead: Lead, event: AnyEvent) -> Lead:
        """Make a new lead by its first event."""
        organisation, assistant = self.context.place_of(lead)
        advance = machine.advance(lead, event, self.context.policy_for(organisation, assistant, lead))
        stored = leads.insert_lead(self.tx, advance.lead)
        self.by_id[stored.id] = stored
        self.by_address[stored.organisation_id, stored.address] = stored.id
        self._index_thread(None, stored)
        self._journal(None, stored, event)
        self.carry_out(organisation, assistant, stored, event, advance.effects)
        return stored

    def apply(self, lead: Lead, event: AnyEvent) -> Lead:
        """Advance a lead by one event, and see to all that follows from it."""
        before = self.by_id[lead.id]
        organisation, assistant = self.context.place_of(before)
        advance = machine.advance(before, event, self.context.policy_for(organisation, assistant, before))
        after = advance.lead
        if after != before:
            self.changed.setdefault(before.id, before)
            self.by_id[after.id] = after
            if after.conversation != before.conversation:
                self._index_thread(before, after)
        if machine.is_recorded(event, before, after):
            self._journal(before, after, event)
        self.carry_out(organisation, assistant, after, event, advance.effects)
        return after

    def _index_thread(self, before: Lead | None, lead: Lead) -> None:
        known = frozenset(before.conversation) if before else frozenset()
        for message_id in lead.conversation:
            if message_id in known:
                continue
            self.threads.append((lead.organisation_id, message_id, lead.id))
            key = (lead.organisation_id, message_id)
            if key in self.by_message_id and lead.id not in self.by_message_id[key]:
                self.by_message_id[key] = (*self.by_message_id[key], lead.id)

    def _journal(self, before: Lead | None, after: Lead, event: AnyEvent) -> None:
        self.entries.append(
            journal.Entry(
                lead_id=after.id,
                at=event.at,
                event=machine.event_name(event),
                from_state=shown_state(before)[0].value if before else None,
                to_state=shown_state(after)[0].value,
                by=event.by,
                cause=event.cause,
                evidence=event.evidence,
            )
        )

    # -- what follows -------------------------------------------------------------------------

    def carry_out(
        self,
        organisation: Organisation,
        assistant: Assistant,
        lead: Lead,
        event: AnyEvent,
        effects: Iterable[AnyEffect],
    ) -> None:
        """Turn the machine's effects into outbox rows and suppressions of this transaction."""
        for effect in effects:
            match effect:
                case SendStep(enrolment, step):
                    self.enqueue_step(assistant, lead, enrolment, step)
                case CancelUnsent():
                    outbox.cancel_unsent(self.tx, lead.id)
                    self.outgoing = [o for o in self.outgoing if o.lead_id != lead.id or o.kind != "followup"]
                case Suppress(address, reason):
                    key = token.address_key(self.context.secret, organisation.id, address)
                    self.suppressed[organisation.id, address] = True
                    suppression.add(self.tx, organisation.id, key, reason, self.now)
                case ForwardToOwner(inbox_id, taken_for, done):
                    self.notify_owner(
                        organisation, assistant, lead, "answer", "answer", f"answer:{lead.id}:{inbox_id}",
                        {"taken_for": taken_for, "done": done}, inbox_id=inbox_id,
                    )  # fmt: skip
                case NotifyOwner(notice, preference, fields):
                    switch = assistant.preferences.notifications.get(preference) if preference else None
                    if switch is not None and not switch.email:
                        continue
                    self.notify_owner(
                        organisation, assistant, lead, "notice", notice,
                        f"notice:{notice}:{lead.id}:{self._occasion(lead, event)}", fields,
                    )  # fmt: skip

    @staticmethod
    def _occasion(lead: Lead, event: AnyEvent) -> str:
        """What makes a notice one of its own: the message behind it, else the step at which it came."""
        if event.cause:
            return event.cause
        enrolment = lead.enrolment
        return f"{enrolment.number}.{enrolment.step}.{int(event.at.timestamp())}" if enrolment else event.at.isoformat()

    def enqueue_step(self, assistant: Assistant, lead: Lead, enrolment: int, step: int) -> None:
        """Two rows share one mail: the lead's copy, and, once that is out, the copy of owner and copied people."""
        key = f"step:{lead.id}:{enrolment}:{step}"
        message_id = token.message_id(self.context.secret, key, assistant.address.rpartition("@")[2])
        preferences = assistant.preferences
        has_others = preferences.cc_owner or (preferences.cc_copied and bool(lead.copied))
        for copy in ("lead", "others") if has_others else ("lead",):
            self.outgoing.append(
                Outgoing(
                    key=f"{key}:{copy}",
                    after_key=f"{key}:lead" if copy == "others" else None,
                    organisation_id=lead.organisation_id,
                    assistant_id=assistant.id,
                    lead_id=lead.id,
                    kind="followup",
                    copy=copy,
                    enrolment=enrolment,
                    step=step,
                    message_id=message_id,
                    rcpt_to=(),  # decided when it is written: people may have opted out by then
                    created_at=self.now,
                    not_before=self.now,
                )
            )

    def notify_owner(
        self,
        organisation: Organisation,
        assistant: Assistant,
        lead: Lead,
        kind: str,
        notice: str,
        key: str,
        fields: Mapping[str, object],
        inbox_id: int | None = None,
    ) -> None:
        """Write to the lead's owner; where he is gone, to the admins, so that nothing falls on the floor."""
        owner = organisation.find_user_by_id(lead.owner_id)
        users = (owner,) if owner else organisation.admins
        for user in users:
            self.notify(assistant, user, kind, notice, f"{key}:{user.id}", fields, lead=lead, inbox_id=inbox_id)

    def notify(
        self,
        assistant: Assistant,
        user: User,
        kind: str,
        notice: str,
        key: str,
        fields: Mapping[str, object],
        *,
        lead: Lead | None = None,
        inbox_id: int | None = None,
    ) -> None:
        """One mail to one user, written by `notify` at delivery from these facts alone."""
        self.outgoing.append(
            Outgoing(
                key=key,
                organisation_id=self.context.organisation_of(assistant).id,
                assistant_id=assistant.id,
                lead_id=lead.id if lead else None,
                kind=kind,
                copy="user",
                message_id=token.message_id(self.context.secret, key, assistant.address.rpartition("@")[2]),
                rcpt_to=(user.address,),
                inbox_id=inbox_id,
                fields={**fields, "notice": notice, "user_id": user.id},
                created_at=self.now,
                not_before=self.now,
            )
        )

    def flush(self) -> list[int]:
        """Write everything. Returns the ids of the outbox rows that are new.

        Raises `leads.Conflict` when somebody else changed one of the leads meanwhile.
        """
        changed = [self.by_id[lead_id] for lead_id in self.changed]
        if changed:
            leads.save_many(self.tx, changed)
        if self.threads:
            leads.add_to_threads(self.tx, self.threads)
        if self.entries:
            journal.add_many(self.tx, self.entries)
        enqueued = outbox.enqueue_many(self.tx, self.outgoing) if self.outgoing else []
        self.changed.clear()
        self.threads.clear()
        self.entries.clear()
        self.outgoing.clear()
        return [row.id for row in enqueued]
