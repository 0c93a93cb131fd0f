"""Is the author who he says he is? So far: what a trusted receiver's Authentication-Results says (RFC 8601)."""

from __future__ import annotations

import re
from collections.abc import Set

from mailflow.message import Authentication
from mailflow.parse import ParsedMessage

_COMMENT = re.compile(r"\([^()]{0,500}\)")
_RESULT = re.compile(r"^\s*([a-z0-9-]+)\s*(?:/\s*\d+\s*)?=\s*([a-z]+)", re.IGNORECASE)
_PROPERTY = re.compile(r"\b([a-z]+)\.([a-z0-9.-]+)\s*=\s*(\"[^\"]*\"|[^\s;\"]+)", re.IGNORECASE)
LONGEST = 20_000


def judge(parsed: ParsedMessage, *, trusted_authserv_ids: Set[str], local: bool) -> Authentication:
    """Whether the author's domain is vouched for. Never raises.

    Only the topmost Authentication-Results counts, and only with a trusted authserv-id (RFC 8601 §5):
    the ones below may have come with the message. `local`: taken in from this machine by its own command,
    which counts where no receiver is named that could vouch.
    """
    authors = parsed.header_from
    if len(authors) != 1 or len(parsed.headers("from")) != 1:
        # Several authors: which of them is vouched for, nobody can say.
        return Authentication(False, evidence=("From does not name exactly one author",))
    if not trusted_authserv_ids:
        if local:
            return Authentication(True, by="local", evidence=("taken in by this machine's own command",))
        return Authentication(False, evidence=("no receiver is trusted to vouch (security.trusted_authserv_ids)",))
    topmost = parsed.header("authentication-results")
    if topmost is None:
        return Authentication(False, evidence=("no Authentication-Results",))
    return _read_results(topmost[:LONGEST], authors[0].address.rpartition("@")[2], trusted_authserv_ids)


def _read_results(value: str, author_domain: str, trusted: Set[str]) -> Authentication:
    previous = None
    while previous != value:  # comments may be nested
        previous, value = value, _COMMENT.sub(" ", value)
    authserv_id, *clauses = value.split(";")
    server = (authserv_id.split() or [""])[0].strip('"').lower()
    if server not in {name.lower() for name in trusted}:
        return Authentication(False, evidence=(f"Authentication-Results of {server[:100]}, which is not trusted",))
    results = {"dkim": "none", "spf": "none", "dmarc": "none", "arc": "none"}
    aligned: list[str] = []
    for clause in clauses:
        found = _RESULT.match(clause)
        if found is None:
            continue
        method, result = found[1].lower(), found[2].lower()
        if method not in results:
            continue
        if results[method] != "pass":
            results[method] = result
        if result != "pass":
            continue
        properties = {f"{p.lower()}.{name.lower()}": v.strip('"').lower() for p, name, v in _PROPERTY.findall(clause)}
        match method:
            case "dmarc" if properties.get("header.from", author_domain) == author_domain:
                aligned.append(f"dmarc=pass header.from={author_domain}")
            case "dkim":
                signer = properties.get("header.d") or properties.get("header.i", "").rpartition("@")[2]
                if is_aligned(signer, author_domain):
                    aligned.append(f"dkim=pass header.d={signer}")
            case "spf":
                sender = properties.get("smtp.mailfrom", "").rpartition("@")[2]
                if is_aligned(sender, author_domain):
                    aligned.append(f"spf=pass smtp.mailfrom={sender}")
    # Where the receiver evaluated DMARC and it failed, a pass of some other domain saves nothing.
    authenticated = bool(aligned) and results["dmarc"] not in ("fail", "permerror")
    return Authentication(
        authenticated, results["dkim"], results["spf"], results["dmarc"], results["arc"],
        by="trusted_header", evidence=(*aligned, f"Authentication-Results of {server}"),
    )  # fmt: skip


def is_aligned(domain: str, author_domain: str) -> bool:
    """RFC 7489 §3.1.1, relaxed: the same domain, or one a subdomain of the other.

    Without the public suffix list a bare suffix must not pass: both sides need a dot.
    """
    if not domain or not author_domain or "." not in domain or "." not in author_domain:
        return False
    return domain == author_domain or author_domain.endswith(f".{domain}") or domain.endswith(f".{author_domain}")
