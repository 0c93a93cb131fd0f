"""From bytes to a message that can be asked: header fields at once, the MIME structure only when somebody needs it.

Never raises on bad mail; what is wrong with it stands in `defects`. Time and memory are bounded.
"""

from __future__ import annotations

import binascii
import email
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TypeVar

from mailflow.address import parse_mailboxes
from mailflow.header_text import decode_bytes, decode_raw, decode_words, one_line
from mailflow.identity import content_key, split_header
from mailflow.message import Attachment
from state.lead import Mailbox

T = TypeVar("T")

MOST_PARTS = 1_000
MOST_NESTED = 60  # multiparts within each other; the parser recurses
MOST_FIELDS = 2_000
LONGEST_TEXT = 1_000_000  # characters of text that anybody looks at
LONGEST_FIELD = 262_144

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,995}>")
_BARE_ID = re.compile(r"^[^<>\s@]{1,500}@[^<>\s@]{1,490}$")
_COMMENT = re.compile(r"\([^()]{0,200}\)")
_BOUNDARY_LINES = re.compile(rb"\n--")
_NESTING = re.compile(rb"\n(?:[Cc]ontent-[Tt]ype|CONTENT-TYPE)[ \t]*:[ \t\r\n]*(?:multipart|message)/", re.IGNORECASE)
_FIELD_NAME = re.compile(rb"[!-9;-~]+[ \t]*\Z")


_STRUCTURAL = frozenset(
    {"content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"}
)


class ParsedMessage:
    """One message. Properties are worked out when they are first asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.defects: list[str] = []
        header, self._body = split_header(content)
        self._fields = _read_fields(header, self.defects)

    # -- header -------------------------------------------------------------------------------

    @property
    def has_header(self) -> bool:
        """Whether there is any header field at all."""
        return bool(self._fields)

    @property
    def field_names(self) -> list[str]:
        """Lower case, in order, repeated ones too."""
        return [name for name, _ in self._fields]

    def headers(self, name: str) -> list[str]:
        """The unfolded, otherwise raw values of a field (any case), topmost first."""
        wanted = name.lower()
        return [value for known, value in self._fields if known == wanted]

    def header(self, name: str) -> str | None:
        """The topmost value of a field, unfolded and otherwise raw; None when there is none."""
        wanted = name.lower()
        return next((value for known, value in self._fields if known == wanted), None)

    @cached_property
    def message_id(self) -> str | None:
        found = _MESSAGE_ID.search(self.header("message-id") or "")
        return found[0] if found else None

    @cached_property
    def in_reply_to(self) -> str | None:
        """RFC 5322 §3.6.4; some clients write it without angle brackets."""
        value = self.header("in-reply-to") or ""
        if found := _MESSAGE_ID.search(value):
            return found[0]
        return f"<{value.strip()}>" if _BARE_ID.match(value.strip()) else None

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The thread so far, oldest first; In-Reply-To counts as the newest. The first and the newest hundred."""
        found = [m for value in self.headers("references") for m in _MESSAGE_ID.findall(value)]
        if self.in_reply_to:
            found = [m for m in found if m != self.in_reply_to] + [self.in_reply_to]
        unique = tuple(dict.fromkeys(found))
        return unique if len(unique) <= 101 else (unique[0], *unique[-100:])

    @cached_property
    def date(self) -> datetime | None:
        """The Date field, aware; a zone of "-0000" or none is taken as UTC."""
        value = _COMMENT.sub(" ", self.header("date") or "").strip()
        if not value:
            return None
        try:
            at = parsedate_to_datetime(value[:100])
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            # A date that has no place in UTC is none that anything can be compared with.
            at.astimezone(UTC)
            return at
        except (ValueError, TypeError, IndexError, OverflowError):
            self._defect("date cannot be read")
            return None

    @cached_property
    def subject(self) -> str:
        return one_line(decode_words(self.header("subject") or ""))

    @cached_property
    def header_from(self) -> tuple[Mailbox, ...]:
        return self._mailboxes("from")

    @cached_property
    def reply_to(self) -> tuple[Mailbox, ...]:
        return self._mailboxes("reply-to")

    @cached_property
    def to(self) -> tuple[Mailbox, ...]:
        return self._mailboxes("to")

    @cached_property
    def cc(self) -> tuple[Mailbox, ...]:
        return self._mailboxes("cc")

    @property
    def author(self) -> Mailbox | None:
        """RFC 5598 §2.1.1: the first of From; where there is none, the Sender."""
        if self.header_from:
            return self.header_from[0]
        sender = self._mailboxes("sender") if not self.headers("from") else ()
        return sender[0] if sender else None

    def _mailboxes(self, name: str) -> tuple[Mailbox, ...]:
        values = self.headers(name)
        return parse_mailboxes(*values) if values else ()

    @cached_property
    def content_type(self) -> str:
        """Lower case, without parameters; `text/plain` when there is none (RFC 2045 §5.2)."""
        value = (self.header("content-type") or "").partition(";")[0].strip().lower()
        return value if value.count("/") == 1 and " " not in value else "text/plain"

    @cached_property
    def content_key(self) -> str:
        return content_key(self.content)

    # -- structure ----------------------------------------------------------------------------

    @cached_property
    def structure(self) -> Message:
        """The MIME structure; a single text part when the real one is absurd."""
        if (
            len(_BOUNDARY_LINES.findall(self.content)) > 2 * MOST_PARTS
            or len(_NESTING.findall(self.content)) > MOST_NESTED
        ):
            self._defect("too many parts")
            return self._as_text()
        try:
            # The structure needs no field but these; the others are read already.
            fields = "".join(f"{n}: {v}\r\n" for n, v in self._fields if n in _STRUCTURAL)
            return email.message_from_bytes(fields.encode("utf-8", "replace") + b"\r\n" + self._body)
        except (ValueError, TypeError, LookupError, AttributeError, IndexError, RecursionError) as fault:
            self._defect(f"structure: {type(fault).__name__}")
            return self._as_text()

    def _as_text(self) -> Message:
        plain = Message()
        plain["Content-Type"] = "text/plain"
        plain.set_payload(self._body[: 4 * LONGEST_TEXT].decode("ascii", "surrogateescape"))
        return plain

    @cached_property
    def _bodies(self) -> list[_Body]:
        return list(_find_bodies(self.structure))

    @cached_property
    def text(self) -> str:
        """The text as a person reads it: plain where there is plain, else made from HTML."""
        quick = _quick_text(self._fields, self._body)
        if quick is not None and quick.strip():
            return quick[:LONGEST_TEXT]
        pieces = [body.plain if body.plain and body.plain.strip() else _html_text(body.html) for body in self._bodies]
        return "\n".join(piece for piece in pieces if piece)[:LONGEST_TEXT]

    @cached_property
    def html(self) -> str | None:
        pieces = [body.html for body in self._bodies if body.html]
        return "\n".join(pieces)[:LONGEST_TEXT] if pieces else None

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """Every part that is no text of the mail itself, attached messages excepted."""
        return tuple(
            _attachment(part) for part in _leaves(self.structure) if not _is_text(part) and not _is_message(part)
        )

    @cached_property
    def attached_messages(self) -> tuple[bytes, ...]:
        """Whole messages attached as message/rfc822, as bytes."""
        found = []
        for part in _leaves(self.structure):
            payload = part.get_payload() if _is_message(part) else None
            if isinstance(payload, list) and payload and isinstance(payload[0], Message):
                content = _safely(payload[0].as_bytes, b"")
                if content:
                    found.append(content)
        return tuple(found)

    def parts(self, content_type: str) -> Iterator[Message]:
        """The parts of a type at any depth, attached messages not opened."""
        return (part for part in _leaves(self.structure) if _type_of(part) == content_type)

    def _defect(self, what: str) -> None:
        if what not in self.defects:
            self.defects.append(what)


