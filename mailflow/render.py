"""Templates → text. Sandboxed, and strict: what has no value is an error, never an empty place in a mail."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import FileSystemLoader, Template, TemplateError, Undefined
from jinja2.exceptions import UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mailflow.sequences import TEMPLATES

LONGEST = 100_000  # characters that a template may make


class Missing(Undefined):
    """A variable without a value: may be asked about in a condition, never be written."""

    def __str__(self) -> str:
        self._fail_with_undefined_error()

    __iter__ = __len__ = __eq__ = __ne__ = __hash__ = Undefined._fail_with_undefined_error

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class RenderError:
    """Why a template can't be written. `field`: the variable without a value, where that is the reason."""

    reason: str
    field: str | None = None


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=Missing, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        loader=FileSystemLoader(TEMPLATES), autoescape=False,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _html_environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=Missing, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(TEMPLATES), autoescape=True
    )


@lru_cache(maxsize=2_000)
def _compiled(source: str, is_html: bool) -> Template:
    return (_html_environment() if is_html else _environment()).from_string(source)


def render(source: str, values: Mapping[str, Any], *, is_html: bool = False) -> str | RenderError:
    """A template of an organisation with its values. Values are data: nothing in them is ever run."""
    try:
        return _compiled(source, is_html).render(values)[:LONGEST]
    except UndefinedError as fault:
        return RenderError(str(fault), _field(str(fault)))
    except (
        TemplateError,
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as fault:
        return RenderError(f"{type(fault).__name__}: {fault}"[:300])


def render_notice(name: str, values: Mapping[str, Any]) -> str:
    """One of our own mails to users, in plain text. Raises TemplateError: they are ours, so that is a fault."""
    return _tidy(_environment().get_template(f"notices/{name}.txt").render(values))


def render_page(name: str, values: Mapping[str, Any]) -> str:
    """A web page; every value is escaped."""
    return _html_environment().get_template(f"web/{name}.html").render(values)


_UNDEFINED = re.compile(r"has no attribute '([^']+)'|'([^']+)' is undefined")
_MANY_EMPTY_LINES = re.compile(r"\n{3,}")


def _field(message: str) -> str | None:
    found = _UNDEFINED.search(message)
    return (found[1] or found[2]) if found else None


def _tidy(text: str) -> str:
    return _MANY_EMPTY_LINES.sub("\n\n", text).strip() + "\n"


# -- plain text as HTML -----------------------------------------------------------------------------

_LABELLED = re.compile(r"^([^\n:]{1,60}): (https?://[^\s<>\"]+)$", re.MULTILINE)
_URL = re.compile(r"(?<![\"'=>])\bhttps?://[^\s<>\"]+[^\s<>\".,;:!?)\]]")


def text_to_html(text: str) -> str:
    """The same words as HTML: paragraphs, line breaks, links; `Label: URL` lines become links of that name."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    return "\n".join(f"<p>{_block(block)}</p>" for block in blocks)


def _block(block: str) -> str:
    lines = []
    for line in block.split("\n"):
        if found := _LABELLED.fullmatch(line.strip()):
            url = html.escape(found[2], quote=True)
            lines.append(f'<a href="{url}">{html.escape(found[1])}</a>')
        else:
            indent = len(line) - len(line.lstrip(" "))
            lines.append("&nbsp;" * indent + _URL.sub(_anchor, html.escape(line.strip(), quote=False)))
    return "<br>\n".join(lines)


def _anchor(found: re.Match[str]) -> str:
    return f'<a href="{found[0].replace(chr(34), "%22")}">{found[0]}</a>'


def document(body: str) -> str:
    """A whole HTML document that looks like a person's mail on any screen."""
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n'
        '<body style="font-family: -apple-system, Segoe UI, Helvetica, Arial, sans-serif; font-size: 15px; '
        f'line-height: 1.45; color: #1a1a1a; max-width: 40em;">\n{body}\n</body></html>\n'
    )
