"""Mail of every kind that senders send, to be compared with what arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.relay import DOMAIN


@dataclass(frozen=True)
class Letter:
    kind: str
    content: bytes
    reverse_path: str = "a@sender.test"
    forward_path: str = f"user@{DOMAIN}"

    @property
    def is_wide(self) -> bool:
        """Whether it is for SMTPUTF8 alone (RFC 6531)."""
        return not (self.reverse_path + self.forward_path).isascii()

    @property
    def mail_parameters(self) -> tuple[str, ...]:
        """What a client says of it at MAIL."""
        wide = ("SMTPUTF8",) if self.is_wide else ()
        return wide if self.content.isascii() else (*wide, "BODY=8BITMIME")

    @property
    def body(self) -> bytes:
        return self.content.split(b"\r\n\r\n", 1)[1]


def _letter(kind: str, body: bytes, *, subject: str | None = None, **paths: str) -> Letter:
    fields = [
        "From: <a@sender.test>",
        "Date: Sun, 1 Mar 2026 12:00:00 +0000",
        f"Message-ID: <{kind}@sender.test>",
        f"Subject: {subject or kind}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    return Letter(kind, "\r\n".join([*fields, "", ""]).encode() + body, **paths)


def _numbered_lines(octets: int) -> Iterator[bytes]:
    """No two are the same: a piece that is lost, doubled or out of order shows."""
    written = number = 0
    while written < octets:
        yield (line := b"%08d %s\xc3\xa4\r\n" % (number, b"." * (number % 70)))
        written += len(line)
        number += 1


EVERY_OCTET = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")

LETTERS = (
    _letter("plain", b"One line,\r\n\r\nanother, trailing blanks \t\r\n\r\n\r\n"),
    _letter("8-bit", b"Gr\xc3\xbc\xc3\x9fe, \xff\xfe in no character set\r\n" + EVERY_OCTET + b"\r\n"),
    _letter("dots", b".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n" + b"." * 998 + b"\r\n"),
    _letter("long-lines", b"".join(b"%d" % (n % 10) * n + b"\r\n" for n in range(990, 999)) * 3),
    _letter("large", b"".join(_numbered_lines(12_000_000))),
    _letter(
        "smtputf8",
        "Grüße, in UTF-8 from the envelope to the end\r\n".encode(),
        subject="Grüße aus 東京",
        reverse_path="jürgen@sender.test",
        forward_path=f"grüße@{DOMAIN}",
    ),
)


def without_trace(arrived: bytes) -> bytes:
    """What the relay was given: all but the one Received field that it put on top."""
    found = re.match(rb"Received: from [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", arrived)
    assert found is not None, f"no Received line on top of {arrived[:200]!r}"
    assert b"by relay.example.net" in found[0], f"not the relay's: {found[0]!r}"
    return arrived[found.end() :]


def first_difference(expected: bytes, found: bytes) -> str:
    """Where two contents part, and how; "" where they do not. A diff of megabytes helps nobody."""
    if expected == found:
        return ""
    at = next((n for n, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return f"expected {len(expected)} octets, found {len(found)}, the shorter one begins the other"
    around = slice(max(0, at - 30), at + 30)
    return f"at octet {at} of {len(expected)}: expected {expected[around]!r}, found {found[around]!r}"
