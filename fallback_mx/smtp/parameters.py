"""The parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (6152), SMTPUTF8 (6531), RET, ENVID, NOTIFY and ORCPT (3461).

A parameter that no extension of ours defines is 555 (RFC 5321, section 4.1.1.11), AUTH with it: who does not offer AUTH
has nothing to make of it (RFC 4954, section 5). A bad value is 501. What is accepted can be handed on as it stands;
only an ORCPT that is not ASCII wants `narrow` where the next hop does not offer SMTPUTF8.

Nothing here raises anything but BadParameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fallback_mx.smtp.paths import has_controls
from mxqueue import ReportRequest

MAX_ENVID = 100  # RFC 3461, section 4.4
MAX_ORCPT = 500  # section 4.2

# What nearly all mail has.
_COMMON = re.compile(r" SIZE=([0-9]{1,20})(?: BODY=(7BIT|8BITMIME))?")

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_SIZE = re.compile(r"[0-9]{1,20}")
# Printable once decoded, as RFC 3461, sections 4.2 and 4.4 demand.
_XTEXT = r"[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E])"
_ENVID = re.compile(rf"(?:{_XTEXT})+")
# The octets of UTF-8 as well: Postfix sends them so with SMTPUTF8, and would return the message when told 501.
_ORCPT = re.compile(rf"[A-Za-z0-9!#$%&'*+/?^_`{{|}}~-]+;(?:{_XTEXT}|\+[89A-F][0-9A-F])+")
# RFC 6533, section 3: another way to escape.
_WIDE_ORCPT = re.compile(r"(?i:utf-8);(?:[!-*,-<>-\[\]-~\x80-\U0010ffff]|\\x\{[0-9A-Fa-f]{2,6}\})+")
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]+)\}")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_EVENTS = ("SUCCESS", "FAILURE", "DELAY")


class BadParameter(ValueError):
    """A parameter is not taken. The text is the whole reply."""


class MailParameters(NamedTuple):
    """`size` is 0 where none was declared. `ret` is FULL, HDRS or empty, `envid` is xtext or empty."""

    size: int = 0
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


NO_PARAMETERS = MailParameters()
NO_REQUEST = ReportRequest()


def of_mail(text: str) -> MailParameters:
    """What stood behind the reverse-path. Raises BadParameter."""
    if not text:
        return NO_PARAMETERS
    common = _COMMON.fullmatch(text)
    if common is not None:
        return MailParameters(int(common[1]), common[2] or "7BIT")
    return MailParameters(**_read(text, _MAIL))


def of_rcpt(text: str, *, smtputf8: bool) -> ReportRequest:
    """What stood behind the forward-path, in a transaction with or without SMTPUTF8. Raises BadParameter."""
    if not text:
        return NO_REQUEST
    request = ReportRequest(**_read(text, _RCPT))
    if not smtputf8 and not request.orcpt.isascii():
        raise BadParameter("501 5.5.4 Bad value of ORCPT")
    return request


def narrow(orcpt: str) -> str:
    """The same original recipient in ASCII (RFC 6533, section 3: utf-8-addr-xtext)."""
    return _NOT_ASCII.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", orcpt)


Reader = Callable[[str], object]
"""Gives what a value means, or None for a bad one."""


def _read(text: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Keyword (in lower case) to meaning."""
    given: dict[str, Any] = {}
    for word in text.split(" "):
        if not word:
            continue
        name, mark, value = word.partition("=")
        keyword = name.upper() if name.isascii() else ""
        reader = readers.get(keyword)
        if reader is None or keyword.lower() in given:
            raise _objection(name, is_known=reader is not None)
        is_sound = bool(value) is bool(mark) and (value.isascii() or keyword == "ORCPT")
        meaning = reader(value) if is_sound else None
        if meaning is None:
            raise BadParameter(f"501 5.5.4 Bad value of {keyword}")
        given[keyword.lower()] = meaning
    return given


def _objection(name: str, *, is_known: bool) -> BadParameter:
    if not _KEYWORD.fullmatch(name):
        return BadParameter("501 5.5.4 Bad parameter syntax")
    if is_known:
        return BadParameter(f"501 5.5.4 {name.upper()} is given twice")
    return BadParameter(f"555 5.5.4 {name.upper()} is not supported")


def _size(value: str) -> int | None:
    return int(value) if _SIZE.fullmatch(value) else None


def _one_of(*words: str) -> Reader:
    return lambda value: value.upper() if value.upper() in words else None


def _smtputf8(value: str) -> bool | None:
    return None if value else True


def _envid(value: str) -> str | None:
    return value if len(value) <= MAX_ENVID and _ENVID.fullmatch(value) else None


def _notify(value: str) -> str | None:
    """NEVER alone, or any of the events, each once."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return "NEVER"
    return ",".join(dict.fromkeys(words)) if all(word in _EVENTS for word in words) else None


def _orcpt(value: str) -> str | None:
    if len(value) > MAX_ORCPT:
        return None
    if value[:6].lower() != "utf-8;":
        return value if _ORCPT.fullmatch(value) else None
    return value if _WIDE_ORCPT.fullmatch(value) and not has_controls(_unescaped(value)) else None


def _unescaped(orcpt: str) -> str:
    """A number that is no character's becomes a control character."""
    return _ESCAPED.sub(lambda match: chr(code) if (code := int(match[1], 16)) < 0x110000 else "\0", orcpt)


_MAIL: dict[str, Reader] = {
    "SIZE": _size,
    "BODY": _one_of("7BIT", "8BITMIME"),
    "SMTPUTF8": _smtputf8,
    "RET": _one_of("FULL", "HDRS"),
    "ENVID": _envid,
}
_RCPT: dict[str, Reader] = {"NOTIFY": _notify, "ORCPT": _orcpt}
