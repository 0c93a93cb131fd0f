"""Ordinary mails of a given size, as an Outlook or Gmail user's answer looks: headers of a real route, two parts."""

from __future__ import annotations

SENTENCE = "Thank you for the offer, we have read it with interest and will come back to you after the meeting. "


def ordinary(size: int, number: int = 0, sender: str = "priya@northwind.example", extra: str = "") -> bytes:
    """A multipart/alternative answer of about `size` bytes, unlike any other `number`."""
    head = f"""Received: from mail-wr1-f41.mx.example (mail-wr1-f41.mx.example [203.0.113.41])
\tby mx.acme.example (Postfix) with ESMTPS id 4T9xQ{number:07d}
\tfor <asha@acme.example>; Tue, 3 Mar 2026 09:12:{number % 60:02d} +0000 (UTC)
Received: by mail-wr1-f41.mx.example with SMTP id ffacd0b85a97d-33d{number:07d}
        for <asha@acme.example>; Tue, 03 Mar 2026 01:12:00 -0800 (PST)
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=northwind.example; s=s1;
        h=to:subject:message-id:date:from:in-reply-to:references:mime-version;
        bh=g3zLYH4xKxcPrHOD18z9YfpQcnk/GaJedfustWU5uGs=;
        b=VnyIGdVZ8mlS1eJTrBl6Cz0Rd0ZxM3cDkzIk8XQ8sW0T1b9g6l1Jm5F0o5xW2Z7QxkqC1V
From: Priya Raman <{sender}>
To: Uma Stein <uma@acme.example>
Cc: Asha Rao <asha@acme.example>, "Lee, Bob" <bob@northwind.example>
Subject: Re: Our offer
Date: Tue, 3 Mar 2026 09:12:{number % 60:02d} +0000
Message-ID: <CAF{number:08d}@mail.northwind.example>
In-Reply-To: <offer@acme.example>
References: <offer@acme.example>
{extra}MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="000000000000a1b2c3"

"""
    room = max(200, (size - len(head) - 500) // 2)
    text = "\n".join(SENTENCE for _ in range(room // len(SENTENCE) + 1))[:room]
    html = "\n".join(f"<p>{SENTENCE}</p>" for _ in range(room // (len(SENTENCE) + 7) + 1))[:room]
    body = f"""--000000000000a1b2c3
Content-Type: text/plain; charset="UTF-8"

{text}

--000000000000a1b2c3
Content-Type: text/html; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

<html><body><div dir=3D"ltr">{html}</div></body></html>

--000000000000a1b2c3--
"""
    return (head + body).replace("\n", "\r\n").encode()
