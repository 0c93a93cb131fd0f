"""config.yaml → Settings. Every error at once, each with its key's path; nothing is guessed, nothing unknown is let pass."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from mailflow.address import is_valid_syntax
from mailflow.conditions import read_size
from mailflow.rules import RuleTable, load_table
from state.definition import AssistantDefinition, OrganisationDefinition, UserDefinition
from state.organisation import Role, Signature
from state.policy import BounceGuard, Plan, PlanPeriod, Sequence, SequenceKind, Step
from state.preferences import read_business_hours, read_off_days

SHIPPED = Path(__file__).resolve().parent.parent / "config.yaml"
MOST_STEPS = 20


@dataclass(frozen=True, slots=True)
class ConfigError:
    key: str  # "" when it is about the file as a whole
    message: str


def _address(value: object) -> str:
    address = str(value).strip().lower()
    if not is_valid_syntax(address):
        raise ValueError(f"{value!r} is no mail address")
    return address


def _listen(value: object) -> tuple[str, int]:
    host, colon, port = str(value).rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError(f'{value!r}: write host and port as "127.0.0.1:2525"')
    return host.strip("[]") or "127.0.0.1", int(port)


def _percent(value: object) -> float:
    text = str(value).strip()
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r} is no share such as 5%")
    return number


Address = Annotated[str, BeforeValidator(_address)]
Listen = Annotated[tuple[str, int], BeforeValidator(_listen)]
Size = Annotated[int, BeforeValidator(read_size)]
Percent = Annotated[float, BeforeValidator(_percent)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Database(Section):
    url: str = "sqlite:///var/relance.db"

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("is sqlite:///PATH or postgresql://…")
        return value


class Broker(Section):
    url: str = "memory://"

    @field_validator("url")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value.startswith(("memory:", "redis://", "rediss://", "unix://")):
            raise ValueError("is memory:// or redis://…")
        return value


class Tls(Section):
    certificate: Path
    key: Path


class ListenerSettings(Section):
    smtp: Listen | None = ("127.0.0.1", 2525)
    lmtp: Listen | None = None
    max_size: Size = 35_000_000
    tls: Tls | None = None


class Dkim(Section):
    selector: str
    key: str


class Smtp(Section):
    host: str
    port: int = Field(587, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "starttls"
    username: str | None = None
    password: str | None = None
    oauth: dict[str, Any] | None = None
    dkim: Dkim | None = None


class Outgoing(Section):
    capture: Path = Path("var/outgoing")
    smtp: Smtp | None = None


class Web(Section):
    listen: Listen = ("127.0.0.1", 8025)
    public_url: str = "http://127.0.0.1:8025"
    trusted_proxies: list[str] = ["127.0.0.1"]

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not re.match(r"https?://[^\s/]+", value):
            raise ValueError("is an address such as https://relance.example.com")
        return value.rstrip("/")


class Security(Section):
    secret: str | None = None
    trusted_authserv_ids: list[str] = []
    verify_here: bool = True
    verify_addresses: Literal["dns", "assume_valid", "assume_unverified"] = "dns"


class Logging(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class NotificationSettings(Section):
    email: bool | None = None
    whatsapp: bool | None = None
    extra: list[Address] | None = None


EVENTS = Literal[
    "response", "hot", "warm", "at_risk", "bounce", "delivery_trouble", "new_lead", "processed", "daily_summary", "weekly_summary"
]  # fmt: skip


class PreferenceSettings(Section):
    """Only what is set counts: the rest comes from the layer below."""

    default_sequence: str | None = None
    default_cc_sequence: str | None = None
    sequence_after_processed: str | None = None
    sequence_when_opened: str | None = None
    default_lead_name: str | None = None
    greeting_names: bool | None = None
    auto_activate: bool | None = None
    campaign_leads: bool | None = None
    referral_leads: bool | None = None
    at_risk_after_hours: float | None = Field(None, ge=0)
    at_risk_reminder_days: float | None = Field(None, gt=0)
    at_risk_reminders: int | None = Field(None, ge=0)
    business_hours: str | None = None
    off_days: list[str] | None = None
    public_holidays: bool | None = None
    daily_limit: int | None = Field(None, ge=0)
    warm_up: bool | None = None
    spread_minutes: int | None = Field(None, ge=0, le=1440)
    send_time_optimisation: bool | None = None
    cc_owner: bool | None = None
    cc_copied: bool | None = None
    quote_first_mail: bool | None = None
    tracking: bool | None = None
    brochure_url: str | None = None
    calendar_url: str | None = None
    meeting_reply: str | None = None
    approval: bool | None = None
    heads_up: Literal["never", "first", "always"] | None = None
    nurture: list[str] | None = None
    context: str | None = None
    more_information: str | None = None
    confidence: float | None = Field(None, ge=0, le=1)
    notifications: dict[EVENTS, NotificationSettings] | None = None

    @field_validator("business_hours")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None:
            read_business_hours(value)
        return value

    @field_validator("off_days")
    @classmethod
    def _days(cls, value: list[str] | None) -> list[str] | None:
        if value is not None:
            read_off_days(value)
        return value

    def layer(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.model_dump(mode="json", exclude_unset=True).items()
            if value is not None or name in ("sequence_after_processed", "sequence_when_opened", "brochure_url", "calendar_url", "meeting_reply", "context", "more_information")
        } | ({"notifications": self._notifications()} if self.notifications else {})  # fmt: skip

    def _notifications(self) -> dict[str, dict[str, Any]]:
        return {
            event: {k: v for k, v in switches.model_dump(mode="json").items() if v is not None}
            for event, switches in (self.notifications or {}).items()
        }


class StepSettings(Section):
    after_days: float | None = Field(None, ge=0, le=3650)
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    template: str | None = None


class SequenceSettings(Section):
    name: str = Field(min_length=1, max_length=200)
    kind: SequenceKind = SequenceKind.STANDARD
    steps: list[StepSettings] = Field(min_length=1, max_length=MOST_STEPS)

    @model_validator(mode="after")
    def _complete(self) -> SequenceSettings:
        for number, step in enumerate(self.steps, 1):
            is_users_own = number == 1 and self.kind is SequenceKind.CC
            has_words = step.text is not None or step.template is not None
            if is_users_own and (has_words or step.html is not None):
                raise ValueError("step 1 of a cc sequence is the user's own mail and has no text")
            if not is_users_own and not has_words:
                raise ValueError(f"step {number} needs text or template")
        return self


class PlanSettings(Section):
    leads: int | None = Field(None, ge=0)
    period: PlanPeriod = PlanPeriod.MONTH


class BounceGuardSettings(Section):
    percent: float = Field(4.0, ge=0, le=100)
    days: int = Field(7, ge=1)
    minimum: int = Field(20, ge=0)


class UserSettings(Section):
    name: str = Field(min_length=1)
    address: Address
    aliases: list[Address] = []
    phone: str | None = None
    time_zone: str | None = None
    role: Role = Role.MEMBER

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        return _known_zone(value) if value is not None else None


def _known_zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone such as Europe/Berlin") from None


class SignatureSettings(Section):
    text: str | None = None
    html: str | None = None


class TaughtSettings(Section):
    phrase: str
    # `class` is a word of the language here
    means: str = Field(alias="class")


class AssistantSettings(Section):
    name: str = Field(min_length=1)
    title: str | None = None
    address: Address
    aliases: list[Address] = []
    phone: str | None = None
    avatar: Path | None = None
    signature: SignatureSettings = SignatureSettings()
    time_zone: str = "UTC"
    country: str | None = Field(None, pattern=r"^[A-Za-z]{2}$")
    users: list[Address] = []
    managers: list[Address] = []
    taught: list[TaughtSettings] = []
    outgoing: Outgoing | None = None
    preferences: PreferenceSettings = PreferenceSettings()

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        return _known_zone(value)


class OrganisationSettings(Section):
    name: str = Field(min_length=1)
    domains: list[str] = Field(min_length=1)
    plan: PlanSettings = PlanSettings()
    cc_reserve: Percent = 0.05
    exclusions: list[str] = []
    holidays: list[date] = []
    bounce_guard: BounceGuardSettings = BounceGuardSettings()
    preferences: PreferenceSettings = PreferenceSettings()
    sequences: list[SequenceSettings] = []
    users: list[UserSettings] = []
    assistants: list[AssistantSettings] = []


class Settings(Section):
    """The whole configuration. Paths are absolute, secrets are filled in."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    database: Database = Database()
    broker: Broker = Broker()
    listener: ListenerSettings = ListenerSettings()
    mailboxes: list[dict[str, Any]] = []
    outgoing: Outgoing = Outgoing()
    web: Web = Web()
    security: Security = Security()
    whatsapp: dict[str, Any] = {}
    rules: list[Any] | None = None
    organisations: list[OrganisationSettings] = []
    logging: Logging = Logging()
    directory: Path = Field(default=Path(), exclude=True)

    def secret(self) -> str:
        """The secret that signs tokens; made and kept in var/ when the configuration has none."""
        if self.security.secret:
            return self.security.secret
        return _kept_secret(self.directory / "var" / "secret")

    def rule_table(self) -> RuleTable:
        wants_shipped = self.rules is None or {"include": "shipped"} in self.rules
        table = load_table(self.rules, shipped_rules() if wants_shipped else [])
        assert isinstance(table, RuleTable)  # checked by load_settings
        return table

    def outgoing_of(self, override: Mapping[str, object] | None) -> Outgoing:
        return _resolved(Outgoing.model_validate(override), self.directory) if override else self.outgoing

    def definitions(self) -> tuple[OrganisationDefinition, ...]:
        return tuple(_organisation(o, self.directory) for o in self.organisations)


