"""What a report gives back of the message: all of it or its header, in a form that may stand within a message.

A message that is large, or could not travel within another undamaged (its header is beyond ASCII, a line too long), is
not given back whole; a header that could not is encoded. Whatever the octets, what comes out is well-formed MIME.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.quoprimime import body_encode

FULL_OCTETS = 100_000
HEADER_OCTETS = 64_000
LINE_OCTETS = 998  # RFC 5322, section 2.1.1


@dataclass(frozen=True, slots=True)
class Returned:
    """What there is of the message: its content or, where `is_whole` is False, its beginning, its header with it."""

    octets: bytes
    is_whole: bool


def part(kind: str, body: bytes, encoding: str = "") -> bytes:
    """One part of a multipart message."""
    encoding = encoding or ("7bit" if body.isascii() else "8bit")
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def returned(message: Returned, *, is_wanted_whole: bool, is_wide: bool) -> bytes:
    """The part. `is_wide`: the report is one of RFC 6533, so that UTF-8 may stand in a header."""
    octets = message.octets
    header = octets.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n"
    if is_wanted_whole and _may_be_whole(message, header, is_wide=is_wide):
        return part("message/global" if is_wide else "message/rfc822", octets)
    header = _cut(header)
    if is_wide and _is_utf8(header) and _fits(header):
        return part("message/global-headers", header)
    if header.isascii() and _fits(header):
        return part("text/rfc822-headers", header)
    charset = "utf-8" if _is_utf8(header) else "iso-8859-1"
    text = header.decode("latin-1").replace("\r\n", "\n")
    return part(
        f"text/rfc822-headers; charset={charset}",
        body_encode(text).replace("\n", "\r\n").encode("ascii"),
        "quoted-printable",
    )


def _may_be_whole(message: Returned, header: bytes, *, is_wide: bool) -> bool:
    """Whether it is small, and may stand in a message of this kind as it is."""
    if not message.is_whole or len(message.octets) > FULL_OCTETS:
        return False
    return _fits(message.octets) and (_is_utf8(header) if is_wide else header.isascii())


def _fits(octets: bytes) -> bool:
    if octets.count(b"\r\n") != octets.count(b"\n") or octets.count(b"\r") != octets.count(b"\n") or b"\0" in octets:
        return False
    return all(len(line) <= LINE_OCTETS for line in octets.split(b"\r\n"))


def _cut(header: bytes) -> bytes:
    """Not more of a header than anybody reads; whole lines."""
    if len(header) <= HEADER_OCTETS:
        return header
    end = header.rfind(b"\r\n", 0, HEADER_OCTETS)
    return header[: end + 2] if end >= 0 else header[: HEADER_OCTETS - 2] + b"\r\n"


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
