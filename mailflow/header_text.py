"""Text of header fields and bodies from bytes of any charset: RFC 2047 words, raw 8-bit, wrong declarations."""

from __future__ import annotations

import binascii
import re
from quopri import decodestring

# Real mail declares a subset and uses the superset (as browsers do: WHATWG Encoding Standard §4.2).
_SUPERSETS = {
    "gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030", "cp936": "gb18030",
    "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "ks_c_5601": "cp949", "ksc5601": "cp949",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "big5": "big5hkscs",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252",
    "iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "iso-8859-6-i": "iso-8859-6",
    "unicode-1-1-utf-7": "utf-7", "utf8": "utf-8", "unicode-1-1-utf-8": "utf-8",
    "iso-2022-jp": "iso2022_jp_ext", "windows-874": "cp874", "tis-620": "cp874", "iso-8859-9": "cp1254",
    "macintosh": "mac_roman", "x-mac-roman": "mac_roman", "cp-850": "cp850", "windows-31j": "cp932",
}  # fmt: skip
# Codecs of Python that are no charsets of mail; some take quadratic time.
_NO_CHARSETS = frozenset(
    {
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "undefined",
        "mbcs",
        "oem",
    }
)
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# Directional marks and overrides (UAX #9), zero-width space and byte order mark: they can make a name read as another.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CAP = 65_536  # characters of one field that are ever looked at


def canonical_charset(declared: str | None) -> str | None:
    """The Python codec that mail with this charset parameter means; None when there is none such."""
    if not declared or len(declared) > 60:
        return None
    name = declared.strip().strip("\"'").lower().split("*")[0]
    codec = _SUPERSETS.get(name, name)
    if codec.replace("-", "_") in _NO_CHARSETS or "\x00" in codec:
        return None
    try:
        b"a".decode(codec)  # `codecs.lookup` would let codecs through that are not for text
    except (LookupError, UnicodeError, ValueError):
        return codec if codec.replace("_", "-").startswith("utf-") and _is_codec(codec) else None
    return codec


def _is_codec(codec: str) -> bool:
    try:
        b"a\x00\x00\x00".decode(codec, "replace")
    except (LookupError, ValueError):
        return False
    return True


def decode_bytes(content: bytes, declared: str | None = None) -> str:
    """As declared, else UTF-8, else windows-1252; what fits nothing is replaced. Never raises."""
    if content.isascii() and b"\x1b" not in content and (declared is None or declared.lower() in _ASCII_LIKE):
        return content.decode("ascii")
    codec = canonical_charset(declared)
    if codec is not None:
        try:
            return content.decode(codec)
        except (UnicodeError, ValueError):
            pass
    try:
        return content.decode("utf-8")
    except UnicodeError:
        pass
    if codec is not None:
        # A truncated or slightly damaged text is still best read as what it says it is.
        text = content.decode(codec, "replace")
        if text.count("\ufffd") * 20 <= len(text):
            return text
    return content.decode("cp1252", "replace")


_ASCII_LIKE = frozenset({"us-ascii", "utf-8", "utf8", "iso-8859-1", "windows-1252", "ascii"})


def decode_raw(value: str, hint: str | None = None) -> str:
    """A header value as the parser keeps it (8-bit bytes as surrogates) in characters; `hint` is the body's charset."""
    if value.isascii() or not _SURROGATE.search(value):
        return value
    try:
        return decode_bytes(value.encode("utf-8", "surrogateescape"), hint)
    except UnicodeError:
        return _SURROGATE.sub("\ufffd", value)


def decode_words(value: str) -> str:
    """RFC 2047 §6: encoded words in characters. Adjacent words are one text, even where a character is split."""
    if "=?" not in value:
        return value
    value = value[:_CAP]
    out: list[str] = []
    run = bytearray()
    run_charset = ""
    end = 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[end : word.start()]
        charset = word[1].lower()
        if end and not between.strip(" \t\r\n"):
            between = ""
        if run and (between or charset != run_charset):
            out.append(decode_bytes(bytes(run), run_charset))
            run.clear()
        out.append(between)
        run += _word_bytes(word[2], word[3])
        run_charset = charset
        end = word.end()
    if run:
        out.append(decode_bytes(bytes(run), run_charset))
    out.append(value[end:])
    return "".join(out)


def _word_bytes(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return decodestring(raw.replace(b"_", b" "), header=True)
    return decode_base64(raw)


def decode_base64(raw: bytes) -> bytes:
    """As much as can be read: blanks, wrong characters and missing padding are forgiven."""
    try:
        return binascii.a2b_base64(raw)
    except (binascii.Error, ValueError):
        pass
    clean = re.sub(rb"[^A-Za-z0-9+/]+", b"", raw)
    clean = clean[: len(clean) - 1] if len(clean) % 4 == 1 else clean
    try:
        return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    except (binascii.Error, ValueError):
        return b""


def one_line(text: str, limit: int = 998) -> str:
    """One line of at most `limit` characters without controls and without marks that turn the direction of writing."""
    text = text[:_CAP]
    if not (text.isascii() and text.isprintable() and "  " not in text):
        text = _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", text))
        text = _BLANKS.sub(" ", text)
    return text.strip()[:limit].rstrip()
