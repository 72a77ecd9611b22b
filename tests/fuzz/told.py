"""Replies as RFC 5321, section 4.2, and RFC 2034 would have them. Anything else raises BadReply."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Section 4.5.3.1.5, CRLF included.
MOST_OCTETS = 512
_LINE = re.compile(rb"([2345][0-5][0-9])([ -])([\x20-\x7e]*)\r\n")
_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: \S|\Z)")
# Those that have no enhanced code: the greeting and the replies to EHLO and HELO (RFC 2034, section 4), and 354.
_BARE = re.compile(r"220 mx2\.example\.net ESMTP|250[ -]|354 ")


class BadReply(AssertionError):
    """What was said is no reply."""


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}"


def replies_in(said: bytes) -> list[Reply]:
    """Every reply, in order. Raises BadReply."""
    replies: list[Reply] = []
    lines: list[str] = []
    for line in said.splitlines(keepends=True):
        match = _LINE.fullmatch(line)
        if match is None or len(line) > MOST_OCTETS:
            raise BadReply(f"not a line of a reply: {line!r}")
        lines.append(match[3].decode())
        if match[2] == b" ":
            replies.append(_whole(int(match[1]), lines))
            lines = []
    if lines:
        raise BadReply("a reply without an end")
    return replies


def _whole(code: int, lines: list[str]) -> Reply:
    reply = Reply(code, tuple(lines))
    is_bare = code in {220, 250, 354} and not re.match(r"\d\.", lines[0])
    for line in lines:
        match = _ENHANCED.match(line)
        if is_bare and _BARE.match(f"{code} {line}"):
            continue
        if match is None or match[1] != str(code)[0]:
            raise BadReply(f"no enhanced status code that belongs there: {reply}")
    return reply
