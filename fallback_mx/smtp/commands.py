"""MAIL, RCPT and DATA for one message, in the words that the next hop offers (RFC 5321, section 3.3).

What the sender asked to be told (RFC 3461) is handed on where DSN is offered and left out where it is not. Whether the
next hop is up to the message at all is for fallback_mx.smtp.fitness to say, beforehand.
"""

from __future__ import annotations

from collections.abc import Set

from fallback_mx.smtp.parameters import narrow
from fallback_mx.smtp.pipeline import Step
from mxqueue.model import Message, Recipient


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
