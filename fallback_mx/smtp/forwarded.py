"""Telling the next hop whom we speak for: XFORWARD and XCLIENT (Postfix, XFORWARD_README and XCLIENT_README).

XFORWARD goes into the primary's log: it may stand before every MAIL, in the same write. XCLIENT has the primary treat
the session as the client's own, with its own rules for it: the server greets anew, and EHLO has to be said again. What
a server does not offer is not said to it, attribute by attribute. Values are xtext (RFC 3461, section 4); what is not
known, or cannot stand there, is [UNAVAILABLE]. The client's name is never looked up here, so it always is. So is an
IPv6 address where `is_narrow`: a Postfix that has IPv6 switched off calls every such address a syntax error.
"""

from __future__ import annotations

import re
from collections.abc import Set
from enum import StrEnum

from mxqueue.model import Message

UNAVAILABLE = "[UNAVAILABLE]"
VALUE_LIMIT = 255
# With this every command fits into one line (RFC 5321, section 4.5.3.1.4).
CODED_LIMIT = 320
_WITH = re.compile(rb" with ([A-Z0-9]+) id ")
_HELLO = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_PLAIN = re.compile(r"[!-*,-<>-~]")


class Announce(StrEnum):
    """How a next hop is told of the true client, where it offers that."""

    NONE = "none"
    XFORWARD = "xforward"
    XCLIENT = "xclient"


def xforward(message: Message, attributes: Set[str], *, is_narrow: bool = False) -> bytes:
    """The command for this message, empty where nothing is offered. `attributes` are in capitals."""
    told = {
        "NAME": UNAVAILABLE,
        "ADDR": _address(message, is_narrow),
        "PORT": UNAVAILABLE,
        "PROTO": _protocol(message),
        "HELO": message.helo,
        "IDENT": message.id,
        "SOURCE": "REMOTE",
    }
    return _line("XFORWARD", told, attributes)


def xclient(message: Message, attributes: Set[str], *, is_narrow: bool = False) -> bytes:
    """The same, for XCLIENT."""
    told = {
        "NAME": UNAVAILABLE,
        "ADDR": _address(message, is_narrow),
        "PORT": UNAVAILABLE,
        "PROTO": _protocol(message),
        "HELO": message.helo,
    }
    return _line("XCLIENT", told, attributes)


def _line(verb: str, told: dict[str, str], attributes: Set[str]) -> bytes:
    words = [f"{name}={_xtext(value)}" for name, value in told.items() if name in attributes]
    return f"{verb} {' '.join(words)}\r\n".encode("ascii") if words else b""


def _xtext(value: str) -> str:
    if value == UNAVAILABLE or not value or len(value) > VALUE_LIMIT or not (value.isascii() and value.isprintable()):
        return UNAVAILABLE
    coded = "".join(each if _PLAIN.fullmatch(each) else f"+{ord(each):02X}" for each in value)
    return coded if len(coded) <= CODED_LIMIT else UNAVAILABLE


def _address(message: Message, is_narrow: bool) -> str:
    address = message.client_address
    if ":" not in address:
        return address
    return UNAVAILABLE if is_narrow else f"IPV6:{address}"


def hello_name(message: Message) -> str:
    """What the client called itself, where that can be said in EHLO again; else ""."""
    return message.helo if _HELLO.fullmatch(message.helo) else ""


def _protocol(message: Message) -> str:
    """From our own Received line, which alone has kept it."""
    found = _WITH.search(message.trace)
    return "SMTP" if found is not None and found[1] == b"SMTP" else "ESMTP"
