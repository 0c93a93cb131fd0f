"""When two deliveries are one message: the same author, date, subject, Message-ID and body.

Trace fields (Received, Delivered-To, DKIM results) differ between the ways that a message came and do not count.
"""

from __future__ import annotations

import hashlib
import re

_END_OF_HEADER = re.compile(rb"\r?\n\r?\n")
_IDENTIFYING = frozenset({b"message-id", b"from", b"date", b"subject", b"auto-submitted"})


def split_header(content: bytes) -> tuple[bytes, bytes]:
    """Header block and body, the empty line between them dropped."""
    if content.startswith((b"\n", b"\r\n")):
        return b"", content.lstrip(b"\r\n")
    end = _END_OF_HEADER.search(content)
    return (content[: end.start()], content[end.end() :]) if end else (content, b"")


def content_key(content: bytes) -> str:
    """The key under which a message is kept: 64 hex digits, the same however the message came. Never raises."""
    header, body = split_header(content)
    digest = hashlib.sha256()
    counts = False
    for line in header.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if counts:
                digest.update(line.strip())
            continue
        counts = line.partition(b":")[0].strip().lower() in _IDENTIFYING
        if counts:
            digest.update(b"\n" + line.strip())
    digest.update(b"\n\n" + body.replace(b"\r\n", b"\n").rstrip(b"\n"))
    return digest.hexdigest()
