"""Greylisting for a Postfix, by its policy protocol (SMTPD_POLICY_README): who comes first is told to come again."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from tests.fakes.loop_thread import LoopThread
from tests.fakes.ports import free_port

Triplet = tuple[str, str, str]


class Greylisting:
    """A policy service on `port`. `asked` has the client, reverse-path and forward-path of every question."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[Triplet] = []
        self._thread = LoopThread()
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self._stop())
        self._thread.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        while fields := await _question(reader):
            writer.write(f"action={self._judge(fields)}\n\n".encode())
        writer.close()

    def _judge(self, fields: dict[str, str]) -> str:
        triplet = fields["client_address"], fields["sender"], fields["recipient"]
        is_known = triplet in self.asked
        self.asked.append(triplet)
        return "DUNNO" if is_known else "450 4.2.0 Greylisted, please come again"


async def _question(reader: asyncio.StreamReader) -> dict[str, str]:
    """The attributes of one, up to the empty line; none at the end."""
    fields: dict[str, str] = {}
    while line := (await reader.readline()).decode().rstrip("\n"):
        name, _, fields[name] = line.partition("=")
    return fields
