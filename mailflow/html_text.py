"""HTML as a person would read it. Imported only for mails without a plain text."""

from __future__ import annotations

import html as html_entities
import re

LONGEST_HTML = 500_000
DEEPEST = 200  # inscriptis recurses, and gives nothing for thousands of nested elements

_TAG = re.compile(r"<[^<>]{0,10000}>")
_INVISIBLE = re.compile(r"<(script|style|head|title)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|/blockquote)\b[^<>]{0,200}>", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\xa0]+")
_EMPTY_LINES = re.compile(r"\n\s*\n\s*\n+")


def to_text(html: str) -> str:
    """Plain text of an HTML document; lines where blocks end. Never raises."""
    html = html[:LONGEST_HTML]
    if html.count("<div") + html.count("<table") + html.count("<blockquote") + html.count("<span") < DEEPEST * 5:
        text = _by_inscriptis(html)
        if text.strip():
            return _tidy(text)
    return _tidy(_by_stripping(html))


def _by_inscriptis(html: str) -> str:
    from inscriptis import get_text
    from inscriptis.css_profiles import RELAXED_CSS_PROFILE
    from inscriptis.model.config import ParserConfig

    try:
        return str(get_text(html, ParserConfig(css=RELAXED_CSS_PROFILE)))
    except Exception:  # a third party's parser on hostile input; the fallback reads it too
        return ""


def _by_stripping(html: str) -> str:
    return html_entities.unescape(_TAG.sub("", _BREAK.sub("\n", _INVISIBLE.sub("", html))))


def _tidy(text: str) -> str:
    lines = (_BLANKS.sub(" ", line).strip() for line in text.replace("\r", "").split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip() + "\n"
