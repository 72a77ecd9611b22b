"""A primary that takes large messages at next to no cost: `light_sink PORT COUNTER_FILE`.

smtp-sink looks at each octet by itself, which takes it 6 ns: with 20 MB messages its speed is what would be measured.
This one looks for a dot in 256 kB at a time. It offers PIPELINING, SIZE and 8BITMIME, takes everybody, and writes into
the file how many messages it has answered with 250.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READ_OCTETS = 256 * 1024
END = b"\r\n.\r\n"
EHLO = b"250-sink.example.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME\r\n"
REPLIES = {b"EHLO": EHLO, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
OK = b"250 2.0.0 ok\r\n"


class LightSink:
    """Implements Taker."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="light-sink-")
        self._counter = Path(self._directory.name) / "count"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._directory.cleanup()

    def start(self) -> None:
        self._counter.write_text("0")
        command = [sys.executable, "-m", "tests.bench.light_sink", str(self.port), str(self._counter)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the sink did not come up"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def count(self) -> int:
        return int(self._counter.read_text())


class _Session:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        connection.sendall(b"220 sink.example.test ESMTP\r\n")
        self._input = b""
        self._is_content = False

    def take(self, octets: bytes) -> int:
        """Answer what has come; how many messages it ended."""
        ended, replies = 0, []
        self._input += octets
        while True:
            if self._is_content:
                end = self._input.find(END) if b"." in self._input else -1
                if end < 0:
                    self._input = self._input[-len(END) + 1 :]
                    break
                self._input = self._input[end + len(END) :]
                self._is_content = False
                replies.append(OK)
                ended += 1
                continue
            line, found, rest = self._input.partition(b"\r\n")
            if not found:
                break
            self._input = rest
            word = line[:4].upper()
            replies.append(REPLIES.get(word, OK))
            if word == b"DATA":
                # The line end of the command is that before a dot which ends the content at once.
                self._input = b"\r\n" + self._input
                self._is_content = True
        if replies:
            self.socket.sendall(b"".join(replies))
        return ended


def serve(port: int, counter: Path) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=256)
    poll = select.epoll()
    poll.register(listening.fileno(), select.EPOLLIN)
    sessions: dict[int, _Session] = {}
    count, out = 0, os.open(counter, os.O_WRONLY)
    print("ready", flush=True)
    while True:
        for descriptor, _event in poll.poll():
            if descriptor == listening.fileno():
                connection, _ = listening.accept()
                sessions[connection.fileno()] = _Session(connection)
                poll.register(connection.fileno(), select.EPOLLIN)
                continue
            session = sessions[descriptor]
            try:
                octets = session.socket.recv(READ_OCTETS)
                ended = session.take(octets)
            except OSError:
                octets, ended = b"", 0
            if ended:
                count += ended
                os.pwrite(out, str(count).encode(), 0)
            if not octets:
                session.socket.close()
                del sessions[descriptor]


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
