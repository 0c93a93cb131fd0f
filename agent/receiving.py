"""`relance receive`: messages from a pipe, with the exit codes that Postfix and Exim understand."""

from __future__ import annotations

import sys
from datetime import datetime

from agent import dispatch, ingest
from agent.context import Context
from mailflow.message import Envelope, RawMessage
from mailflow.parse import parse

EX_OK = 0  # sysexits.h
EX_DATAERR = 65
EX_NOUSER = 67


def receive_messages(
    context: Context, contents: list[bytes], mail_from: str, rcpt_to: tuple[str, ...], at: datetime
) -> int:
    """Store and process messages, and deliver what they caused for this moment. Returns the exit code.

    With several messages each stands for itself: the code is that of the last one that was refused.
    """
    unknown = [address for address in rcpt_to if context.directory.find_by_recipient(address) is None]
    if len(unknown) == len(rcpt_to):
        print(f"No such assistant: {', '.join(unknown)}", file=sys.stderr)
        return EX_NOUSER
    code = EX_OK
    accepted: list[RawMessage] = []
    for content in contents:
        if fault := _refusal(content, context.settings.listener.max_size):
            print(fault, file=sys.stderr)
            code = EX_DATAERR
        else:
            envelope = Envelope(mail_from.strip("<>"), rcpt_to)
            accepted.append(RawMessage(envelope, content, at, "receive"))
    if accepted:
        stored = ingest.store_messages(context, accepted)
        ids = [entry.id for entries in stored for entry in entries if not entry.duplicate]
        done = ingest.process(context, ids)
        dispatch.deliver_these(context, list(done.outbox_ids), at)
    return code


def _refusal(content: bytes, max_size: int) -> str | None:
    if not content.strip():
        return "The message is empty."
    if len(content) > max_size:
        return f"The message has {len(content)} bytes; the limit (listener.max_size) is {max_size}."
    if not parse(content).has_header:
        return "The message has no header field."
    return None
