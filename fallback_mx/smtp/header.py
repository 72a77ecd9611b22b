"""The header of a message while it arrives: how long it is, and how many servers it has been through.

It ends at the empty line, or at the first line that is no field of a header (RFC 5322, section 2.2): there are messages
with nothing but a body. It is looked at piece by piece and never kept; nothing else of it is understood here, and
nothing of it is changed.
"""

from __future__ import annotations

import re

_RECEIVED = re.compile(rb"\nreceived[ \t]{0,40}:", re.IGNORECASE)
_END = re.compile(rb"\n(?![ \t]|[!-9;-~]{1,128}[ \t]{0,40}:)")
# With so much of a line there is no doubt any more what it begins with.
_CERTAIN_OCTETS = 200


class Header:
    """`octets` counts what has been seen of it; `hops` are its Received lines (RFC 5321, section 6.3)."""

    def __init__(self) -> None:
        self.octets = -1
        self.hops = 0
        self.has_ended = False
        # Content begins as if behind a line end.
        self._open_line = b"\n"

    def feed(self, piece: bytes) -> None:
        """The next octets of the content, up to the end of a line or not; after the end of the header, none."""
        text = self._open_line + piece
        last = text.rfind(b"\n")
        end = _END.search(text)
        if end is not None and (end.start() < last or len(text) - end.start() > _CERTAIN_OCTETS):
            self.has_ended = True
            settled, self._open_line = end.start() + 1, b""
        elif last >= 0 and len(text) - last <= _CERTAIN_OCTETS:
            settled, self._open_line = last, text[last:]
        else:
            settled, self._open_line = len(text), b""
        self.octets += settled
        self.hops += len(_RECEIVED.findall(text, 0, settled))