def parse(content: bytes) -> ParsedMessage:
    """Read a message. Never raises."""
    return ParsedMessage(content)


def _read_fields(header: bytes, defects: list[str]) -> list[tuple[str, str]]:
    """Header fields in order, unfolded (RFC 5322 §2.2.3), names in lower case, without controls."""
    fields: list[tuple[str, list[bytes]]] = []
    for number, line in enumerate(header.split(b"\n")):
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):
            if fields:
                fields[-1][1].append(line)
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _FIELD_NAME.match(name):
            if number == 0 and line.startswith((b"From ", b">From ")):
                continue  # mbox's own line
            if line.strip():
                defects.append("a header line that is no field")
            continue
        if len(fields) >= MOST_FIELDS:
            defects.append("too many header fields")
            break
        fields.append((name.strip().decode("ascii").lower(), [value]))
    return [(name, _field_value(values)) for name, values in fields]


def _field_value(lines: list[bytes]) -> str:
    raw = (lines[0] if len(lines) == 1 else b"".join(lines))[:LONGEST_FIELD]
    try:
        value = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        value = decode_bytes(raw).strip()
    if value.isprintable():
        return value
    if "\t" in value:  # folded by a tab, as many do
        value = value.replace("\t", " ")
        if value.isprintable():
            return value
    return "".join(c if c.isprintable() else " " for c in value).strip()


# -- the common case, without the structure -----------------------------------------------------

_PARAMETER = re.compile(r";\s*(charset|boundary)\s*=\s*(?:\"([^\"]+)\"|([^\s;\"]+))", re.IGNORECASE)


