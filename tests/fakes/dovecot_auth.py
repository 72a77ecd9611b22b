"""Dovecot's password daemon, for a Postfix that lets one user log in (Dovecot's auth protocol, version 1: lines of
fields with tabs between, over a socket)."""

from __future__ import annotations

import asyncio
import base64
import hmac
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.loop_thread import LoopThread

CHALLENGE = b"<1@postfix.test>"
HELLO = (
    "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tCRAM-MD5\n"
    "SPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n"
)


class DovecotAuth:
    """Listens at `path`. `asked` counts the passwords that it was shown."""

    def __init__(self, path: Path, username: str, password: str) -> None:
        self.path = path
        self.asked = 0
        self._username, self._password = username.encode(), password.encode()
        self._thread = LoopThread()
        self._steps: dict[str, tuple[str, list[bytes]]] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.do(self._start())
        self.path.chmod(0o777)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self._stop())
        self._thread.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_unix_server(self._connected, self.path)

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.write(HELLO.encode())
        while line := await reader.readline():
            verb, *fields = line.decode().rstrip("\n").split("\t")
            if verb == "AUTH":
                number, mechanism, *options = fields
                said = [base64.b64decode(each[5:]) for each in options if each.startswith("resp=")]
                self._steps[number] = (mechanism, said)
                writer.write(self._answer(number).encode())
            elif verb == "CONT":
                number, coded = fields
                self._steps[number][1].append(base64.b64decode(coded))
                writer.write(self._answer(number).encode())
        self._writers.discard(writer)

    def _answer(self, number: str) -> str:
        mechanism, said = self._steps[number]
        wanted = {"PLAIN": [b""], "LOGIN": [b"Username:", b"Password:"], "CRAM-MD5": [CHALLENGE]}[mechanism]
        if len(said) < len(wanted):
            return f"CONT\t{number}\t{base64.b64encode(wanted[len(said)]).decode()}\n"
        digest = hmac.new(self._password, CHALLENGE, "md5").hexdigest().encode()
        right = {
            "PLAIN": [b"\0" + self._username + b"\0" + self._password],
            "LOGIN": [self._username, self._password],
            "CRAM-MD5": [self._username + b" " + digest],
        }[mechanism]
        self.asked += 1
        if said == right:
            return f"OK\t{number}\tuser={self._username.decode()}\n"
        return f"FAIL\t{number}\tuser={self._username.decode()}\n"
