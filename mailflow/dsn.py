"""Delivery reports (RFC 3464, RFC 6533): which recipients, what became of them, for good or for now, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.message import Message

from mailflow.address import is_valid_syntax
from mailflow.header_text import decode_raw, one_line
from mailflow.message import DeliveryReport, RecipientReport
from mailflow.parse import ParsedMessage, parse

ACTIONS = frozenset({"failed", "delayed", "delivered", "relayed", "expanded"})
MOST_RECIPIENTS = 200

# Why a delivery failed, by RFC 3463 status code where it says more than "other".
REASONS: Mapping[str, str] = {
    "1.0": "user_unknown", "1.1": "user_unknown", "1.2": "host_unknown", "1.3": "user_unknown", "1.4": "user_unknown",
    "1.6": "user_moved", "1.8": "sender_rejected", "1.10": "host_unknown",
    "2.0": "mailbox_unavailable", "2.1": "mailbox_disabled", "2.2": "mailbox_full", "2.3": "message_too_big", "2.4": "list_problem",
    "3.0": "system_problem", "3.1": "system_full", "3.2": "system_unavailable", "3.4": "message_too_big",
    "4.0": "network_problem", "4.1": "network_problem", "4.2": "network_problem", "4.3": "dns_problem", "4.4": "host_unknown",
    "4.6": "loop", "4.7": "expired", "5.0": "protocol_error", "5.3": "too_many_recipients", "5.4": "protocol_error",
    "6.0": "content_rejected", "6.1": "content_rejected", "6.3": "content_rejected",
    "7.0": "policy", "7.1": "policy", "7.8": "authentication_failed", "7.20": "authentication_failed", "7.23": "authentication_failed",
    "7.25": "policy", "7.26": "authentication_failed", "7.27": "sender_rejected",
}  # fmt: skip
_BY_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        ("mailbox_full", r"mailbox (?:is )?full|over ?quota|quota (?:exceeded|is full)|insufficient (?:disk|storage)|storage limit|exceeded (?:its )?storage"),
        ("user_unknown", r"user (?:is )?unknown|unknown (?:user|recipient|address)|no such (?:user|recipient|mailbox|address|person)|does(?:n't| not) (?:exist|have)|(?:address|recipient|account|mailbox) (?:not found|unknown|rejected: undeliver|unavailable)|invalid (?:recipient|address|mailbox)|recipient ?not ?found|resolver\.adr"),
        ("mailbox_disabled", r"disabled|inactive|suspended|deactivated|no longer (?:valid|active|in use)"),
        ("host_unknown", r"(?:host|domain) (?:not found|unknown)|unknown (?:host|domain)|name service error|nxdomain|no mx|null mx"),
        ("message_too_big", r"too (?:big|large)|size limit|exceeds .{0,20}size"),
        ("content_rejected", r"spam|virus|malware|content (?:rejected|blocked)"),
        ("policy", r"blocked|blacklist|blocklist|block list|policy|not (?:allowed|permitted|authorized)|access denied|refused"),
        ("authentication_failed", r"dmarc|dkim|\bspf\b|unauthenticated"),
        ("rate_limited", r"rate limit|too many (?:messages|connections)|throttl|greylist|grey-list"),
        ("expired", r"expired|timed? ?out|retry timeout|could not be delivered within|delivery time"),
        ("network_problem", r"connection (?:refused|reset|lost)|network|unreachable|no route"),
        ("loop", r"mail loop|too many hops|loops back"),
    )
)  # fmt: skip
_PERMANENT_WORDS = frozenset({"user_unknown", "host_unknown", "mailbox_disabled", "user_moved"})
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_REPLY_CODE = re.compile(r"\b([245])\d\d\b")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^<>\s]{1,995}>)", re.IGNORECASE | re.MULTILINE)
_ADDRESS = re.compile(r"[^\s<>;,\"'()\[\]]{1,64}@[^\s<>;,\"'()\[\]]{1,255}")


def looks_like_report(parsed: ParsedMessage) -> bool:
    """A cheap look: only what passes is worth opening the structure for."""
    content_type = parsed.content_type
    if content_type == "multipart/report":
        return True
    if not content_type.startswith(("multipart/", "message/")):
        return False
    return b"essage/delivery-status" in parsed.content or b"essage/global-delivery-status" in parsed.content


def read_report(parsed: ParsedMessage, mail_from: str) -> DeliveryReport | None:
    """The report that the message is; None when it is none. Never raises."""
    if not looks_like_report(parsed):
        return None
    blocks = [
        block for kind in ("message/delivery-status", "message/global-delivery-status") for part in parsed.parts(kind)
        for block in _blocks(part)
    ]  # fmt: skip
    recipients: list[RecipientReport] = []
    for block in blocks[: MOST_RECIPIENTS + 1]:
        if (recipient := _recipient(block)) is not None and recipient not in recipients:
            recipients.append(recipient)
    if not recipients:
        return None
    return DeliveryReport(tuple(recipients), _original_message_id(parsed), ("message/delivery-status",))


def _blocks(part: Message) -> Iterable[Mapping[str, str]]:
    """The groups of fields of a report (RFC 3464 §2.1), whether the parser has opened them or not."""
    payload = part.get_payload()
    if isinstance(payload, list):
        for group in payload:
            if isinstance(group, Message):
                yield {name.lower(): decode_raw(str(value)) for name, value in group.items()}
        return
    content = part.get_payload(decode=True)
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(payload)
    for group_text in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        fields = {}
        for line in re.sub(r"\n[ \t]+", " ", group_text).split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                fields[name.strip().lower()] = value.strip()
        yield fields


def _recipient(fields: Mapping[str, str]) -> RecipientReport | None:
    if "final-recipient" not in fields and "original-recipient" not in fields:
        return None
    original, final = (_address(fields.get(name, "")) for name in ("original-recipient", "final-recipient"))
    # An alias may have been rewritten on the way: the original is whom we wrote to.
    address = original if original and is_valid_syntax(original) else final or original
    words = fields.get("action", "").strip().lower().split()
    action = words[0] if words and words[0] in ACTIONS else "failed"
    diagnostic = one_line(
        fields.get("diagnostic-code", "").partition(";")[2] or fields.get("diagnostic-code", ""), 1_000
    )
    status = _status(fields.get("status", ""), diagnostic)
    reason = _reason(status, diagnostic)
    return RecipientReport(
        address, action, _permanence(action, status, diagnostic, reason), status, reason, diagnostic or None
    )


def _address(value: str) -> str:
    """The address of `rfc822; anna@x.com` (or `utf-8;`), in lower case."""
    _, semicolon, rest = value.partition(";")
    found = _ADDRESS.search(rest if semicolon else value)
    return found[0].lower().rstrip(".") if found else one_line((rest if semicolon else value).strip(" <>"), 320).lower()


def _status(declared: str, diagnostic: str) -> str | None:
    found = _STATUS.search(declared)
    if found and found[0][1:] == ".0.0" and (better := _STATUS.search(diagnostic)):
        found = better
    found = found or _STATUS.search(diagnostic)
    return found[0] if found else None


def _permanence(action: str, status: str | None, diagnostic: str, reason: str) -> str:
    if action == "delayed":
        return "transient"
    if action != "failed":
        return "unknown"
    if status and status[0] in "45":
        # A server that gave up after days of trying says "failed" with the last transient code.
        return "permanent" if status[0] == "5" and reason != "mailbox_full" else "transient"
    code = _REPLY_CODE.search(diagnostic)
    if code:
        return "permanent" if code[1] == "5" and reason != "mailbox_full" else "transient"
    return "permanent" if reason in _PERMANENT_WORDS else "unknown"


def _reason(status: str | None, diagnostic: str) -> str:
    by_words = next((reason for reason, pattern in _BY_WORDS if pattern.search(diagnostic)), None)
    by_status = REASONS.get(status.partition(".")[2]) if status else None
    # The words of a server say more than a status that only means "policy" or "other".
    if by_words and (
        by_status is None or by_status in ("policy", "protocol_error", "mailbox_unavailable", "network_problem")
    ):
        return by_words
    return by_status or by_words or "undefined"


def _original_message_id(parsed: ParsedMessage) -> str | None:
    """The Message-ID of the mail that the report is about, out of what was returned of it."""
    for returned in parsed.attached_messages:
        if found := parse(returned).message_id:
            return found
    for kind in ("text/rfc822-headers", "message/rfc822-headers", "message/global-headers"):
        for part in parsed.parts(kind):
            content = part.get_payload(decode=True)
            if isinstance(content, bytes) and (match := _MESSAGE_ID.search(content)):
                return match[1].decode("ascii", "replace")
    return None
