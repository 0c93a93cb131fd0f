"""An organisation as the configuration file lists it: by addresses and names, not yet with ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from state.organisation import Role, Signature
from state.policy import BounceGuard, Plan, Sequence


@dataclass(frozen=True, slots=True)
class UserDefinition:
    name: str
    address: str  # lower case
    aliases: tuple[str, ...] = ()
    phone: str | None = None
    time_zone: str | None = None
    role: Role = Role.MEMBER


@dataclass(frozen=True, slots=True)
class AssistantDefinition:
    name: str
    address: str  # lower case
    aliases: tuple[str, ...] = ()
    title: str | None = None
    phone: str | None = None
    avatar: str | None = None
    signature: Signature = Signature()
    time_zone: str = "UTC"
    country: str | None = None
    users: tuple[str, ...] = ()  # addresses
    managers: tuple[str, ...] = ()  # addresses
    preferences: Mapping[str, object] = field(default_factory=dict)  # only what is set here, JSON values
    taught: tuple[tuple[str, str], ...] = ()
    outgoing: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class OrganisationDefinition:
    name: str
    domains: tuple[str, ...]  # lower case
    plan: Plan = Plan()
    exclusions: tuple[str, ...] = ()
    holidays: tuple[date, ...] = ()
    bounce_guard: BounceGuard = BounceGuard()
    preferences: Mapping[str, object] = field(default_factory=dict)
    sequences: tuple[Sequence, ...] = ()
    users: tuple[UserDefinition, ...] = ()
    assistants: tuple[AssistantDefinition, ...] = ()
