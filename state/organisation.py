"""Who is who: an organisation with its people and assistants, as plain values.

A snapshot is loaded by the store, kept in memory and compared by its revision;
nothing here reads or writes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from state.policy import BounceGuard, Plan, Preferences, Sequence


class Role(StrEnum):
    MEMBER = "member"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """A person of the organisation. `address` and `aliases` are lower case."""

    id: int
    name: str
    address: str
    aliases: tuple[str, ...] = ()
    phone: str | None = None  # E.164
    time_zone: str | None = None  # IANA name
    role: Role = Role.MEMBER

    @property
    def first_name(self) -> str:
        return self.name.split()[0] if self.name.split() else self.name

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset((self.address, *self.aliases))


@dataclass(frozen=True, slots=True)
class Signature:
    """What stands under a mail; None is made from the assistant's profile."""

    text: str | None = None
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Assistant:
    """A persona with a mailbox. `address` and `aliases` are lower case."""

    id: int
    name: str
    address: str
    aliases: tuple[str, ...] = ()
    title: str | None = None
    phone: str | None = None
    avatar: str | None = None  # a file's path
    signature: Signature = Signature()
    time_zone: str = "UTC"
    country: str | None = None  # ISO 3166-1 alpha-2
    user_ids: frozenset[int] = frozenset()  # who may use it
    manager_ids: frozenset[int] = frozenset()  # who may act for those users
    preferences: Preferences = Preferences()
    taught: tuple[tuple[str, str], ...] = ()  # (phrase, class)
    outgoing: Mapping[str, object] | None = None  # overrides the configuration's top level

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset((self.address, *self.aliases))


@dataclass(frozen=True, slots=True)
class Organisation:
    """A company, whole: everything that decisions about its mail need besides the leads."""

    id: int
    name: str
    revision: int  # grows with every change of anything in here
    domains: frozenset[str]
    plan: Plan = Plan()
    exclusions: frozenset[str] = frozenset()  # addresses and domains
    holidays: frozenset[date] = frozenset()
    bounce_guard: BounceGuard = BounceGuard()
    users: tuple[User, ...] = ()
    assistants: tuple[Assistant, ...] = ()
    sequences: Mapping[str, Sequence] = field(default_factory=dict)  # its own; shipped ones lie in templates/

    def find_user(self, address: str) -> User | None:
        """The user who bears this address or alias (any case)."""
        wanted = address.lower()
        return next((user for user in self.users if wanted in user.addresses), None)

    def find_user_by_id(self, user_id: int) -> User | None:
        return next((user for user in self.users if user.id == user_id), None)

    def find_assistant(self, address: str) -> Assistant | None:
        """The assistant who bears this address, an alias of it, or either with a `+suffix` (any case)."""
        wanted = address.lower()
        local, at, domain = wanted.rpartition("@")
        bare = f"{local.partition('+')[0]}{at}{domain}"
        return next(
            (a for a in self.assistants if wanted in a.addresses or bare in a.addresses),
            None,
        )

    def find_assistant_by_id(self, assistant_id: int) -> Assistant | None:
        return next((a for a in self.assistants if a.id == assistant_id), None)

    def is_own_domain(self, address: str) -> bool:
        return address.lower().rpartition("@")[2] in self.domains

    def is_excluded(self, address: str) -> bool:
        """Excluded by address, by domain, or by a domain above it."""
        wanted = address.lower()
        if wanted in self.exclusions:
            return True
        labels = wanted.rpartition("@")[2].split(".")
        return any(".".join(labels[i:]) in self.exclusions for i in range(len(labels)))

    @property
    def admins(self) -> tuple[User, ...]:
        return tuple(user for user in self.users if user.role is Role.ADMIN)
