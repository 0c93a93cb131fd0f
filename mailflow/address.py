"""Addresses and lists of mailboxes (RFC 5322 §3.4) as they are found in the wild.

Neither flanker nor `email.utils` reads what clients write: the one rejects a list for one bad entry,
groups and unquoted "Last, First", the other makes addresses of broken names. So one linear scan here.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

from mailflow.header_text import decode_raw, decode_words, one_line
from state.lead import Mailbox

MAX_MAILBOXES = 2_000
_MAX_LIST = 262_144  # characters of one header value
_MAX_NAME = 256

_PLAIN = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_OBVIOUS = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*@(?:[a-z0-9]{1,60}\.)+[a-z]{2,20}", re.ASCII)
# Possessive, so that an unclosed quote fails in linear time.
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ANGLE = re.compile(r"<([^<>]*+)>")
_OPEN_ANGLE = re.compile(r"<([^<>,;]*+)")
_SPECIAL = re.compile(r'["\\()<>,;:]')
_PAREN = re.compile(r"\\.|[()]", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ADDRESS = re.compile(
    r'("(?:[^"\\]++|\\.)*+"|[^\s"<>()\[\],;:@\\]++)@(\[[0-9A-Za-z.:]++\]|[^\s"<>()\[\],;:@\\]++)',
    re.DOTALL,
)
_LOOSE_DOTS = re.compile(r"\s*+([@.])\s*+")
_WORD_CHARACTER = re.compile(r"[^\W\d_]")

# Senders that no person reads. sales@ and info@ are none of these: people answer there.
_ROLE = re.compile(
    r"(?:.*[._+-])?(?:"
    r"no[._-]?reply|do[._-]?not[._-]?reply|dont[._-]?reply|never[._-]?reply|no[._-]?response|"
    r"nicht[._-]?antworten|keine[._-]?antwort|ne[._-]?pas[._-]?repondre|no[._-]?responder|no[._-]?responda|"
    r"non[._-]?rispondere|nao[._-]?responda|nao[._-]?responder|niet[._-]?beantwoorden|geen[._-]?antwoord"
    r")(?:[._+-].*|\d*)"
    r"|mailer[._-]?daemon|postmaster|hostmaster|abuse|bounces?(?:[._+-].*)?|.*[._+-]bounces?|"
    r"majordomo|listserv|mail-?daemon|(?:.*-)?unsubscribe|undisclosed[._-]?recipients?"
)

# Providers at which anybody has an address: a shared domain says nothing about a shared company.
# The large ones by number of users, and their national twins; disposable providers are another list.
FREEMAIL = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "outlook.de",
        "outlook.fr",
        "outlook.es",
        "outlook.it",
        "outlook.in",
        "outlook.jp",
        "hotmail.com",
        "hotmail.co.uk",
        "hotmail.de",
        "hotmail.fr",
        "hotmail.it",
        "hotmail.es",
        "hotmail.nl",
        "live.com",
        "live.co.uk",
        "live.de",
        "live.fr",
        "live.nl",
        "live.it",
        "live.in",
        "msn.com",
        "passport.com",
        "windowslive.com",
        "yahoo.com",
        "yahoo.co.uk",
        "yahoo.de",
        "yahoo.fr",
        "yahoo.it",
        "yahoo.es",
        "yahoo.in",
        "yahoo.co.in",
        "yahoo.co.jp",
        "yahoo.com.br",
        "yahoo.ca",
        "yahoo.com.au",
        "yahoo.com.mx",
        "yahoo.co.id",
        "ymail.com",
        "rocketmail.com",
        "myyahoo.com",
        "icloud.com",
        "me.com",
        "mac.com",
        "aol.com",
        "aim.com",
        "proton.me",
        "protonmail.com",
        "protonmail.ch",
        "pm.me",
        "tutanota.com",
        "tutanota.de",
        "tuta.io",
        "tuta.com",
        "gmx.de",
        "gmx.net",
        "gmx.com",
        "gmx.at",
        "gmx.ch",
        "web.de",
        "freenet.de",
        "t-online.de",
        "arcor.de",
        "online.de",
        "mailbox.org",
        "posteo.de",
        "email.de",
        "bluewin.ch",
        "hispeed.ch",
        "aon.at",
        "orange.fr",
        "wanadoo.fr",
        "free.fr",
        "laposte.net",
        "sfr.fr",
        "neuf.fr",
        "bbox.fr",
        "libero.it",
        "virgilio.it",
        "tiscali.it",
        "alice.it",
        "tin.it",
        "fastwebnet.it",
        "ziggo.nl",
        "kpnmail.nl",
        "planet.nl",
        "xs4all.nl",
        "home.nl",
        "hetnet.nl",
        "telenet.be",
        "skynet.be",
        "terra.com.br",
        "uol.com.br",
        "bol.com.br",
        "ig.com.br",
        "sapo.pt",
        "btinternet.com",
        "sky.com",
        "virginmedia.com",
        "ntlworld.com",
        "talktalk.net",
        "comcast.net",
        "verizon.net",
        "att.net",
        "sbcglobal.net",
        "bellsouth.net",
        "cox.net",
        "charter.net",
        "earthlink.net",
        "rogers.com",
        "shaw.ca",
        "bigpond.com",
        "optusnet.com.au",
        "mail.ru",
        "bk.ru",
        "list.ru",
        "inbox.ru",
        "yandex.ru",
        "yandex.com",
        "ya.ru",
        "rambler.ru",
        "ukr.net",
        "wp.pl",
        "o2.pl",
        "onet.pl",
        "interia.pl",
        "seznam.cz",
        "centrum.cz",
        "abv.bg",
        "mail.com",
        "email.com",
        "fastmail.com",
        "fastmail.fm",
        "hushmail.com",
        "inbox.com",
        "zoho.com",
        "zohomail.com",
        "zohomail.in",
        "rediffmail.com",
        "rediff.com",
        "indiatimes.com",
        "sify.com",
        "qq.com",
        "vip.qq.com",
        "foxmail.com",
        "163.com",
        "126.com",
        "yeah.net",
        "sina.com",
        "sina.cn",
        "sohu.com",
        "aliyun.com",
        "139.com",
        "189.cn",
        "naver.com",
        "daum.net",
        "hanmail.net",
        "kakao.com",
        "nate.com",
        "docomo.ne.jp",
        "ezweb.ne.jp",
        "softbank.ne.jp",
        "nifty.com",
        "hey.com",
        "duck.com",
        "mozmail.com",
        "privaterelay.appleid.com",
        "pobox.com",
    ]
)


@dataclass(slots=True)
class _Entry:
    """What was read since the last separator."""

    phrase: list[tuple[str, bool]] = field(default_factory=list)  # text, was quoted
    raw: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    address: str | None = None


def parse_mailboxes(*values: str) -> tuple[Mailbox, ...]:
    """Every mailbox of header values, in order; groups are flattened, entries without a domain left out.

    Values are unfolded and otherwise raw: encoded words are decoded here, after the commas are read.
    At most `MAX_MAILBOXES`. Never raises; linear time.
    """
    found: list[Mailbox] = []
    for value in values:
        if _PLAIN.fullmatch(value):
            if address := _checked(value):
                found.append(Mailbox("", address))
        else:
            _Scan(value[:_MAX_LIST], found).run()
        if len(found) >= MAX_MAILBOXES:
            break
    return tuple(found[:MAX_MAILBOXES])


class _Scan:
    def __init__(self, value: str, found: list[Mailbox]) -> None:
        self.value = value
        self.found = found
        self.entry = _Entry()
        self.pending: list[str] = []  # "Last" of an unquoted "Last, First <a@b>"

    def run(self) -> None:
        value, at = self.value, 0
        quotes = comments = True  # until one turns out to be unclosed: then the sign is but a sign
        while len(self.found) < MAX_MAILBOXES:
            special = _SPECIAL.search(value, at)
            if special is None:
                self._text(value[at:])
                break
            start = special.start()
            self._text(value[at:start])
            at = start + 1
            sign = special[0]
            if sign == '"' and quotes and (quoted := _QUOTED.match(value, start)):
                self._quoted(quoted)
                at = quoted.end()
            elif sign == "(" and comments and (end := _end_of_comment(value, start)):
                self.entry.comments.append(value[start + 1 : end - 1])
                at = end
            elif sign == "<":
                angle = _ANGLE.match(value, start) or _OPEN_ANGLE.match(value, start)
                assert angle is not None
                self._angle(angle[1])
                at = angle.end()
            elif sign in ",;":
                self._end(sign)
            elif sign == ":":
                self._colon()
            elif sign == "\\" and at < len(value):
                self._text(value[at])
                at += 1
            elif sign == '"':
                quotes = False
            elif sign == "(":
                comments = False
                self._text(" ")
            else:  # a stray ")" or ">"
                self._text(" ")
        self._end(";")

    def _text(self, text: str) -> None:
        if text:
            self.entry.phrase.append((text, False))
            self.entry.raw.append(text)

    def _quoted(self, quoted: re.Match[str]) -> None:
        self.entry.phrase.append((_ESCAPE.sub(r"\1", quoted[1]), True))
        self.entry.raw.append(quoted[0])

    def _angle(self, content: str) -> None:
        address = _angle_address(content)
        if address is None:
            self._text(content)  # "<Steve Jobs> <steve@x.com>"
            return
        if self.entry.address is not None:
            self._end(";")
        self.entry.address = address

    def _colon(self) -> None:
        if self.entry.address is None and not any("@" in text for text, _ in self.entry.phrase):
            self.entry = _Entry()  # RFC 5322 §3.4: the name of a group
            self.pending.clear()
        else:
            self._text(":")

    def _end(self, sign: str) -> None:
        entry, self.entry = self.entry, _Entry()
        if entry.address is not None:
            name = _phrase(entry)
            was_quoted = any(quoted for _, quoted in entry.phrase)
            if self.pending and not was_quoted:
                name = ", ".join([*self.pending, name] if name else self.pending)
            if not name and entry.comments:
                name = _comment_name(entry.comments)
            self.found.append(Mailbox(name, entry.address))
            self.pending.clear()
            return
        raw = "".join(entry.raw).strip()
        if "@" in raw:
            if box := _bare(raw, entry.comments):
                self.found.append(box)
            self.pending.clear()
        elif sign == "," and (name := _phrase(entry)) and len(self.pending) < 2 and _WORD_CHARACTER.search(name):
            self.pending.append(name)
        elif raw or sign == ";":
            self.pending.clear()


def _end_of_comment(value: str, start: int) -> int:
    """Index behind the comment that opens at `start` (they nest); 0 when it is never closed."""
    depth = 0
    for sign in _PAREN.finditer(value, start):
        if sign[0] == "(":
            depth += 1
        elif sign[0] == ")":
            depth -= 1
            if depth == 0:
                return sign.end()
    return 0


def _angle_address(content: str) -> str | None:
    content = content.strip()
    if "=?" not in content and (direct := _checked(content)):
        return direct
    if content.startswith("@") and ":" in content:
        content = content.rpartition(":")[2]  # RFC 5322 §4.4: obsolete source route
    if content[:7].lower() == "mailto:":
        content = content[7:]
    content = re.sub(r"\([^()]*+\)", "", content)
    content = _LOOSE_DOTS.sub(r"\1", decode_words(content)).strip(" \t\r\n'")
    return _checked(content)


def _bare(raw: str, comments: list[str]) -> Mailbox | None:
    """An entry without angle brackets: `a@b`, `a@b (Name)`, `Name a@b`."""
    name = _comment_name(comments) if comments else ""
    raw = decode_words(raw).strip("'` \t\r\n")
    if address := _checked(raw) or _checked(_LOOSE_DOTS.sub(r"\1", raw)):
        return Mailbox(name, address)
    words = raw.split()
    addresses = [word for word in words if "@" in word and "." in word.rpartition("@")[2].strip(".")]
    if len(addresses) == 1 and addresses[0] in (words[0], words[-1]) and (address := _checked(addresses[0])):
        rest = " ".join(word for word in words if word is not addresses[0])
        return Mailbox(_clean_name(rest) or name, address)
    return None


def _checked(address: str) -> str | None:
    """The address in normal form when it has a local part and a domain."""
    if len(address) > 320 or not (match := _ADDRESS.fullmatch(address)):
        return None
    domain = match[2]
    if domain.startswith(".") or ".." in domain or not domain.strip("."):
        return None
    return normalise(address)


def _phrase(entry: _Entry) -> str:
    if len(entry.phrase) == 1:
        return _clean_name(entry.phrase[0][0])
    bare = any(text.strip() for text, quoted in entry.phrase if not quoted)
    # `Matt "The Boss" Miller`: within a longer phrase the quotes mark a nickname.
    return _clean_name("".join(f'"{text}"' if quoted and bare else text for text, quoted in entry.phrase))


def _comment_name(comments: list[str]) -> str:
    name = _clean_name(_ESCAPE.sub(r"\1", comments[0]))
    return "" if "@" in name else name


def _clean_name(name: str) -> str:
    name = one_line(decode_words(decode_raw(name)), _MAX_NAME)
    if "=?" in name and "?=" in name:  # encoded twice
        name = one_line(decode_words(name), _MAX_NAME)
    for quote in "'\"":
        if len(name) > 2 and name[0] == quote == name[-1] and quote not in name[1:-1]:
            name = name[1:-1].strip()
    return name


def normalise(address: str) -> str:
    """The form by which addresses are compared, stored and written to.

    Lower case, without <> and blanks, the domain as A-labels (RFC 5890), so that `anna@müller.de` and
    `anna@xn--mller-kva.de` are one, and a server without SMTPUTF8 can be told of it.
    """
    address = address.strip().removeprefix("<").removesuffix(">").strip().lower()
    local, at, domain = address.rpartition("@")
    domain = domain.rstrip(".") or domain
    if address.isascii():
        return f"{local}{at}{domain}"
    import unicodedata

    local = unicodedata.normalize("NFC", decode_raw(local))
    if not domain.isascii():
        import idna

        domain = unicodedata.normalize("NFC", decode_raw(domain))
        with contextlib.suppress(UnicodeError, ValueError):
            domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local}{at}{domain}"


def is_valid_syntax(address: str) -> bool:
    """Could mail be sent there (RFC 5321, 6531)? Asks nobody; a domain needs a dot, whatever its top level is."""
    if not _PLAIN.fullmatch(address) and not _ADDRESS.fullmatch(address):
        return False
    if "." not in domain_of(address) and not domain_of(address).startswith("["):
        return False
    if _OBVIOUS.fullmatch(address) and len(address) < 200:
        return True  # nearly every address: the library below takes long to import
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(
            address,
            check_deliverability=False,
            globally_deliverable=False,
            allow_quoted_local=True,
            strict=True,
        )
    except (EmailNotValidError, ValueError):
        return False
    return True


def domain_of(address: str) -> str:
    """The part behind the last @, lower case; "" when there is none."""
    return address.rpartition("@")[2].strip().lower() if "@" in address else ""


def is_role_address(address: str) -> bool:
    """An address that machines write from (noreply@, mailer-daemon@, bounces+x@). Not sales@ or info@."""
    return _ROLE.fullmatch(address.rpartition("@")[0].strip().lower()[:128]) is not None


def is_freemail(address: str) -> bool:
    """An address, or a domain, of a provider where anybody may have one."""
    return (domain_of(address) or address.lower()) in FREEMAIL


def same_company(a: str, b: str) -> bool:
    """One domain, or one below the other. Never at a freemail provider."""
    one, other = domain_of(a), domain_of(b)
    if not one or not other or one in FREEMAIL or other in FREEMAIL:
        return False
    return one == other or one.endswith("." + other) or other.endswith("." + one)