def shipped_rules() -> Any:
    """The rule table that comes with Relance: the one of its own config.yaml."""
    return yaml.load(SHIPPED.read_bytes(), Loader=_YAML)["rules"]


_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def find_config(given: Path | None) -> Path:
    """--config, then config.yaml of this directory, then RELANCE_CONFIG, as the contract has it."""
    if given is not None:
        return given
    here = Path("config.yaml")
    if not here.exists() and (named := os.environ.get("RELANCE_CONFIG")):
        return Path(named)
    return here


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings | list[ConfigError]:
    """Read a configuration file. All its errors, or the settings."""
    try:
        loaded = yaml.load(path.read_bytes(), Loader=_YAML)
    except OSError as fault:
        return [ConfigError("", f"{path}: {fault.strerror}")]
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        return [ConfigError("", f"{path}: {' '.join(str(fault).split())}")]
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        return [ConfigError("", f"{path}: is no mapping of keys")]
    errors: list[ConfigError] = []
    directory = path.resolve().parent
    values = _filled_in(_overridden(loaded, environ, errors), "", environ, directory, errors)
    if "directory" in values:
        errors.append(ConfigError("directory", "there is no such key"))
        del values["directory"]
    settings: Settings | None = None
    try:
        settings = Settings.model_validate({**values, "directory": directory})
    except ValidationError as fault:
        reported = {error.key for error in errors}
        found = [ConfigError(_path(e["loc"]), _message(e)) for e in fault.errors()]
        errors += [error for error in found if error.key not in reported]
        errors += _contradictions(_valid_organisations(values.get("organisations")))
    rules = values.get("rules")
    # Read only where it is wanted: a start that need not read it is quicker by a tenth.
    wants_shipped = rules is None or (isinstance(rules, list) and {"include": "shipped"} in rules)
    table = load_table(rules, shipped_rules() if wants_shipped else [])
    if isinstance(table, list):
        errors += [ConfigError(e.key, e.message) for e in table]
    if settings is not None:
        errors += _contradictions(dict(enumerate(settings.organisations)))
    if errors or settings is None:
        return errors
    return settings.model_copy(
        update={
            "outgoing": _resolved(settings.outgoing, directory),
            "database": _resolved_database(settings.database, directory),
            "listener": _resolved_listener(settings.listener, directory),
        }
    )


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part != "[key]")


