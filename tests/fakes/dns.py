"""A small name server on UDP and TCP of one port, with a resolver that asks it alone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = dict[tuple[str, str], Iterable[str]]
"""What is in the zone, by name and type: {("example.test.", "MX"): ["10 mail.example.test."]}."""


class NameServer:
    """Answers from `records`. A name in `broken` gets that rcode, one in `truncated` its answer by TCP alone,
    one in `silent` none. Before every answer by UDP comes what is in `forged` for that name and type, as of somebody
    who has guessed everything but the number of the question.

    `is_validating`: it says of every answer that DNSSEC vouches for it, to those that ask for that; `insecure` are the
    names for which it does not.
    """

    def __init__(
        self,
        records: Records,
        *,
        broken: dict[str, dns.rcode.Rcode] | None = None,
        truncated: frozenset[str] = frozenset(),
        is_validating: bool = False,
        insecure: frozenset[str] = frozenset(),
        silent: frozenset[str] = frozenset(),
        forged: Records | None = None,
    ) -> None:
        self.records = records
        self.broken = broken or {}
        self.truncated = truncated
        self.is_validating = is_validating
        self.insecure = insecure
        self.silent = silent
        self.forged = forged or {}
        self.asked: list[tuple[str, str, str]] = []

    def forgery(self, query: bytes) -> bytes | None:
        """What somebody else says, who does not see the question."""
        asked = dns.message.from_wire(query)
        [question] = asked.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        if (name, kind) not in self.forged:
            return None
        response = dns.message.make_response(asked)
        response.id ^= 1
        response.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, self.forged[name, kind]))
        return response.to_wire(want_shuffle=False)

    def answer(self, query: bytes, transport: str) -> bytes | None:
        """None where there is none."""
        asked = dns.message.from_wire(query)
        response = dns.message.make_response(asked)
        response.flags |= dns.flags.RA
        [question] = asked.question
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        if self.is_validating and asked.flags & dns.flags.AD and name not in self.insecure:
            response.flags |= dns.flags.AD
        if name in self.silent:
            return None
        if name in self.broken:
            response.set_rcode(self.broken[name])
        elif name in self.truncated and transport == "udp":
            response.flags |= dns.flags.TC
        elif (name, kind) in self.records:
            response.answer.append(dns.rrset.from_text_list(name, 60, "IN", kind, self.records[name, kind]))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(want_shuffle=False)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for reply in (self._server.forgery(data), self._server.answer(data, "udp")):
            if reply is not None:
                self._transport.sendto(reply, addr)


@asynccontextmanager
async def serving(server: NameServer) -> AsyncIterator[int]:
    """The port of 127.0.0.1 on which it answers."""

    async def by_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        [length] = struct.unpack("!H", await reader.readexactly(2))
        reply = server.answer(await reader.readexactly(length), "tcp")
        if reply is not None:
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(by_tcp, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(server), local_addr=("127.0.0.1", port)
    )
    try:
        yield port
    finally:
        udp.close()
        listening.close()
        await listening.wait_closed()


@asynccontextmanager
async def resolver_for(server: NameServer) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """A resolver that knows this server and no other."""
    async with serving(server) as port:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = port
        resolver.timeout = 0.5
        resolver.lifetime = 2.0
        yield resolver
