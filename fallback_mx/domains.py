"""Domain names in the one form in which they are compared: lower case, A-labels, no trailing dot.

A domain in the configuration and the same domain in a recipient's address must meet whatever way either was written
(RFC 5890; RFC 5321, section 2.3.5). A name that is none raises ValueError, whose text says why.
"""

from __future__ import annotations

import re

import idna

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_MAX_LENGTH = 253


def normalised(name: str) -> str:
    """The domain as lower case A-labels without the trailing dot."""
    text = name.removesuffix(".").lower()
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(str(error)) from None
    if not text:
        raise ValueError("it is empty")
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"it is longer than {_MAX_LENGTH} characters")
    labels = text.split(".")
    for label in labels:
        if not label:
            raise ValueError("it has an empty part between two dots")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label!r} cannot be a part of a domain name")
    if labels[-1].isdigit():
        raise ValueError("it is an address, not a name")
    return text
