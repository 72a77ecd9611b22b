"""How long senders wait for the reply to their final dot: `reply_times PORT MESSAGES SESSIONS SIZE RECIPIENT`.

What smtp-source does, and a look at the clock before the final dot and behind its reply: sessions are reused, one reply
is awaited before the next command, content and final dot are one write. At the rates measured here it takes a small
part of one core. Prints the seconds of every reply as JSON; exit status 0 means that every message got its 250.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from tests.fakes.smtp_tools import LoadFailed

ROOT = Path(__file__).resolve().parents[2]
SILENCE_SECONDS = 120


@dataclass(frozen=True)
class Waits:
    """In milliseconds."""

    median: float
    percentile_99: float


def measure(port: int, *, messages: int, sessions: int, size: int, recipient: str) -> Waits:
    """Send from a process of its own; raises LoadFailed unless everything was answered with 250."""
    arguments = [str(value) for value in (port, messages, sessions, size, recipient)]
    command = [sys.executable, "-m", "tests.bench.reply_times", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"reply_times ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    hundredths = quantiles(json.loads(done.stdout), n=100)
    return Waits(hundredths[49] * 1000, hundredths[98] * 1000)


class _Session:
    """One connection: what is said in turn, and the reply each wants."""

    def __init__(self, port: int, said: list[tuple[bytes, bytes]]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._said = said
        self._heard = b""
        self._turn = -1  # the banner is awaited, and nothing was said for it
        self._at = 0.0

    def hear(self, more: bool) -> float | None:
        """Something can be read. The seconds of a message that is done now, None while none is."""
        self._heard += self.socket.recv(4096)
        *_, last = self._heard.rstrip(b"\r\n").split(b"\n")
        if not self._heard.endswith(b"\n") or last[3:4] == b"-":
            if not self._heard:
                raise SystemExit("the connection was closed")
            return None
        heard, self._heard = self._heard, b""
        wanted = self._said[self._turn][1] if self._turn >= 0 else b"220"
        if not last.startswith(wanted):
            raise SystemExit(f"expected {wanted.decode()} in turn {self._turn}, got {heard!r}")
        is_done = self._turn == len(self._said) - 1
        seconds = time.perf_counter() - self._at if is_done else None
        if is_done and not more:
            self.socket.sendall(b"QUIT\r\n")
            self.socket.close()
            return seconds
        self._turn = 1 if is_done else self._turn + 1
        self._at = time.perf_counter()
        self.socket.sendall(self._said[self._turn][0])
        return seconds


def send(port: int, messages: int, sessions: int, size: int, recipient: str) -> list[float]:
    line = b"X" * 78 + b"\r\n"
    content = b"Subject: load\r\n\r\n" + line * (size // len(line)) + b".\r\n"
    said = [
        (b"HELO load.sender.test\r\n", b"250"),
        (b"MAIL FROM:<a@sender.test>\r\n", b"250"),
        (b"RCPT TO:<" + recipient.encode() + b">\r\n", b"250"),
        (b"DATA\r\n", b"354"),
        (content, b"250"),
    ]
    poll = select.epoll()
    open_sessions = {}
    for _ in range(sessions):
        session = _Session(port, said)
        open_sessions[session.socket.fileno()] = session
        poll.register(session.socket.fileno(), select.EPOLLIN)
    begun, waits = sessions, []
    while open_sessions:
        events = poll.poll(SILENCE_SECONDS)
        if not events:
            raise SystemExit(f"no reply for {SILENCE_SECONDS} s")
        for descriptor, _event in events:
            more = begun < messages
            seconds = open_sessions[descriptor].hear(more)
            if seconds is not None:
                waits.append(seconds)
                begun += more
                if not more:
                    del open_sessions[descriptor]
    return waits


if __name__ == "__main__":
    given = sys.argv[1:]
    json.dump(send(int(given[0]), int(given[1]), int(given[2]), int(given[3]), given[4]), sys.stdout)
