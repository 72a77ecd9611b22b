"""Senders that never stop: raw SMTP sessions, side by side, that outlive whoever they speak to.

Every message is another one, and none is sent twice: what was cut off before its 250 may be in the queue or not.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


def content(token: str) -> bytes:
    number = int(token.rpartition(".")[2])
    size = 300_000 if number % 40 == 39 else 40 * (number % 100)
    return f"Subject: {token}\r\n\r\n".encode() + b"0123456789abcdef\r\n" * (size // 18)


class Senders:
    """`promises` is what was answered with 250: the token of each queue id. `promised_at` has the time by `clock`."""

    def __init__(self, port: int, sessions: int = 6, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.promises: dict[str, str] = {}
        self.promised_at: dict[str, int] = {}
        self._clock = clock
        self._port = port
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(sessions)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _work(self, session: int) -> None:
        number = 0
        while not self._is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
                    wire = _Wire(connection)
                    wire.expect("220")
                    wire.say("EHLO sender.test", "250")
                    while not self._is_over.is_set():
                        number += 1
                        self._send(wire, f"{session}.{number}")
            except (OSError, _Cut):
                time.sleep(0.02)

    def _send(self, wire: _Wire, token: str) -> None:
        wire.say("MAIL FROM:<a@sender.test>", "250")
        wire.say(f"RCPT TO:<{token}@example.test>", "250")
        wire.say("RCPT TO:<u@example.test>", "250")
        wire.say("DATA", "354")
        final = wire.say(content(token).decode() + ".", "250")
        found = re.search(r"Queued as (\w+)", final)
        assert found is not None, final
        self.promises[found[1]] = token
        self.promised_at[found[1]] = self._clock()


class _Cut(Exception):
    """The session is over, or has been answered in a way that ends it."""


class _Wire:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def say(self, line: str, expected: str) -> str:
        self._connection.sendall(f"{line}\r\n".encode())
        return self.expect(expected)

    def expect(self, expected: str) -> str:
        """The last line of the reply."""
        while True:
            line = self._lines.readline().decode()
            if not line.endswith("\n"):
                raise _Cut("the connection ended")
            if line[3] == " ":
                break
        if not line.startswith(expected):
            raise _Cut(line)
        return line.rstrip()
