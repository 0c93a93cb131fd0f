"""The new text of a mail: what its author wrote, without what is quoted below or between it."""

from __future__ import annotations

import re

LONGEST = 200_000  # characters that are looked at

# Where the quoted history begins, in the words and shapes of clients (product section 6's languages).
_WROTE = re.compile(
    r"^[ \t>*]*(?:"
    r"(?:on|am|le|el|il|em|op|den|no dia|il giorno)\b[^\n]{0,300}(?:\n[^\n]{0,200})?(?:wrote|schrieb|a écrit|escribió|ha scritto|escreveu|schreef)[^\n]{0,100}:"
    r"|[^\n]{0,200}(?:wrote|schrieb[^\n]{0,100}|a écrit|escribió|ha scritto|escreveu|schreef|写道|寫道|のメール|작성|كتب|ने लिखा)\s?[::]"
    r"|-{2,}\s*(?:original message|ursprüngliche nachricht|original-nachricht|message d'origine|mensaje original|messaggio originale|mensagem original|oorspronkelijk bericht|原始邮件|原始郵件|元のメッセージ|원본 메시지|forwarded message|weitergeleitete nachricht)\s*-{2,}"
    r"|_{20,}"
    r")[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
# Outlook's block of header lines, bold or not.
_HEADER_BLOCK = re.compile(
    r"^[ \t>*]*(?:from|von|de|da|van|发件人|寄件者|差出人|보낸 사람|من|प्रेषक)\s?\*?\s?[::][^\n]{1,300}\n"
    r"(?:[^\n]{0,400}\n){0,3}?[ \t>*]*(?:sent|date|gesendet|datum|envoyé|date|enviado|fecha|inviato|data|verzonden|发送时间|發送時間|日期|送信日時|日時|보낸 날짜|تاريخ|दिनांक)\s?\*?\s?[::]",
    re.IGNORECASE | re.MULTILINE,
)
_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
_SENT_FROM = re.compile(
    r"^(?:sent from my|sent from|gesendet von|von meinem|envoyé de(?:puis)? mon|enviado desde mi|inviato da|enviado do meu|verzonden vanaf|get outlook for|发自我的|iPhoneから送信)[^\n]{0,80}$",
    re.IGNORECASE | re.MULTILINE,
)


def new_text(text: str) -> str:
    """The text above and between quoted lines. Never raises; linear time."""
    text = text[:LONGEST].replace("\r\n", "\n").replace("\xa0", " ")
    cuts = [found.start() for pattern in (_WROTE, _HEADER_BLOCK) if (found := pattern.search(text))]
    if cuts:
        above, below = text[: min(cuts)], text[min(cuts) :]
        inline = _between_quotes(below)
        text = f"{above}\n{inline}" if inline and _has_quoted_lines(below) else above
    lines = [line for line in text.split("\n") if not line.lstrip().startswith(">")]
    text = "\n".join(lines)
    for pattern in (_SIGNATURE, _SENT_FROM):
        if (found := pattern.search(text)) and found.start() > 0:
            text = text[: found.start()]
    return text.strip()


def _has_quoted_lines(text: str) -> bool:
    return any(line.lstrip().startswith(">") for line in text.split("\n", 200))


def _between_quotes(quoted: str) -> str:
    """Answers written between quoted lines; nothing where the history is quoted without marks."""
    lines = quoted.split("\n")
    first = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">")), None)
    if first is None or first > 3:
        return ""
    return "\n".join(line for line in lines[first:] if not line.lstrip().startswith(">")).strip()
