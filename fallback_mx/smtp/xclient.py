"""XCLIENT: a mail system in front of us says whom it speaks for (Postfix, XCLIENT_README).

`parse` takes what stands behind the verb and knows the whole of the syntax: attributes in any case, values in xtext
(RFC 3461, section 4), [UNAVAILABLE] and [TEMPUNAVAIL] for what is not known. Who may say it is not decided here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from fallback_mx.smtp.proxy_header import plain_address

UNKNOWN = frozenset({"[UNAVAILABLE]", "[TEMPUNAVAIL]"})
VALUE_LIMIT = 255
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_IPV6 = "ipv6:"


class BadAttribute(Exception):
    """Something that is no XCLIENT attribute. The text is for the sender."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of the client. None is what was not mentioned, "" what was said to be unknown.

    `name`, `port` and `login` are taken note of and decide nothing here.
    """

    address: str | None = None
    helo: str | None = None
    protocol: str | None = None
    name: str | None = None
    port: str | None = None
    login: str | None = None


def parse(argument: str) -> Told:
    """What the attributes say; of one that stands twice, the last. Raises BadAttribute."""
    if not argument:
        raise BadAttribute("Syntax: XCLIENT attribute=value ...")
    told: dict[str, str] = {}
    for word in argument.split(" "):
        name, equals, coded = word.partition("=")
        read = _READERS.get(name.upper())
        if not equals or read is None:
            raise BadAttribute("An attribute is not known here")
        field, value = read(_decoded(coded))
        told[field] = value
    return Told(**told)


def _decoded(coded: str) -> str:
    if _XTEXT.fullmatch(coded) is None:
        raise BadAttribute("A value is not in xtext")
    value = _HEX.sub(lambda match: chr(int(match[1], 16)), coded)
    if not value or len(value) > VALUE_LIMIT or not value.isascii() or not value.isprintable():
        raise BadAttribute("A value is empty, too long or not printable")
    return "" if value.upper() in UNKNOWN else value


def _address(value: str) -> tuple[str, str]:
    if not value:
        return "address", ""
    bare = value[len(_IPV6) :] if value.lower().startswith(_IPV6) else value
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise BadAttribute("Bad value of ADDR") from None
    if "%" in bare or (address.version == 4 and bare != value):
        raise BadAttribute("Bad value of ADDR")
    return "address", plain_address(address)


def _port(value: str) -> tuple[str, str]:
    if value and not (value.isdigit() and len(value) <= 5 and int(value) <= 65535):
        raise BadAttribute("Bad value of PORT")
    return "port", value


def _protocol(value: str) -> tuple[str, str]:
    if value.upper() not in {"SMTP", "ESMTP"}:
        raise BadAttribute("Bad value of PROTO")
    return "protocol", value.upper()


def _word(field: str, value: str) -> tuple[str, str]:
    if " " in value:
        raise BadAttribute(f"Bad value of {field.upper()}")
    return field, value


_READERS: dict[str, Callable[[str], tuple[str, str]]] = {
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _protocol,
    "HELO": lambda value: _word("helo", value),
    "NAME": lambda value: _word("name", value),
    "LOGIN": lambda value: ("login", value),
}
