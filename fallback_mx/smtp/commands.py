"""MAIL, RCPT and DATA for one message, in the words that the next hop offers (RFC 5321, section 3.3).

What the sender asked to be told (RFC 3461) is handed on where DSN is offered and left out where it is not. A message
whose addresses the next hop could not understand has no commands at all: `unfit` says why, and it is not sent.
"""

from __future__ import annotations

import re
from collections.abc import Set

from fallback_mx.smtp.parameters import narrow
from fallback_mx.smtp.pipeline import Step
from mxqueue.model import Message, Recipient

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A value that is anything but one word would be another parameter, or another command.
_WORD = re.compile(r"[!-<>-~\x80-\U0010ffff]*")


def unfit(message: Message, extensions: Set[str], host: str) -> str | None:
    """Why this envelope cannot be put to a server with these extensions, None where it can (RFC 6531, section 3.2)."""
    paths = [message.reverse_path, *(each.forward_path for each in message.recipients)]
    if any(_CONTROL.search(path) for path in paths):
        return "an address holds control characters"
    asked = [message.ret, message.envid, *(value for each in message.recipients for value in (each.notify, each.orcpt))]
    if not all(_WORD.fullmatch(value) for value in asked):
        return "a request for reports holds what cannot be sent"
    if "smtputf8" not in extensions and not all(path.isascii() for path in paths):
        return f"an address is not ASCII, and {host} does not offer SMTPUTF8"
    return None


def commands(message: Message, extensions: Set[str]) -> list[tuple[Step, bytes]]:
    """What is to be said before the content. `extensions` are EHLO keywords in lower case."""
    is_dsn = "dsn" in extensions
    is_wide = "smtputf8" in extensions and _is_wide(message)
    mail = f"MAIL FROM:<{message.reverse_path}>"
    if "size" in extensions:
        mail += f" SIZE={len(message.trace) + message.size}"
    if message.body == "8BITMIME" and "8bitmime" in extensions:
        mail += " BODY=8BITMIME"
    if is_wide:
        mail += " SMTPUTF8"
    if is_dsn and (message.ret or message.envid):
        mail += _parameter("RET", message.ret) + _parameter("ENVID", message.envid)
    said = [(Step.MAIL, f"{mail}\r\n".encode())]
    for each in message.recipients:
        asked = _asked(each, is_wide=is_wide) if is_dsn and (each.notify or each.orcpt) else ""
        said.append((Step.RCPT, f"RCPT TO:<{each.forward_path}>{asked}\r\n".encode()))
    said.append((Step.DATA, b"DATA\r\n"))
    return said


def _is_wide(message: Message) -> bool:
    """Whether the transaction wants SMTPUTF8."""
    if message.smtputf8 or not message.reverse_path.isascii():
        return True
    return not all(each.forward_path.isascii() for each in message.recipients)


def _asked(recipient: Recipient, *, is_wide: bool) -> str:
    orcpt = recipient.orcpt if is_wide else narrow(recipient.orcpt)
    return _parameter("NOTIFY", recipient.notify) + _parameter("ORCPT", orcpt)


def _parameter(keyword: str, value: str) -> str:
    return f" {keyword}={value}" if value else ""
