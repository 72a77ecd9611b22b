"""Can a message reach a server undamaged? (RFC 6152, section 3; RFC 6531, section 3.2)

What the server could mangle, or would have to, is not sent to it. An address is never changed into another to make it
fit, and neither is content. One recipient that does not fit keeps no other from being delivered to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from fallback_mx.rules.disposition import Result, Unfit
from fallback_mx.smtp.parcel import Parcel, unreadable
from mxqueue.model import Message

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A value that is anything but one word would be another parameter, or another command.
_WORD = re.compile(r"[!-<>-~\x80-\U0010ffff]*")


def is_fit(message: Message, extensions: Set[str]) -> bool:
    """Whether it surely is, for all its recipients: the content need not be looked at."""
    return not _needs_reading(message, extensions) and not any(_of_envelope(message, extensions, ""))


async def unfit(parcel: Parcel, extensions: Set[str], host: str) -> Sequence[Result | None]:
    """For each recipient why it is not, None where it is. `extensions` are EHLO keywords in lower case."""
    message = parcel.message
    reasons = _of_envelope(message, extensions, host)
    if _needs_reading(message, extensions) and not all(reasons):
        content = await _of_content(parcel, extensions, host)
        if content is not None:
            return [Unfit(reason) if reason else content for reason in reasons]
    return [Unfit(reason) if reason else None for reason in reasons]


def _needs_reading(message: Message, extensions: Set[str]) -> bool:
    """Whether only the content can tell if the server is up to it."""
    return "8bitmime" not in extensions or (message.smtputf8 and "smtputf8" not in extensions)


def _of_envelope(message: Message, extensions: Set[str], host: str) -> list[str | None]:
    whole = _objection(message.reverse_path, message.ret, message.envid, extensions, host)
    if whole is not None:
        return [whole] * len(message.recipients)
    return [_objection(each.forward_path, each.notify, each.orcpt, extensions, host) for each in message.recipients]


def _objection(path: str, first: str, second: str, extensions: Set[str], host: str) -> str | None:
    """Against a path and the two values that came along with it."""
    if _CONTROL.search(path):
        return "an address holds control characters"
    if not (path.isascii() or "smtputf8" in extensions):
        return f"an address is not ASCII, and {host} does not offer SMTPUTF8"
    if (first or second) and not (_WORD.fullmatch(first) and _WORD.fullmatch(second)):
        return "a request for reports holds what cannot be sent"
    return None


async def _of_content(parcel: Parcel, extensions: Set[str], host: str) -> Result | None:
    try:
        is_ascii = parcel.message.trace.isascii()
        async for piece in parcel.chunks():
            is_ascii = is_ascii and piece.isascii()
    except Exception as error:
        return unreadable(error)
    if is_ascii:
        return None
    missing = "SMTPUTF8" if "8bitmime" in extensions else "8BITMIME"
    return Unfit(f"8-bit content, and {host} does not offer {missing}")
