"""Opens the way out that the configuration names: a capture directory or a submission server."""

from __future__ import annotations

from collections.abc import Mapping

from agent.config import Settings
from mailflow.transport.outcome import Transport


def open_transport(settings: Settings, override: Mapping[str, object] | None) -> Transport:
    """The transport of the top level, or of an assistant that has its own."""
    outgoing = settings.outgoing_of(override)
    if outgoing.smtp is None:
        from mailflow.transport.capture import Capture

        return Capture(outgoing.capture)
    from mailflow.transport.submission import Submission

    smtp = outgoing.smtp
    return Submission(smtp.host, smtp.port, smtp.tls, smtp.username, smtp.password)
