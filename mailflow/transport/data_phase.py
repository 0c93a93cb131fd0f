"""The DATA phase of a listener, read in blocks.

aiosmtpd awaits every line; a mail has sixty, and that is a third of what taking it in costs (see benchmarks/).
Everything else of the protocol stays the library's. Made for aiosmtpd 1.4.
"""

from __future__ import annotations

from typing import Any

END = b"\r\n.\r\n"  # RFC 5321 §4.1.1.4; a bare LF ends nothing (no smuggling)
BLOCK = 1 << 20


class BlockwiseData:
    """Goes before aiosmtpd's SMTP or LMTP in a class's bases."""

    async def smtp_DATA(self: Any, arg: str) -> None:
        if await self.check_helo_needed() or await self.check_auth_needed("DATA"):
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        content = await self._read_content()
        if content is None:
            return
        if isinstance(content, str):
            await self.push(content)
            self._set_post_data_state()
            return
        self.envelope.content = self.envelope.original_content = content
        status = await self._call_handler_hook("DATA")
        self._set_post_data_state()
        await self.push(status)

    async def _read_content(self: Any) -> bytes | str | None:
        """The message without transparency dots; a refusal when it breaks a limit; None when the client is gone."""
        received = bytearray(b"\r\n")  # so that a message of a single dot ends like any other
        limit, is_too_large = self.data_size_limit, False
        while (end := received.find(END, max(0, len(received) - self._looked_at))) < 0:
            if limit and len(received) > limit + len(END):
                # RFC 5321 §4.2.5: the answer waits until the client has said all; nothing of it is kept.
                is_too_large = True
                del received[: -len(END)]
            block = await self._reader.read(BLOCK)
            if not block:
                self._writer.close()
                return None
            received += block
            self._looked_at = len(block) + len(END)
        rest = bytes(received[end + len(END) :])
        if rest:
            # What a client pipelined behind its mail. The reader's buffer is empty: the block was all it had.
            self._reader.feed_data(rest)
        content = bytes(received[: end + 2])
        if is_too_large or (limit and len(content) - 2 > limit):
            return "552 Error: Too much mail data"
        if max(map(len, content.split(b"\r\n"))) > self.line_length_limit - 2:
            return "500 Line too long (see RFC5321 4.5.3.1.6)"
        return content.replace(b"\r\n.", b"\r\n")[2:]  # RFC 5321 §4.5.2

    _looked_at = 0
