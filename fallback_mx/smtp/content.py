"""Message content as it comes off the wire: in pieces, with a fixed memory, strict about line ends.

The end of data is CRLF.CRLF and nothing else (RFC 5321, section 4.1.1.4). A bare CR, a bare LF or a NUL anywhere
raises `Untrusted` at once: a server behind us might see another end there, and with it a second message that nobody
checked (SMTP smuggling). The caller then refuses and closes; what follows on that connection is never read as
commands. A line that is too long is no such danger: `LineLimit` notices it, and the message is refused at its end. No
socket is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from io import IncrementalNewlineDecoder

END = b"\r\n.\r\n"
MANY_DOTS = 50
_DOT = b"\r\n."
_BEGIN = b"\r\n"


class Untrusted(Exception):
    """The stream has an octet that different servers read differently. The text is for the sender."""


class ContentReader:
    """Takes octets in whatever pieces they come, and hands them to `write` with the dots unstuffed."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        # The two octets before what is not yet handed on stay in front: the line end that a dot needs to be stuffing.
        # The content begins as if behind a line end, so that a lone dot at once is its end.
        self._pending = _BEGIN

    def feed(self, octets: bytes) -> bytes | None:
        """Take these octets; what stood behind the end of data once it has come, else None. Raises Untrusted."""
        if self._pending is _BEGIN and octets.endswith(END) and _is_bare(octets):
            self._write(_checked(octets[:-3]))
            return b""
        pending = self._pending + octets
        # Most of a large message has no dot at all (base64): one octet is looked for fifty times as fast as three.
        end, dots = pending.find(_DOT) if b"." in pending else -1, 0
        while end >= 0 and pending[end + 3 : end + 5] != b"\r\n":
            dots += 1
            # One look for both, the end and stuffing; where there is a great deal of stuffing, one for the end alone.
            end = pending.find(_DOT, end + 3) if dots < MANY_DOTS else pending.find(END, end + 3)
        if end >= 0:
            self._write(_plain(pending[: end + 2], is_stuffed=dots > 0))
            return pending[end + len(END) :]
        cut = len(pending) - len(END) + 1
        if cut > 2:
            self._write(_plain(pending[:cut], is_stuffed=dots > 0))
            pending = pending[cut - 2 :]
        self._pending = pending
        return None


def _plain(octets: bytes, *, is_stuffed: bool) -> bytes:
    """Check a piece and take its dot-stuffing away. The first two octets are context and not part of the result."""
    # A CR or LF at the very edge is half of a pair whose other half stands in the neighbouring piece. (A CR at the end
    # is waited for by the decoder.)
    _checked(octets[1:] if octets.startswith(b"\n") else octets)
    return (octets.replace(_DOT, b"\r\n") if is_stuffed else octets)[2:]


def _is_bare(octets: bytes) -> bool:
    """Whether this is all of a message, as most small ones come: in its last line there is a dot at the start, and in
    no other."""
    return octets.find(_DOT) == len(octets) - len(END) and not octets.startswith(b".")


def _checked(octets: bytes) -> bytes:
    """The same octets. Raises Untrusted."""
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(str(octets, "latin-1"))
    kinds = decoder.newlines
    if kinds is not None and kinds != "\r\n":
        which = "LF" if "\n" in kinds else "CR"
        raise Untrusted(f"bare {which} in the message: lines must end with CRLF")
    if b"\0" in octets:
        raise Untrusted("NUL in the message")
    return octets


class LineLimit:
    """Notices a line of more than `octets` octets, CRLF not counted, in content that comes in pieces."""

    def __init__(self, octets: int) -> None:
        self._most = octets + 2
        self._open = 0  # octets of the line that the pieces so far ended in

    def is_broken_by(self, piece: bytes) -> bool:
        """Whether this piece makes a line too long. After that there is no use in asking again."""
        size, start = len(piece), -self._open
        # From the start of a line the last line end within its limit is looked for, and what lies between is passed
        # over: with a large limit that is one look for a great many lines.
        while size - start > self._most:
            end = piece.rfind(b"\n", max(0, start), start + self._most)
            if end < 0:
                return True
            start = end + 1
        last = piece.rfind(b"\n", max(0, start))
        self._open = size - 1 - last if last >= 0 else size - start
        return False
