"""What every piece of work needs: the store, the organisations as they are now, the rules, the ways out."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from state.lead import Lead
from state.machine import Policy
from state.organisation import Assistant, Organisation
from state.policy import Sequence
from state.schedule import Calendar
from state.store import organisations
from state.store.engine import Store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from agent.config import Settings
    from mailflow.rules import RuleTable
    from mailflow.transport.outcome import Transport
    from state.store.presence import Presence


@dataclass(frozen=True, slots=True)
class Directory:
    """A snapshot of all organisations at one revision, indexed for look-ups by address and id."""

    revision: int
    organisations: tuple[Organisation, ...] = ()
    by_id: Mapping[int, Organisation] = field(default_factory=dict)
    by_assistant: Mapping[int, tuple[Organisation, Assistant]] = field(default_factory=dict)

    @classmethod
    def of(cls, revision: int, loaded: tuple[Organisation, ...]) -> Directory:
        return cls(
            revision,
            loaded,
            {organisation.id: organisation for organisation in loaded},
            {a.id: (organisation, a) for organisation in loaded for a in organisation.assistants},
        )

    def find_by_recipient(self, address: str) -> tuple[Organisation, Assistant] | None:
        """Whose assistant bears this address (aliases and +suffixes included)."""
        for organisation in self.organisations:
            if (assistant := organisation.find_assistant(address)) is not None:
                return organisation, assistant
        return None

    def is_assistant(self, address: str) -> bool:
        return self.find_by_recipient(address) is not None


class Context:
    """Made once per process and shared by its threads."""

    def __init__(self, settings: Settings, store: Store, secret: str) -> None:
        self.settings = settings
        self.store = store
        self.secret = secret
        self._lock = threading.Lock()
        self._directory = Directory(-1)
        self._transports: dict[int, Transport] = {}

    # -- organisations ------------------------------------------------------------------------

    def refresh(self, tx: Connection) -> Directory:
        """The organisations as this transaction sees them; loaded again only when something changed."""
        revision = organisations.revision(tx)
        if revision != self._directory.revision:
            loaded = Directory.of(revision, organisations.load_all(tx))
            with self._lock:
                self._directory = loaded
                self._transports.clear()
        return self._directory

    @property
    def directory(self) -> Directory:
        """The last snapshot taken, for look-ups outside of a transaction."""
        return self._directory

    def place_of(self, lead: Lead) -> tuple[Organisation, Assistant]:
        """The organisation and assistant that a lead belongs to. Raises KeyError for a lead of a removed assistant."""
        return self._directory.by_assistant[lead.assistant_id]

    def organisation_of(self, assistant: Assistant) -> Organisation:
        return self._directory.by_assistant[assistant.id][0]

    # -- decisions ----------------------------------------------------------------------------

    @cached_property
    def shipped(self) -> Mapping[str, Sequence]:
        from mailflow.sequences import shipped_sequences

        return shipped_sequences()

    def sequences_of(self, organisation: Organisation) -> Mapping[str, Sequence]:
        """The shipped sequences and the organisation's own, which win."""
        return {**self.shipped, **organisation.sequences} if organisation.sequences else self.shipped

    def policy_for(self, organisation: Organisation, assistant: Assistant, lead: Lead) -> Policy:
        """All that the machine must know to advance this lead."""
        preferences = assistant.preferences
        return Policy(
            preferences=preferences,
            sequences=self.sequences_of(organisation),
            calendar=Calendar(
                time_zone=lead.time_zone or assistant.time_zone,
                hours=preferences.business_hours,
                off_days=preferences.off_days,
                holidays=organisation.holidays,
                country=lead.country or assistant.country,
                public_holidays=preferences.public_holidays,
            ),
        )

    @cached_property
    def rules(self) -> RuleTable:
        return self.settings.rule_table()

    # -- ways out -----------------------------------------------------------------------------

    def transport_of(self, assistant: Assistant) -> Transport:
        """Where this assistant's mail goes: its own way out, else the configuration's."""
        from agent.ways_out import open_transport

        with self._lock:
            if assistant.id not in self._transports:
                self._transports[assistant.id] = open_transport(self.settings, assistant.outgoing)
            return self._transports[assistant.id]

    @cached_property
    def presence(self) -> Presence:
        from state.store.presence import Presence

        return Presence(self.store)

    @cached_property
    def worker(self) -> str:
        """This process's name on the work that it has claimed; noticed at once when the process dies."""
        return self.presence.announce()

    def close(self) -> None:
        if "worker" in self.__dict__:
            self.presence.withdraw()
        self.store.close()
