"""A primary's reply as it is handed on to a sender, word for word (RFC 5321, section 4.2.1; RFC 2034, section 4).

What could act on whoever reads it is escaped, and what is not ASCII too, which no reply may hold without SMTPUTF8 (RFC
6531, section 3.7.4.2). A line without an enhanced status code gets the one its reply has elsewhere, or ours. A line
that is too long for the wire goes on in the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fallback_mx.rules.disposition import Reply

MAX_LINE_OCTETS = 510  # RFC 5321, section 4.5.3.1.5, without the CRLF

_ENHANCED = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?: |\Z)")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def handed_on(reply: Reply, success: str) -> bytes:
    """The reply, each line with its CRLF. `success` is the enhanced code of a 2xx that came without one."""
    said = [_UNPRINTABLE.sub(_escape, line) for line in reply.lines or (reply.text,)]
    enhanced = next(filter(None, (_enhanced(line, reply.code) for line in said)), None)
    if enhanced is None:
        enhanced = success if reply.is_success else f"{str(reply.code)[0]}.0.0"
    room = MAX_LINE_OCTETS - len("250-") - len(enhanced) - 1
    lines = [each for line in said for each in _fitting(line, enhanced, reply.code, room)]
    marks = "-" * (len(lines) - 1) + " "
    return "".join(
        f"{reply.code}{mark}{line}".rstrip() + "\r\n" for mark, line in zip(marks, lines, strict=True)
    ).encode("ascii")


def _enhanced(line: str, code: int) -> str | None:
    """The enhanced code a line begins with, if it is one of this reply's class (RFC 3463, section 2)."""
    found = _ENHANCED.match(line)
    return found[0].rstrip() if found and found[1] == str(code)[0] else None


def _fitting(line: str, enhanced: str, code: int, room: int) -> Iterator[str]:
    own = _enhanced(line, code)
    text = line[len(own) :].lstrip() if own else line
    for start in range(0, max(len(text), 1), room):
        yield f"{own or enhanced} {text[start : start + room]}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
