"""The replies of a server, out of the octets in which they arrive (RFC 5321, section 4.2). No socket is known here.

What is no reply, or has no end, raises Garbled, and what is held until a reply is whole is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from fallback_mx.rules.disposition import Reply

MAX_LINE_OCTETS = 4096
MAX_REPLY_OCTETS = 32 * 1024
MAX_TEXT = 1000
# A server says the same few lines to thousands of messages: the first of them are read once.
MOST_SAID = 16


class Garbled(Exception):
    """What the server sent is not a reply."""


class ReplyReader:
    """Octets in, whole replies out."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._octets = 0
        self._said: dict[bytes, Reply] = {}

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that these octets complete. Raises Garbled behind those that were sound."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._line(line.rstrip(b"\r"))
            if reply is not None:
                yield reply
        if len(self._rest) > MAX_LINE_OCTETS:
            raise Garbled("a reply line without an end")

    def _line(self, line: bytes) -> Reply | None:
        if not self._lines and (reply := self._said.get(line)) is not None:
            return reply
        code, mark = line[:3], line[3:4]
        is_reply = len(code) == 3 and code.isdigit() and b"200" <= code < b"600" and mark in b" -"
        if not is_reply or len(line) > MAX_LINE_OCTETS or (self._lines and code != self._code):
            raise Garbled(f"not a reply: {printable(line)[:100]}")
        self._octets += len(line)
        if self._octets > MAX_REPLY_OCTETS:
            raise Garbled("a reply without an end")
        text = line[4:].strip()
        lines: tuple[str, ...] = ()
        if mark == b"-" or self._lines:
            self._code = code
            self._lines.append(text)
            if mark == b"-":
                return None
            lines = tuple(map(printable, self._lines))
            text = b" ".join(filter(None, self._lines))
            self._lines.clear()
        self._octets = 0
        reply = Reply(int(code), printable(text)[:MAX_TEXT], lines)
        if not lines and len(self._said) < MOST_SAID:
            self._said[line] = reply
        return reply


def printable(octets: bytes) -> str:
    """As text that is safe to store and to show: anything that is not printable is escaped."""
    text = octets.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
