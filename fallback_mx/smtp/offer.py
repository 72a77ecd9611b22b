"""What EHLO is answered with (RFC 5321, section 4.1.1.1): the extensions that a client may use.

The reply is made once for all clients; what only some are offered is put into theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fallback_mx.smtp.terms import ListenerSettings

STARTTLS = b"250-STARTTLS\r\n"
ETRN = b"250-ETRN\r\n"
XCLIENT = b"250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"


def ehlo_reply(settings: ListenerSettings, size_limit: int) -> bytes:
    """The reply to everybody; `size_limit` is of the largest message that can be taken for any of the primaries.

    LIMITS names what a session may bring (RFC 9422). What was taken is what counts here, so that a client which counts
    every command, as section 4 there has it, is never over.
    """
    lines = [
        settings.hostname,
        "PIPELINING",
        f"SIZE {size_limit}",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        f"LIMITS RCPTMAX={settings.max_recipients} MAILMAX={settings.session_limits.messages}",
    ]
    marks = ["-"] * (len(lines) - 1) + [" "]
    return "".join(f"250{mark}{line}\r\n" for mark, line in zip(marks, lines, strict=True)).encode()


def with_line(ehlo_reply: bytes, line: bytes) -> bytes:
    """A reply to EHLO with one more line, behind that of the hostname."""
    hostname, end, rest = ehlo_reply.partition(b"\r\n")
    return hostname + end + line + rest
