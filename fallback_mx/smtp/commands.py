"""MAIL, RCPT and DATA, in the words that the next hop offers (RFC 5321, section 3.3).

What the sender asked to be told (RFC 3461) is handed on where DSN is offered and left out where it is not. Whether the
next hop is up to the message at all is for fallback_mx.smtp.fitness to say, beforehand.
"""

from __future__ import annotations

from collections.abc import Set

from fallback_mx.smtp.parameters import MailParameters, narrow
from fallback_mx.smtp.steps import Step
from mxqueue.model import Message, Recipient, ReportRequest

Asked = Recipient | ReportRequest
"""Whatever has a `notify` and an `orcpt`."""


def commands(message: Message, extensions: Set[str], *, with_data: bool = True) -> list[tuple[Step, bytes]]:
    """What is to be said before the content. `extensions` are EHLO keywords in lower case."""
    is_wide = _is_wide(message)
    size = len(message.trace) + message.size
    given = MailParameters(size, message.body, is_wide, message.ret, message.envid)
    said = [(Step.MAIL, mail(message.reverse_path, given, extensions))]
    said += [(Step.RCPT, rcpt(each.forward_path, each, extensions, is_wide=is_wide)) for each in message.recipients]
    if with_data:
        said.append((Step.DATA, b"DATA\r\n"))
    return said


def mail(reverse_path: str, given: MailParameters, extensions: Set[str]) -> bytes:
    said = f"MAIL FROM:<{reverse_path}>"
    if given.size and "size" in extensions:
        said += f" SIZE={given.size}"
    if given.body == "8BITMIME" and "8bitmime" in extensions:
        said += " BODY=8BITMIME"
    if given.smtputf8 and "smtputf8" in extensions:
        said += " SMTPUTF8"
    if (given.ret or given.envid) and "dsn" in extensions:
        said += _parameter("RET", given.ret) + _parameter("ENVID", given.envid)
    return f"{said}\r\n".encode()


def rcpt(forward_path: str, asked: Asked, extensions: Set[str], *, is_wide: bool) -> bytes:
    """`is_wide` tells whether the transaction wants SMTPUTF8."""
    said = f"RCPT TO:<{forward_path}>"
    if (asked.notify or asked.orcpt) and "dsn" in extensions:
        orcpt = asked.orcpt if is_wide and "smtputf8" in extensions else narrow(asked.orcpt)
        said += _parameter("NOTIFY", asked.notify) + _parameter("ORCPT", orcpt)
    return f"{said}\r\n".encode()


def _is_wide(message: Message) -> bool:
    """Whether the transaction wants SMTPUTF8."""
    if message.smtputf8 or not message.reverse_path.isascii():
        return True
    return not all(each.forward_path.isascii() for each in message.recipients)


def _parameter(keyword: str, value: str) -> str:
    return f" {keyword}={value}" if value else ""