def _quick_text(fields: list[tuple[str, str]], body: bytes) -> str | None:
    """The plain text of a single text part, or of an alternative that begins with one; None for anything else.

    Nearly every mail is one of these, and to split it takes a tenth of what a whole parse does.
    """
    header = dict(reversed(fields))
    content_type = header.get("content-type", "text/plain")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/plain":
        return None if "content-disposition" in header else _quick_decoded(header, content_type, body)
    if kind != "multipart/alternative":
        return None
    boundary = {name.lower(): a or b for name, a, b in _PARAMETER.findall(content_type)}.get("boundary")
    if not boundary or not boundary.isascii():
        return None
    mark = b"--" + boundary.encode()
    _, opened, rest = (b"\n" + body).partition(b"\n" + mark)
    line, _, rest = rest.partition(b"\n")
    part, closed, _ = (b"\n" + rest).partition(b"\n" + mark)
    if not opened or not closed or line.strip():
        return None
    head, content = split_header(part[1:])
    inner = dict(reversed(_read_fields(head, [])))
    inner_type = inner.get("content-type", "text/plain")
    if inner_type.partition(";")[0].strip().lower() != "text/plain" or "content-disposition" in inner:
        return None
    return _quick_decoded(inner, inner_type, content)


def _quick_decoded(header: dict[str, str], content_type: str, content: bytes) -> str | None:
    content = content[: 4 * LONGEST_TEXT]
    match header.get("content-transfer-encoding", "7bit").strip().lower():
        case "7bit" | "8bit" | "binary":
            pass
        case "quoted-printable":
            content = binascii.a2b_qp(content)
        case _:
            return None
    charset = next((a or b for name, a, b in _PARAMETER.findall(content_type) if name.lower() == "charset"), None)
    return _tidy(decode_bytes(content, charset))


def _tidy(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


# -- bodies and attachments -----------------------------------------------------------------------


class _Body:
    __slots__ = ("html", "plain")

    def __init__(self, plain: str | None, html: str | None) -> None:
        self.plain = plain
        self.html = html


def _find_bodies(part: Message, depth: int = 0) -> Iterator[_Body]:
    """The mail's own text, one body for each piece; the versions of an alternative are one body."""
    kind = _type_of(part)
    if depth > MOST_NESTED or kind in _MESSAGES:
        return
    if part.is_multipart():
        children = part.get_payload()
        inner = [body for child in children if isinstance(child, Message) for body in _find_bodies(child, depth + 1)]
        if kind == "multipart/alternative" and inner:
            plain = next((body.plain for body in inner if body.plain is not None), None)
            html = [body.html for body in inner if body.html is not None]
            yield _Body(plain, "\n".join(html) if html else None)
        else:
            yield from inner
    elif kind in _TEXTS and not _is_attached(part):
        text = _decoded(part)
        yield _Body(None, text) if kind == "text/html" else _Body(text, None)


def _leaves(part: Message, depth: int = 0) -> Iterator[Message]:
    """Parts without parts; an attached message or report is one of them and not opened."""
    children = part.get_payload()
    if part.is_multipart() and isinstance(children, list) and not _is_message(part) and depth <= MOST_NESTED:
        if _type_of(part).startswith("message/"):
            yield part
            return
        for child in children:
            if isinstance(child, Message):
                yield from _leaves(child, depth + 1)
    else:
        yield part


_MESSAGES = frozenset({"message/rfc822", "message/global", "message/news"})
_TEXTS = frozenset({"text/plain", "text/html", "text/enriched"})


def _is_message(part: Message) -> bool:
    return _type_of(part) in _MESSAGES


def _is_text(part: Message) -> bool:
    return _type_of(part) in _TEXTS and not part.is_multipart() and not _is_attached(part)


def _is_attached(part: Message) -> bool:
    """Whether a text part stands beside the mail's text rather than in it (RFC 2183)."""
    disposition = str(part.get("Content-Disposition", "")).strip().lower()
    return disposition.startswith("attachment") or bool(disposition and _filename(part))


def _type_of(part: Message) -> str:
    return _safely(part.get_content_type, "text/plain")


def _filename(part: Message) -> str:
    name = _safely(part.get_filename, None) or ""
    return one_line(decode_words(decode_raw(name)), 200)


def _decoded(part: Message) -> str:
    content = _content(part)
    charset = _safely(part.get_content_charset, None)
    if content is None:
        return ""
    return _tidy(decode_bytes(content[: 4 * LONGEST_TEXT], charset))


def _attachment(part: Message) -> Attachment:
    content = _content(part)
    if content is None:  # a report's blocks of fields, parsed as messages of their own
        content = _safely(part.as_bytes, b"")
    disposition = str(part.get("Content-Disposition", "")).strip().lower()
    content_id = str(part.get("Content-ID", "")).strip().strip("<>") or None
    return Attachment(_filename(part), _type_of(part), content, disposition.startswith("inline"), content_id)


def _content(part: Message) -> bytes | None:
    """A part's decoded bytes; None for one that has parts itself."""
    content: object = _safely(lambda: part.get_payload(decode=True), None)
    return content if isinstance(content, bytes) else None


def _html_text(html: str | None) -> str:
    if not html:
        return ""
    from mailflow.html_text import to_text

    return to_text(html)


def _safely(read: Callable[[], T], otherwise: T) -> T:
    """The standard library raises on some parameters and encodings; a mail must not."""
    try:
        return read()
    except (ValueError, TypeError, LookupError, AttributeError, IndexError, RecursionError, AssertionError):
        return otherwise
