"""A sender that goes step by step: a transaction up to its final dot, and the reply to that dot when it comes."""

from __future__ import annotations

import select
import smtplib
from types import TracebackType
from typing import Self

LETTER = b"Subject: one\r\n\r\nout\r\n"
ENHANCED = 9  # "451 4.3.0" without the space after it


class Client:
    """One connection to the relay on this port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self._smtp = smtplib.SMTP("127.0.0.1", port, local_hostname="sender.test", timeout=60)
        self._smtp.ehlo()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._smtp.close()

    def begin(self, content: bytes = LETTER, recipient: str = "u@example.test") -> str:
        """Everything up to the final dot, which is sent; "" then, or the reply that it did not get beyond."""
        for command, expected in (("MAIL FROM:<a@sender.test>", 250), (f"RCPT TO:<{recipient}>", 250), ("DATA", 354)):
            code, text = self._smtp.docmd(command)
            if code != expected:
                return _said(code, text)
        self._smtp.send(content + b".\r\n")
        return ""

    @property
    def has_reply(self) -> bool:
        """Whether anything has come that was not read yet."""
        readable, _, _ = select.select([self._smtp.sock], [], [], 0)
        return bool(readable)

    def reply(self) -> str:
        """Code and enhanced status of the next reply, as in "250 2.0.0"."""
        return _said(*self._smtp.getreply())


def _said(code: int, text: bytes) -> str:
    return f"{code} {text.decode()}"[:ENHANCED]


def send(port: int, content: bytes = LETTER, recipient: str = "u@example.test") -> str:
    """The reply that decided: to the final dot, or to the command that was refused."""
    with Client(port) as client:
        return client.begin(content, recipient) or client.reply()
