"""Mail out by a submission server (RFC 6409), over a connection that is kept per thread."""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Sequence
from typing import NamedTuple

from mailflow.transport.outcome import Accepted, Copy, Outcome, Rejected, Uncertain, Unsent

TIMEOUT = 60.0  # seconds; RFC 5321 §4.5.3.2 asks for more, but a worker must not hang for ten minutes


class Submission:
    """`tls`: none | starttls | implicit."""

    def __init__(self, host: str, port: int, tls: str, username: str | None, password: str | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._username, self._password = username, password
        self._kept = threading.local()

    def send_many(self, copies: Sequence[Copy]) -> list[Outcome]:
        return [self._send(copy) for copy in copies]

    def find_sent(self, message_id: str, rcpt_to: Sequence[str]) -> bool | None:
        return None  # a submission server keeps nothing that could be asked

    def _send(self, copy: Copy) -> Outcome:
        was_kept = getattr(self._kept, "smtp", None) is not None
        outcome = self._attempt(copy)
        if was_kept and isinstance(outcome, Unsent):
            # The server may have closed an idle connection; nothing was sent on it.
            return self._attempt(copy)
        return outcome

    def _attempt(self, copy: Copy) -> Outcome:
        try:
            smtp = self._connection()
            options = ["smtputf8"] if smtp.has_extn("smtputf8") and not _is_ascii(copy) else []
            if not options and smtp.has_extn("8bitmime") and not copy.content.isascii():
                options = ["body=8bitmime"]
            refusal = self._open(smtp, copy, options)
            if refusal is not None:
                return self._refused(smtp, *refusal)
        except smtplib.SMTPAuthenticationError as fault:
            self._drop()
            return Unsent(
                f"{self._host}: the server does not take outgoing.smtp's username and password ({fault.smtp_code})"
            )
        except (smtplib.SMTPException, OSError, UnicodeError) as fault:
            self._drop()
            return Unsent(f"{self._host}:{self._port}: {fault}")
        # From here on nobody can know whether the mail arrives until the server has answered.
        try:
            smtp.send(_quoted(copy.content))
            code, reply = smtp.getreply()
        except (smtplib.SMTPException, OSError) as fault:
            self._drop()
            return Uncertain(f"{self._host}:{self._port}: {fault}")
        if code == 250:
            return Accepted(reply.decode("ascii", "replace"))
        return self._refused(smtp, code, reply)

    def _open(self, smtp: smtplib.SMTP, copy: Copy, options: list[str]) -> _Refusal | None:
        """Everything before the mail's text; the server's refusal when it takes no recipient."""
        commands = [
            " ".join([f"MAIL FROM:<{copy.mail_from}>", *options]),
            *(f"RCPT TO:<{address}>" for address in copy.rcpt_to),
            "DATA",
        ]
        if any("\r" in command or "\n" in command for command in commands):
            return _Refusal(550, b"an address with a line break", about_recipient=True)
        encoding = "utf-8" if "smtputf8" in options else "ascii"
        replies: list[tuple[int, bytes]] = []
        if smtp.has_extn("pipelining"):  # RFC 2920: one round trip for all of them
            smtp.send("".join(f"{command}\r\n" for command in commands).encode(encoding))
            replies = [smtp.getreply() for _ in commands]
        else:
            for command in commands:
                if command == "DATA" and (bad := _refusal(replies)):
                    return bad
                smtp.send(f"{command}\r\n".encode(encoding))
                replies.append(smtp.getreply())
                if replies[0][0] != 250:
                    return _Refusal(*replies[0])
        bad = _refusal(replies[:-1])
        code, reply = replies[-1]
        if code != 354:
            return bad or _Refusal(code, reply)
        if bad:
            smtp.send(b".\r\n")  # RFC 2920 §3.1: a server may say 354 even so; nobody is to get anything
            smtp.getreply()
        return bad

    def _connection(self) -> smtplib.SMTP:
        kept: smtplib.SMTP | None = getattr(self._kept, "smtp", None)
        if kept is not None:
            return kept
        if self._tls == "implicit":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=TIMEOUT, context=ssl.create_default_context()
            )
        else:
            smtp = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT)
            if self._tls == "starttls":
                smtp.starttls(context=ssl.create_default_context())
        smtp.ehlo_or_helo_if_needed()
        if self._username and self._password:
            smtp.login(self._username, self._password)
        self._kept.smtp = smtp
        return smtp

    def _refused(self, smtp: smtplib.SMTP, code: int, reply: bytes, about_recipient: bool = False) -> Outcome:
        text = f"{code} {reply.decode('ascii', 'replace')}"[:500]
        if code == 421 or code == -1:  # RFC 5321 §3.8: the server is closing the connection
            self._drop()
            return Unsent(text)
        try:
            smtp.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()
        return Rejected("permanent" if 500 <= code < 600 else "transient", text, about_recipient)

    def _drop(self) -> None:
        kept: smtplib.SMTP | None = getattr(self._kept, "smtp", None)
        self._kept.smtp = None
        if kept is not None:
            kept.close()


class _Refusal(NamedTuple):
    code: int
    reply: bytes
    about_recipient: bool = False


def _refusal(replies: list[tuple[int, bytes]]) -> _Refusal | None:
    """Why nobody gets the mail: the sender or every recipient was refused."""
    if replies[0][0] != 250:
        return _Refusal(*replies[0])
    if any(code in (250, 251) for code, _ in replies[1:]):
        return None
    code, reply = replies[-1]
    # RFC 3463 §3.8: 5.7.x is the server's policy (no relaying, blocked), which says nothing about the address.
    return _Refusal(code, reply, about_recipient=not reply.startswith(b"5.7."))


def _quoted(content: bytes) -> bytes:
    """RFC 5321 §4.5.2: dots doubled, ended by a line with a dot."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")


def _is_ascii(copy: Copy) -> bool:
    return copy.mail_from.isascii() and all(address.isascii() for address in copy.rcpt_to)
