"""What to call somebody, and where that comes from (product section 2, *Names*).

Display name → greeting in the user's own mail → `default_lead_name` → the part before the @.
"""

from __future__ import annotations

import re
import unicodedata

from mailflow.message import Person
from state.lead import Mailbox, NameSource

LONGEST_NAME = 80
LONGEST_GREETING = 400  # characters at the beginning of a mail in which a greeting stands

_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}|<[^<>]*>|（[^（）]*）|【[^【】]*】")
_AFTER = re.compile(
    r"\s+(?:via|par|über|durch|on behalf of|im Auftrag von|c/o|@)\s.*$|\s*[|/•·–—]\s.*$|\s+-\s.*$", re.IGNORECASE
)
_QUOTES = re.compile(r"^[\s\"'“”„‚‘’«»`]+|[\s\"'“”„‚‘’«»`,;:]+$")
_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7af]")
_HONORIFIC = re.compile(r"\s*(?:様|さん|殿|先生|女士|小姐|님|씨)$")
_INITIAL = re.compile(r"^[^\W\d_]\.?$")

# Chinese and Korean surnames of two characters; all others have one.
_TWO_CHARACTER_SURNAMES = frozenset(
    [
        "欧阳",
        "歐陽",
        "司马",
        "司馬",
        "上官",
        "诸葛",
        "諸葛",
        "司徒",
        "东方",
        "東方",
        "独孤",
        "尉迟",
        "公孙",
        "公孫",
        "慕容",
        "令狐",
        "皇甫",
        "夏侯",
        "宇文",
        "长孙",
        "남궁",
        "황보",
        "제갈",
        "선우",
        "독고",
        "사공",
    ]
)
# Words that tell of a desk, not of a person.
_DESK_WORDS = frozenset(
    [
        "sales",
        "info",
        "information",
        "support",
        "service",
        "services",
        "team",
        "office",
        "department",
        "dept",
        "marketing",
        "billing",
        "accounts",
        "accounting",
        "finance",
        "hr",
        "admin",
        "administration",
        "contact",
        "hello",
        "helpdesk",
        "help",
        "desk",
        "purchasing",
        "procurement",
        "customer",
        "reception",
        "vertrieb",
        "verkauf",
        "einkauf",
        "buchhaltung",
        "kundenservice",
        "kundendienst",
        "büro",
        "buero",
        "zentrale",
        "abteilung",
        "ventes",
        "achats",
        "comptabilité",
        "service-client",
        "accueil",
        "contacto",
        "ventas",
        "compras",
        "vendite",
        "acquisti",
        "ufficio",
        "inkoop",
        "verkoop",
        "klantenservice",
        "vendas",
    ]
)
_COMPANY_WORDS = frozenset(
    [
        "gmbh",
        "ag",
        "inc",
        "inc.",
        "llc",
        "ltd",
        "ltd.",
        "sarl",
        "s.a.",
        "srl",
        "b.v.",
        "bv",
        "kg",
        "plc",
        "corp",
        "corp.",
        "company",
    ]
)

_GREETING = re.compile(
    r"^[\s>*_]*(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|greetings|hallo|guten (?:tag|morgen|abend)|moin|"
    r"liebe[rs]?|servus|grüezi|grüß dich|bonjour|bonsoir|salut|cher|chère|hola|buenos días|buenas tardes|"
    r"estimad[oa]|querid[oa]|ciao|salve|buongiorno|buonasera|car[oa]|gentile|olá|oi|bom dia|boa tarde|prezad[oa]|"
    r"hoi|dag|beste|goedemorgen|goedemiddag|namaste|नमस्ते|प्रिय|مرحبا|السلام عليكم|您好|你好|尊敬的|안녕하세요)"
    r"[\s,]+(?P<name>[^\n,!:;.()<>@0-9?]{1,60}?)\s*(?:[,!:;،،,!\-–—.]|$)",
    re.IGNORECASE | re.MULTILINE,
)
# Greetings that name nobody, and forms of address after which a last name stands.
_NOBODY = frozenset(
    [
        "all",
        "team",
        "everyone",
        "everybody",
        "there",
        "folks",
        "friend",
        "friends",
        "sir",
        "madam",
        "sirs",
        "colleagues",
        "both",
        "guys",
        "again",
        "together",
        "zusammen",
        "alle",
        "allerseits",
        "miteinander",
        "leute",
        "kollegen",
        "kolleginnen",
        "damen",
        "herren",
        "tous",
        "toutes",
        "équipe",
        "monsieur",
        "madame",
        "messieurs",
        "todos",
        "equipo",
        "señor",
        "señora",
        "tutti",
        "team",
        "signore",
        "signora",
        "pessoal",
        "senhor",
        "senhora",
        "allemaal",
        "allen",
        "heer",
        "mevrouw",
        "mr",
        "mr.",
        "mrs",
        "mrs.",
        "ms",
        "ms.",
        "miss",
        "herr",
        "frau",
        "dr",
        "dr.",
        "prof",
        "prof.",
        "mme",
        "m.",
        "sr",
        "sr.",
        "sra",
        "sra.",
        "sig",
        "sig.",
        "dhr",
        "mevr",
        "from",
        "to",
        "the",
        "and",
        "or",
        "is",
        "we",
        "i",
        "my",
        "our",
        "your",
        "please",
    ]
)


