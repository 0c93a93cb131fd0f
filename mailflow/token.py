"""Names and proofs that travel in mails: envelope tokens, link tokens, Message-IDs, address keys.

All of them are made with one secret, each for one purpose only (a key derived per purpose),
so that a token of one kind is never taken for another.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

MAC_BYTES = 8  # a guess is right once in 2**64 tries, and each try is a mail
BOUNCE_MARK = "b"  # first letter of the suffix of an envelope sender


def _mac(secret: str, purpose: str, message: bytes) -> bytes:
    return hmac.new(f"{purpose}\0{secret}".encode(), message, hashlib.sha256).digest()


def address_key(secret: str, organisation_id: int, address: str) -> str:
    """The keyed hash by which a suppressed address is known even after its erasure."""
    return _mac(secret, "suppression", f"{organisation_id}\0{address.lower()}".encode()).hex()


def message_id(secret: str, outbox_key: str, domain: str) -> str:
    """The Message-ID of the mail with this outbox key: the same at every attempt, unguessable from outside."""
    digest = base64.b32encode(_mac(secret, "message-id", outbox_key.encode())[:15]).decode().lower()
    return f"<{digest}@{domain}>"


def envelope_sender(secret: str, address: str, outbox_id: int) -> str:
    """`local+TOKEN@domain`: what a delivery report comes back to (VERP).

    Base32 in lower case, since some servers change the case of a local part.
    """
    local, _, domain = address.rpartition("@")
    number = outbox_id.to_bytes(max(1, (outbox_id.bit_length() + 7) // 8), "big")
    mac = _mac(secret, "bounce", number + local.partition("+")[0].lower().encode())[:MAC_BYTES]
    token = base64.b32encode(mac + number).decode().lower().rstrip("=")
    return f"{local}+{BOUNCE_MARK}{token}@{domain}"


def read_envelope_token(secret: str, address: str) -> int | None:
    """The outbox id in an address that `envelope_sender` made, in any case; None for any other address."""
    local, _, _ = address.lower().rpartition("@")
    name, plus, suffix = local.partition("+")
    if not plus or not suffix.startswith(BOUNCE_MARK):
        return None
    body = suffix[len(BOUNCE_MARK) :].upper()
    try:
        decoded = base64.b32decode(body + "=" * (-len(body) % 8))
    except ValueError:
        return None
    mac, number = decoded[:MAC_BYTES], decoded[MAC_BYTES:]
    if not number or len(number) > 8:
        return None
    if not hmac.compare_digest(mac, _mac(secret, "bounce", number + name.encode())[:MAC_BYTES]):
        return None
    return int.from_bytes(number, "big")


@dataclass(frozen=True, slots=True)
class Link:
    """What a one-click link stands for: one action, on one lead, for one user (0: the lead itself)."""

    action: str  # unsubscribe | name | sequence | stop | not_at_risk
    lead_id: int
    user_id: int = 0


def link_token(secret: str, link: Link, expires: datetime | None) -> str:
    """A signed, URL-safe token. `expires` None is for unsubscribing, which must always work."""
    from itsdangerous import URLSafeSerializer

    until = int(expires.timestamp()) if expires else 0
    token = URLSafeSerializer(secret, salt="link").dumps([link.action, link.lead_id, link.user_id, until])
    return token.decode() if isinstance(token, bytes) else token


def read_link_token(secret: str, token: str, now: datetime) -> Link | None:
    """What the token stands for; None when it is forged, broken or past its time."""
    from itsdangerous import BadData, URLSafeSerializer

    try:
        payload = URLSafeSerializer(secret, salt="link").loads(token)
    except BadData:
        return None
    match payload:
        case [str(action), int(lead_id), int(user_id), int(until)]:
            return None if until and now.timestamp() > until else Link(action, lead_id, user_id)
    return None


def tokens_of(secret: str, addresses: tuple[str, ...]) -> tuple[int, ...]:
    """The outbox ids named by any of these recipient addresses, in their order."""
    found = (read_envelope_token(secret, address) for address in addresses)
    return tuple(dict.fromkeys(number for number in found if number is not None))
