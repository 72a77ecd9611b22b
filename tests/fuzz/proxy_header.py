"""Any octets as the beginning of a connection from a proxy.

The decision does not depend on how they arrive, is never taken back, and where a client is named it is the one that
another reader of the protocol finds: aiosmtpd's, which is laxer, but must never find somebody else.
"""

from __future__ import annotations

import asyncio
import ipaddress

from aiosmtpd.proxy_protocol import AF, PROTO, V2_CMD, ProxyData, get_proxy

from fallback_mx.smtp.proxy_header import BadHeader, ProxyHeader, parse

Decision = ProxyHeader | str | None


def check(data: bytes) -> None:
    decision: Decision = None
    for length in range(len(data) + 1):
        now = _decide(data[:length])
        assert decision is None or type(now) is type(decision), f"{decision} became {now}"
        if isinstance(decision, ProxyHeader):
            assert now == decision, f"{decision} became {now}"
        decision = now
    assert _decide(bytearray(data)) == decision
    if isinstance(decision, ProxyHeader):
        _check_header(decision, data)


def _decide(received: bytes | bytearray) -> Decision:
    try:
        return parse(received)
    except BadHeader as error:
        return str(error)


def _check_header(header: ProxyHeader, data: bytes) -> None:
    assert 0 < header.octets <= len(data)
    assert header.octets <= 16 + 0xFFFF
    read = _Octets(data)
    other = _run(get_proxy(read))
    if not other.valid:
        # Nobody is named then: the connection is the proxy's own.
        assert header.client_address == "", f"{header}, and for aiosmtpd {other.error}"
        return
    assert read.position == header.octets, "the session would begin elsewhere"
    expected = _client_of(other)
    assert header.client_address == expected, f"{header}, and for aiosmtpd {expected!r}"


def _client_of(other: ProxyData) -> str:
    """Who it is by the other reader's account, "" where the proxy speaks for itself or cannot say."""
    is_local = other.version == 2 and other.command == V2_CMD.LOCAL
    if is_local or other.family not in {AF.INET, AF.INET6} or other.protocol != PROTO.STREAM:
        return ""
    address = ipaddress.ip_address(str(other.src_addr))
    return str(getattr(address, "ipv4_mapped", None) or address)


class _Octets:
    """What aiosmtpd reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    async def read(self, most: int = -1) -> bytes:
        return await self.readexactly(min(most, len(self._data) - self.position))

    async def readexactly(self, count: int) -> bytes:
        found = self._data[self.position : self.position + count]
        self.position += len(found)
        if len(found) < count:
            raise asyncio.IncompleteReadError(found, count)
        return found

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        end = self._data.find(separator, self.position)
        return await self.readexactly((len(self._data) if end < 0 else end + len(separator)) - self.position)


def _run(reading: object) -> ProxyData:
    """Run what never waits."""
    try:
        reading.send(None)  # type: ignore[attr-defined]
    except StopIteration as over:
        found: ProxyData = over.value
        return found
    raise AssertionError("it waited")
