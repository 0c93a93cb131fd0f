"""The conditions of the rule table: each a check of its value at start, and a question about a situation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from mailflow.situation import Situation
from state.lead import shown_state

Test = Callable[[Situation], bool]

INTENTS = [
    "agreed_to_meet",
    "interested_to_proceed",
    "brochure_requested",
    "seeking_more_info",
    "connect_later",
    "referred_someone",
    "not_interested",
    "wrong_person",
    "unsubscribe",
    "out_of_office",
    "moved_out",
    "retired",
    "ticket_auto_response",
    "other",
]

# Conditions whose value is one of a few words, and how the situation answers.
_WORDS: Mapping[str, tuple[tuple[str, ...], Callable[[Situation], frozenset[str]]]] = {
    "kind": (
        ("human", "auto_response", "delivery_status", "complaint", "unsubscribe", "calendar", "bulk", "own"),
        lambda s: frozenset({s.kind.value}),
    ),
    "auto_response": (
        ("out_of_office", "moved_out", "retired", "ticket", "other"),
        lambda s: frozenset({s.automation.auto_response.value} if s.automation.auto_response else ()),
    ),
    "intent": (tuple(INTENTS), lambda s: frozenset({s.intent.intent} if s.intent else ())),
    "sender": (
        ("admin", "manager", "assigned", "unassigned", "lead", "lead_company", "copied", "assistant", "stranger"),
        lambda s: s.sender_roles,
    ),
    "token": (("confirmation", "action", "reply", "bounce", "none"), lambda s: frozenset({s.token})),
    "lead": (("known", "unknown"), lambda s: frozenset({"known" if s.lead else "unknown"})),
    "enrolment": (("active", "none"), lambda s: frozenset({"active" if s.lead and s.lead.is_active else "none"})),
    "thread": (("known", "new"), lambda s: frozenset({"known" if s.thread_known else "new"})),
    "addressed": (("to", "cc", "bcc"), lambda s: frozenset({s.addressed})),
    "recipients": (("external", "internal"), lambda s: s.recipients),
    "answers_to": (
        ("ack", "answer", "notice", "command", "followup", "none"), lambda s: frozenset({s.answers_to}),
    ),
    "forwarded": (("inline", "attached", "none"), lambda s: frozenset({s.forwarded})),
    "calendar": (
        ("accepted", "declined", "tentative", "counter"),
        lambda s: frozenset({s.calendar.status} if s.calendar else ()),
    ),
    "bounce": (
        ("permanent", "transient", "delayed"),
        lambda s: frozenset(
            "delayed" if r.action == "delayed" else r.permanence
            for r in (s.report.recipients if s.report else ())
            if r.action in ("failed", "delayed")
        ),
    ),
    "lead_source": (
        ("cc", "bcc", "forward", "file", "command", "api", "campaign", "referral"),
        lambda s: frozenset({s.lead.source.value} if s.lead else ()),
    ),
}  # fmt: skip

_FLAGS: Mapping[str, Callable[[Situation], bool]] = {
    "authenticated": lambda s: s.authentication.authenticated,
    "at_risk": lambda s: s.lead is not None and s.lead.at_risk,
    "alone": lambda s: s.alone,
    "duplicate": lambda s: s.duplicate,
    "defects": lambda s: bool(s.parsed.defects),
}

# Free words, compared without regard to case.
_NAMES: Mapping[str, Callable[[Situation], frozenset[str]]] = {
    "language": lambda s: frozenset({s.intent.language} if s.intent else ()),
    "lead_state": lambda s: frozenset({shown_state(s.lead)[0].value} if s.lead else ()),
    "lead_sub_state": lambda s: frozenset({shown_state(s.lead)[1].value} if s.lead else ()),
    "lead_tag": lambda s: frozenset(s.lead.tags if s.lead else ()),
    "assistant": lambda s: frozenset({s.assistant.name, s.assistant.address} if s.assistant else ()),
    "organisation": lambda s: frozenset({s.organisation.name, *s.organisation.domains} if s.organisation else ()),
}

_GLOBS: Mapping[str, Callable[[Situation], list[str]]] = {
    "from": lambda s: [box.address for box in s.parsed.header_from],
    "to": lambda s: [box.address for box in s.parsed.to],
    "cc": lambda s: [box.address for box in s.parsed.cc],
    "mail_from": lambda s: [s.envelope.mail_from],
    "rcpt": lambda s: list(s.envelope.rcpt_to),
    "attachment": lambda s: [word for a in s.parsed.attachments for word in (a.filename, a.content_type) if word],
}

_PATTERNS: Mapping[str, Callable[[Situation], str]] = {
    "subject": lambda s: s.parsed.subject,
    "body": lambda s: s.new_text,
}
LONGEST_MATCHED = 20_000  # characters that a pattern is tried on: it may be slow

CONDITIONS = frozenset(
    {*_WORDS, *_FLAGS, *_NAMES, *_GLOBS, *_PATTERNS, "header", "confidence_at_least", "larger_than", "preference", "not", "any", "all"}
)  # fmt: skip

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([KMG]?)i?B?\s*$", re.IGNORECASE)


class BadCondition(Exception):
    """A condition that can't be: `key` is its path within the rule."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def read_size(value: object) -> int:
    """`35MB` in bytes (decimal prefixes). Raises ValueError."""
    found = _SIZE.match(str(value))
    if not found:
        raise ValueError(f"{value!r} is no size such as 35MB")
    return int(float(found[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[found[2].upper()])


def compile_when(when: Mapping[str, Any], key: str = "when") -> Test:
    """One test out of a group of conditions, all of which must hold. Raises BadCondition."""
    if not isinstance(when, Mapping):
        raise BadCondition(key, "conditions are written as `name: value`")
    tests = [_compile(str(name), value, f"{key}.{name}") for name, value in when.items()]
    return lambda s: all(test(s) for test in tests)


def _compile(name: str, value: Any, key: str) -> Test:
    match name:
        case "not":
            inner = compile_when(value, key)
            return lambda s: not inner(s)
        case "any" | "all":
            if not isinstance(value, list) or not value:
                raise BadCondition(key, "takes a list of groups of conditions")
            groups = [compile_when(group, f"{key}.{i}") for i, group in enumerate(value)]
            return (lambda s: any(g(s) for g in groups)) if name == "any" else (lambda s: all(g(s) for g in groups))
        case "header":
            return _header(value, key)
        case "confidence_at_least":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise BadCondition(key, "is a number from 0.0 to 1.0")
            return lambda s: s.intent is not None and s.intent.confidence >= value
        case "larger_than":
            try:
                size = read_size(value)
            except ValueError as fault:
                raise BadCondition(key, str(fault)) from None
            return lambda s: s.parsed.size > size
        case "preference":
            if not isinstance(value, Mapping) or not value:
                raise BadCondition(key, "takes preferences with their values")
            return lambda s: (
                s.assistant is not None
                and all(getattr(s.assistant.preferences, str(k), None) == v for k, v in value.items())
            )
    if (flag := _FLAGS.get(name)) is not None:
        if not isinstance(value, bool):
            raise BadCondition(key, "is true or false")
        return lambda s: flag(s) is value
    wanted = [str(v) for v in (value if isinstance(value, list) else [value])]
    if not wanted or any(isinstance(v, Mapping | list) for v in (value if isinstance(value, list) else [value])):
        raise BadCondition(key, "takes a word or a list of words")
    if name in _WORDS:
        words, read = _WORDS[name]
        if unknown := [word for word in wanted if word not in words]:
            raise BadCondition(key, f"{unknown[0]!r} is none of: {', '.join(words)}")
        chosen = frozenset(wanted)
        return lambda s: bool(read(s) & chosen)
    if name in _NAMES:
        ask = _NAMES[name]
        lowered = frozenset(word.lower() for word in wanted)
        return lambda s: any(word.lower() in lowered for word in ask(s))
    if name in _GLOBS:
        listed = _GLOBS[name]
        globs = [word.lower() for word in wanted]
        return lambda s: any(fnmatchcase(found.lower(), glob) for found in listed(s) for glob in globs)
    if name in _PATTERNS:
        text_of = _PATTERNS[name]
        patterns = [_pattern(word, key) for word in wanted]
        return lambda s: any(p.search(text_of(s)[:LONGEST_MATCHED]) for p in patterns)
    raise BadCondition(key, f"there is no condition {name!r}")


def _header(value: Any, key: str) -> Test:
    if not isinstance(value, Mapping) or not value:
        raise BadCondition(key, "takes header names with a regular expression each")
    patterns = [(str(name), _pattern(str(pattern), f"{key}.{name}")) for name, pattern in value.items()]
    return lambda s: all(any(p.search(v[:LONGEST_MATCHED]) for v in s.parsed.headers(name)) for name, p in patterns)


def _pattern(text: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as fault:
        raise BadCondition(key, f"bad pattern: {fault}") from None
