"""The demo's mail: 200 different messages, small and large, 8-bit, with dots, for one or several recipients."""

from __future__ import annotations

import random
import smtplib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

COUNT = 200
SMALLEST_OCTETS = 1_000
LARGEST_OCTETS = 5_000_000
DOMAIN = "example.test"
_EIGHT_BIT = "Grüße, ça va, ½ ± 3 €".encode("latin-1", "replace")


@dataclass(frozen=True, slots=True)
class DemoMessage:
    number: int
    reverse_path: str
    forward_paths: tuple[str, ...]
    content: bytes

    @property
    def digest(self) -> bytes:
        return sha256(self.content).digest()


def letters(count: int = COUNT, seed: int = 5321) -> Iterator[DemoMessage]:
    """`count` messages, the same each time, sizes evenly spread over the powers between smallest and largest."""
    chance = random.Random(seed)  # noqa: S311  # for variety, not for secrets
    order = list(range(count))
    chance.shuffle(order)
    pool = b"".join(_line(chance) for _ in range(20_000))
    for number in range(count):
        share = order[number] / max(1, count - 1)
        octets = int(SMALLEST_OCTETS * (LARGEST_OCTETS / SMALLEST_OCTETS) ** share)
        yield _letter(number, octets, pool, chance)


def _line(chance: random.Random) -> bytes:
    kind = chance.randrange(12)
    if kind == 0:
        return b"." * chance.randrange(1, 4) + b"\r\n"
    if kind == 1:
        return b".a line that begins with a dot\r\n"
    if kind == 2:
        return _EIGHT_BIT + b"\r\n"
    if kind == 3:
        return b"\r\n"
    if kind == 4:
        return b"y" * 998 + b"\r\n"
    return chance.randbytes(36).hex().encode() + b"\r\n"


def _letter(number: int, octets: int, pool: bytes, chance: random.Random) -> DemoMessage:
    recipients = tuple(f"person-{chance.randrange(50)}-{n}@{DOMAIN}" for n in range(chance.choice((1, 1, 1, 2, 3, 5))))
    sender = "" if number % 20 == 0 else f"sender-{number}@elsewhere.test"
    head = (
        f"From: <{sender or 'mailer-daemon@elsewhere.test'}>\r\nTo: <{recipients[0]}>\r\n"
        f"Subject: letter {number}\r\nMessage-ID: <{number}.demo@elsewhere.test>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ).encode()
    start = pool.index(b"\r\n", chance.randrange(len(pool) // 2)) + 2
    body = b"\r\n"
    while len(head) + len(body) < octets:
        body += pool[start : start + octets]
        start = 0
    # Cut at a line's end, for content always ends with one, and filled up to the size with a last line.
    last = f"end of {number} ".encode()
    end = body.rfind(b"\r\n", 0, max(octets - len(head) - len(last) - 2, 2)) + 2
    gap = max(0, octets - len(head) - end - len(last) - 2)
    filling = b"." * gap if gap < 900 else b"." * (gap - 502) + b"\r\n" + b"." * 500
    return DemoMessage(number, sender, recipients, head + body[:end] + last + filling + b"\r\n")


def send(host: str, port: int, messages: list[DemoMessage]) -> dict[int, str]:
    """Send these over one connection, as a mail server would. The final reply to each, by number.

    The standard library's client stands in for a stranger's: it shares no code with the service.
    """
    replies: dict[int, str] = {}
    with smtplib.SMTP(host, port, local_hostname="mail.elsewhere.test", timeout=60) as client:
        client.ehlo()
        for message in messages:
            replies[message.number] = _send_one(client, message)
    return replies


def _send_one(client: smtplib.SMTP, message: DemoMessage) -> str:
    code, text = client.mail(message.reverse_path, ["BODY=8BITMIME", f"SIZE={len(message.content)}"])
    for forward_path in message.forward_paths:
        if code == 250:
            code, text = client.rcpt(forward_path)
    if code == 250:
        code, text = client.data(message.content)
    if code != 250:
        client.rset()
    return f"{code} {text.decode('ascii', 'replace')}"
