"""Dot-stuffing, a piece at a time (RFC 5321, section 4.5.2).

Content leaves as it came, but for a dot more before each line that begins with one. A dot that follows a bare CR or a
bare LF is the stuff of smuggling: some servers take it for the end of the message, and what follows for commands. Our
listener refuses such content; should any get here, `BareDot` is raised and the final dot must never be sent.
"""

from __future__ import annotations

FINAL_DOT = b".\r\n"
OCTETS_A_DOT = 1024


class BareDot(ValueError):
    """The content holds a line, by a lax server's reading, that could end the message early."""

    def __init__(self) -> None:
        super().__init__("a dot follows a bare CR or LF, which some servers take for the end of the message")


class DotStuffer:
    """Feed it the content in order with `stuff`, then send what `end` gives."""

    def __init__(self) -> None:
        # As if the line end of the DATA command were part of the content.
        self._tail = b"\r\n"

    def stuff(self, piece: bytes) -> bytes:
        """This piece as it goes on the wire. Raises BareDot."""
        if not piece:
            return piece
        stuffed = piece if _begins_no_line(piece) else self._stuffed(piece)
        self._tail = (self._tail + piece[-2:])[-2:]
        return stuffed

    def _stuffed(self, piece: bytes) -> bytes:
        _refuse_bare(self._tail + piece[:2], len(self._tail))
        stuffed = piece
        dots = piece.count(b"\n.")
        if dots:
            if piece.count(b"\r\n.") != dots - piece.startswith(b"\n."):
                raise BareDot
            stuffed = piece.replace(b"\r\n.", b"\r\n..")
        if b"\r." in piece:
            raise BareDot
        if piece.startswith(b".") and self._tail.endswith(b"\r\n"):
            return b"." + stuffed
        if piece.startswith(b"\n.") and self._tail.endswith(b"\r"):
            return b"\n." + stuffed[1:]
        return stuffed

    def end(self) -> bytes:
        """The final dot, with the line end that it needs before it where the content has none."""
        return FINAL_DOT if self._tail.endswith(b"\r\n") else b"\r\n" + FINAL_DOT


def _begins_no_line(piece: bytes) -> bool:
    """Whether it is plain that none of its dots can begin a line, by anybody's reading.

    One octet is looked for fifty times as fast as two, and most of a large message has no dot at all (base64). Where
    there are many that is no gain, and it is not asked further.
    """
    dot = piece.find(b".")
    for _ in range(1 + len(piece) // OCTETS_A_DOT):
        if dot < 0:
            return True
        if dot < 2 or piece[dot - 1] in b"\r\n":
            return False
        dot = piece.find(b".", dot + 1)
    return False


def _refuse_bare(seam: bytes, middle: int) -> None:
    """Look for a bare CR or LF before a dot where two pieces meet."""
    dot = seam.find(b".", middle)
    if dot < 0:
        return
    before = seam[:dot]
    if before.endswith(b"\r") or (before.endswith(b"\n") and not before.endswith(b"\r\n")):
        raise BareDot