def name_person(mailbox: Mailbox, *, greeting_text: str | None, greeting_names: bool, default_lead_name: str) -> Person:
    """The name for a recipient with its source. Never raises; `first` is empty only when the address has no local part."""
    if found := split_name(mailbox.name, mailbox.address):
        return Person(mailbox.address, *found, NameSource.DISPLAY_NAME)
    if greeting_names and greeting_text and (greeted := read_greeting(greeting_text)):
        return Person(mailbox.address, *greeted, NameSource.GREETING)
    if default_lead_name:
        return Person(mailbox.address, default_lead_name, "", NameSource.DEFAULT)
    local = mailbox.address.rpartition("@")[0].strip('"').partition("+")[0]
    return Person(mailbox.address, local[:1].upper() + local[1:], "", NameSource.LOCAL_PART)


def split_name(display_name: str, address: str = "") -> tuple[str, str] | None:
    """First and last name out of a display name of any shape; None when it names no person."""
    name = unicodedata.normalize("NFC", display_name)[: 4 * LONGEST_NAME]
    if "@" in name.replace(" @ ", " "):
        return None  # an address used as a name names nobody
    name = _QUOTES.sub("", _BRACKETED.sub(" ", name))
    name = _QUOTES.sub("", _AFTER.sub("", name))
    name = " ".join(name.replace("_", " ").split())[:LONGEST_NAME]
    if not any(c.isalpha() for c in name) or name.lower() == address.lower().rpartition("@")[0]:
        return None
    words = {word.strip(",.").lower() for word in name.split()}
    if words & _DESK_WORDS or words & _COMPANY_WORDS:
        return None
    if _CJK.search(name) or _KANA.search(name) or _HANGUL.search(name):
        return _split_east_asian(name, address)
    return _split_western(name)


def read_greeting(text: str) -> tuple[str, str] | None:
    """Whom the mail greets by name: "Hi Priya," is Priya. None when it greets nobody by a first name."""
    found = _GREETING.search(text.lstrip()[:LONGEST_GREETING])
    if found is None or text.lstrip()[: found.start()].count("\n") > 1:
        return None
    words = found["name"].split()
    if not 1 <= len(words) <= 3 or any(word.lower() in _NOBODY for word in words):
        return None
    if not all(word[0].isupper() or not word[0].islower() for word in words):
        # "hi priya," is a name; "hello from Berlin" is none, and is told apart by its form words above.
        words = [word.capitalize() for word in words] if len(words) == 1 else []
    return split_name(" ".join(words)) if words else None


def _split_western(name: str) -> tuple[str, str] | None:
    from nameparser import HumanName

    words = name.split()
    if len(words) > 1 and len(words[0]) > 2 and words[0].isupper() and not words[-1].isupper() and "," not in name:
        name = " ".join([*words[1:], words[0]])  # "DUPONT Marie": capitals mark the family name
    human = HumanName(name)
    middle = [part for part in human.middle.split() if not _INITIAL.match(part)]
    first, last = " ".join([human.first, *middle]).strip(), human.last.strip()
    if not first:
        return (
            (name, "") if not last else None
        )  # what looks like a title alone is a name ("Dean"); "Mr. Smith" has no first
    if name.isupper() or name.islower():
        proper = HumanName(f"{first} {last}".strip())
        proper.capitalize(force=True)
        middle_names = f" {proper.middle}" if proper.middle else ""
        return f"{proper.first}{middle_names}".strip(), proper.last
    return _proper(first), _proper(last)


def _proper(part: str) -> str:
    """One part of a name that stands in capitals beside another that does not."""
    return part.title() if part.isupper() and len(part) > 3 and "." not in part else part


def _split_east_asian(name: str, address: str) -> tuple[str, str] | None:
    """Family name first, with or without a blank between."""
    name = _HONORIFIC.sub("", name).strip()
    parts = re.split(r"[\s　,]+", name)
    if len(parts) >= 2:
        return " ".join(parts[1:]), parts[0]
    if len(name) == 1 or (_KANA.fullmatch(name[0]) and all(_KANA.match(c) for c in name)):
        return name, ""
    if name[:2] in _TWO_CHARACTER_SURNAMES and len(name) > 2:
        return name[2:], name[:2]
    is_japanese = bool(_KANA.search(name)) or address.endswith(".jp")
    cut = 2 if len(name) >= 4 or (is_japanese and len(name) == 3) else 1
    return name[cut:], name[:cut]