def _message(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "there is no such key"
        case "missing":
            return "is missing"
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _overridden(values: dict[str, Any], environ: Mapping[str, str], errors: list[ConfigError]) -> dict[str, Any]:
    """`RELANCE_DATABASE__URL=…` stands for `database.url`."""
    merged: dict[str, Any] = dict(values)
    for name in sorted(environ):
        if not name.startswith("RELANCE_") or "__" not in name:
            continue
        *above, last = name.removeprefix("RELANCE_").lower().split("__")
        place = merged
        for key in above:
            inner = place.get(key)
            place[key] = dict(inner) if isinstance(inner, dict) else {}
            place = place[key]
        try:
            place[last] = yaml.load(environ[name], Loader=_YAML)
        except yaml.YAMLError:
            place[last] = environ[name]
    return merged


_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OPTIONAL = frozenset({"security.secret"})  # made when it is absent


def _filled_in(value: Any, key: str, environ: Mapping[str, str], directory: Path, errors: list[ConfigError]) -> Any:
    """Secrets from the environment and files in the place of their references."""
    if isinstance(value, dict):
        return {
            k: v
            if key == "" and k == "rules"
            else _filled_in(v, f"{key}.{k}" if key else str(k), environ, directory, errors)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_filled_in(v, f"{key}.{i}", environ, directory, errors) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    if value.startswith("file:"):
        try:
            return (directory / value.removeprefix("file:")).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            errors.append(ConfigError(key, f"{value}: {getattr(fault, 'strerror', None) or 'is no text'}"))
            return None
    missing = [name for name in _REFERENCE.findall(value) if name not in environ]
    if missing:
        if key not in _OPTIONAL:
            errors.append(ConfigError(key, f"the environment has no {missing[0]}"))
        return None
    return _REFERENCE.sub(lambda found: environ[found[1]], value)


def _resolved(outgoing: Outgoing, directory: Path) -> Outgoing:
    return outgoing.model_copy(update={"capture": directory / outgoing.capture})


def _resolved_database(database: Database, directory: Path) -> Database:
    if not database.url.startswith("sqlite:///"):
        return database
    path = directory / database.url.removeprefix("sqlite:///")
    return database.model_copy(update={"url": f"sqlite:///{path}"})


def _resolved_listener(listener: ListenerSettings, directory: Path) -> ListenerSettings:
    if listener.tls is None:
        return listener
    tls = Tls(certificate=directory / listener.tls.certificate, key=directory / listener.tls.key)
    return listener.model_copy(update={"tls": tls})


def _kept_secret(file: Path) -> str:
    """The secret of var/, made by whoever comes first, readable by its owner alone."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(32))
        try:
            os.link(fresh, file)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return file.read_text(encoding="ascii").strip()


# -- what each section allows and the whole does not -------------------------------------------------


def _valid_organisations(listed: object) -> dict[int, OrganisationSettings]:
    """Those organisations of a bad configuration that are right in themselves, by their place in the list."""
    found: dict[int, OrganisationSettings] = {}
    for i, entry in enumerate(listed if isinstance(listed, list) else []):
        try:
            found[i] = OrganisationSettings.model_validate(entry)
        except ValidationError:
            continue
    return found


def _contradictions(organisations: Mapping[int, OrganisationSettings]) -> list[ConfigError]:
    errors: list[ConfigError] = []
    borne: dict[str, str] = {}
    shipped = _shipped_sequence_names()
    for i, organisation in organisations.items():
        key = f"organisations.{i}"
        users = {address for user in organisation.users for address in (user.address, *user.aliases)}
        known = shipped | {sequence.name for sequence in organisation.sequences}
        bearers: list[tuple[str, UserSettings | AssistantSettings]] = [
            *((f"{key}.users.{j}", user) for j, user in enumerate(organisation.users)),
            *((f"{key}.assistants.{j}", assistant) for j, assistant in enumerate(organisation.assistants)),
        ]
        for path, bearer in bearers:
            for position, address in enumerate((bearer.address, *bearer.aliases)):
                place = f"{path}.address" if position == 0 else f"{path}.aliases.{position - 1}"
                if address in borne:
                    errors.append(ConfigError(place, f"{address} stands at {borne[address]} already"))
                borne.setdefault(address, place)
        errors += _unknown_sequences(organisation.preferences, f"{key}.preferences", known)
        for j, assistant in enumerate(organisation.assistants):
            path = f"{key}.assistants.{j}"
            for field in ("users", "managers"):
                for position, address in enumerate(getattr(assistant, field)):
                    if address not in users:
                        errors.append(
                            ConfigError(f"{path}.{field}.{position}", f"{address} is no user of {organisation.name}")
                        )
            errors += _unknown_sequences(assistant.preferences, f"{path}.preferences", known)
    return errors


def _unknown_sequences(preferences: PreferenceSettings, key: str, known: set[str]) -> list[ConfigError]:
    return [
        ConfigError(f"{key}.{name}", f"there is no sequence {value!r}")
        for name in ("default_sequence", "default_cc_sequence", "sequence_after_processed", "sequence_when_opened")
        if (value := getattr(preferences, name)) is not None and value not in known
    ]


def _shipped_sequence_names() -> set[str]:
    from mailflow.sequences import shipped_sequence_names

    return shipped_sequence_names()


# -- definitions -------------------------------------------------------------------------------------


def _organisation(o: OrganisationSettings, directory: Path) -> OrganisationDefinition:
    return OrganisationDefinition(
        name=o.name,
        domains=tuple(domain.strip().lower().lstrip("@") for domain in o.domains),
        plan=Plan(o.plan.leads, o.plan.period, o.cc_reserve),
        exclusions=tuple(entry.strip().lower().lstrip("@") for entry in o.exclusions),
        holidays=tuple(o.holidays),
        bounce_guard=BounceGuard(o.bounce_guard.percent, o.bounce_guard.days, o.bounce_guard.minimum),
        preferences=o.preferences.layer(),
        sequences=tuple(
            Sequence(s.name, s.kind, tuple(Step(step.after_days or 0.0, step.subject, step.text, step.html, step.template) for step in s.steps))
            for s in o.sequences
        ),
        users=tuple(UserDefinition(u.name, u.address, tuple(u.aliases), u.phone, u.time_zone, u.role) for u in o.users),
        assistants=tuple(
            AssistantDefinition(
                name=a.name,
                address=a.address,
                aliases=tuple(a.aliases),
                title=a.title,
                phone=a.phone,
                avatar=str(directory / a.avatar) if a.avatar else None,
                signature=Signature(a.signature.text, a.signature.html),
                time_zone=a.time_zone,
                country=a.country.upper() if a.country else None,
                users=tuple(a.users),
                managers=tuple(a.managers),
                preferences=a.preferences.layer(),
                taught=tuple((t.phrase, t.means) for t in a.taught),
                outgoing=a.outgoing.model_dump(mode="json", exclude_unset=True) if a.outgoing else None,
            )
            for a in o.assistants
        ),
    )  # fmt: skip
