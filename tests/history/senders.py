"""Senders that break off by chance, try again until they are answered, and write every try down."""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import time
from dataclasses import replace
from hashlib import sha256
from types import TracebackType
from typing import Self

from tests.fakes.relay import DOMAIN
from tests.history.record import Try

# Of so many tries one is broken off in each of these ways.
ONE_IN = {"reset": 60, "vanish": 80, "stall": 50, "half-close": 80}
LONGEST_STALL_SECONDS = 1.0
PATIENCE_SECONDS = 20
NAMES = ("ann", "bob", "cid")


def content(sender: int, number: int) -> bytes:
    """No two are alike; some are large, some have dots and octets beyond ASCII."""
    chance = random.Random(f"{sender}.{number}")
    lines = 6000 if number % 50 == 49 else chance.randrange(60)
    head = f"Subject: {sender}.{number}\r\n\r\n".encode()
    return head + b"".join(
        b"." * chance.randrange(3) + b"%d \xc3\xa4" % chance.getrandbits(64) + b"." * chance.randrange(3) + b"\r\n"
        for _ in range(lines)
    )


class BrokenOff(Exception):
    """This session is over."""


class Sender:
    """One sender: one session at a time, one message after the other."""

    def __init__(self, number: int, port: int, seed: object) -> None:
        self.number = number
        self.tries: list[Try] = []
        self._chance = random.Random(f"{seed} sender {number}")
        self._port = port
        self._connection: socket.socket | None = None
        self._vanished: list[socket.socket] = []

    def work(self, is_over: threading.Event, is_calm: threading.Event) -> None:
        """Until it is over. While it is calm nothing is broken off."""
        message = 0
        while not is_over.is_set():
            message += 1
            attempt = 1
            while not self._send(message, attempt, is_calm.is_set()) and not is_over.is_set():
                attempt += 1
                time.sleep(0.02)
            time.sleep(self._chance.uniform(0, 0.02))
        self._hang_up()
        for each in self._vanished:
            each.close()

    def _send(self, message: int, attempt: int, calm: bool) -> bool:
        """One try. Whether it was answered with 250."""
        octets = content(self.number, message)
        paths = tuple(f"{name}@{DOMAIN}" for name in NAMES[: 1 + message % len(NAMES)])
        self._try = Try(self.number, message, attempt, paths, sha256(octets).hexdigest())
        try:
            self._transact(octets, calm)
        except (OSError, BrokenOff):
            self._hang_up()
        self.tries.append(self._try)
        return self._try.is_answered

    def _transact(self, octets: bytes, calm: bool) -> None:
        happens = {what: not calm and self._chance.randrange(one_in) == 0 for what, one_in in ONE_IN.items()}
        step = self._chance.choice(["envelope", "content", "final"])
        if self._connection is None:
            self._connect()
        self._say(f"MAIL FROM:<{self._try.reverse_path}> BODY=8BITMIME")
        for path in self._try.forward_paths:
            self._say(f"RCPT TO:<{path}>")
        self._break_off(happens, step == "envelope")
        self._say("DATA", "354")
        stuffed = re.sub(rb"(?m)^\.", b"..", octets)
        half = len(stuffed) // 2
        assert self._connection is not None
        self._connection.sendall(stuffed[:half])
        self._break_off(happens, step == "content")
        self._try = replace(self._try, dotted_at=time.time())
        self._connection.sendall(stuffed[half:] + b".\r\n")
        self._break_off(happens, step == "final")
        if happens["half-close"]:
            self._connection.shutdown(socket.SHUT_WR)
        reply = self._hear()
        found = re.search(r"Queued as (\w+)", reply)
        self._try = replace(self._try, reply=reply, queue_id=found[1] if found else "")
        if happens["half-close"] or reply.startswith("421"):
            raise BrokenOff(reply)

    def _break_off(self, happens: dict[str, bool], here: bool) -> None:
        if not here:
            return
        if happens["stall"]:
            time.sleep(self._chance.uniform(0, LONGEST_STALL_SECONDS))
        assert self._connection is not None
        if happens["vanish"]:
            # Half-open: the other side is told nothing.
            self._vanished.append(self._connection)
            self._connection = None
            raise BrokenOff("vanished")
        if happens["reset"]:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise BrokenOff("reset")

    # The wire -------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
        self._input = self._connection.makefile("rb")
        self._expect("220")
        self._say("EHLO sender.test")

    def _say(self, line: str, expected: str = "250") -> None:
        assert self._connection is not None
        self._connection.sendall(f"{line}\r\n".encode())
        self._expect(expected)

    def _expect(self, expected: str) -> None:
        reply = self._hear()
        if not reply.startswith(expected):
            raise BrokenOff(reply)

    def _hear(self) -> str:
        """The last line of a reply."""
        while True:
            line = self._input.readline().decode()
            if not line.endswith("\n"):
                raise BrokenOff("the connection ended")
            if line[3] == " ":
                return line.rstrip()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._input.close()
            self._connection.close()
            self._connection = None


class Senders:
    """So many, side by side. `calm_down` ends all mischief, leaving the context the sending."""

    def __init__(self, port: int, seed: object, count: int = 4) -> None:
        self._senders = [Sender(number, port, seed) for number in range(1, count + 1)]
        self._is_over = threading.Event()
        self._is_calm = threading.Event()
        self._threads = [
            threading.Thread(target=sender.work, args=(self._is_over, self._is_calm)) for sender in self._senders
        ]

    @property
    def tries(self) -> list[Try]:
        return [each for sender in self._senders for each in list(sender.tries)]

    def calm_down(self) -> None:
        self._is_calm.set()

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
