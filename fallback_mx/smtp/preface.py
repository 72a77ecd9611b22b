"""What a proxy says before its client may speak: the PROXY header, read before the session begins.

A connection from a proxy that is trusted must begin with one, within ten seconds. One that does not is cut off: taken
for the proxy's own it would let its client be somebody else. Nothing is said before it has come, as its document asks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from fallback_mx.smtp.proxy_header import BadHeader, parse

if TYPE_CHECKING:
    from fallback_mx.smtp.wire import Wire

HEADER_SECONDS = 10.0


class Preface(asyncio.Protocol):
    """Takes the place of a connection's protocol until the header has come."""

    def __init__(self, connection: Wire, transport: asyncio.Transport, proxy_address: str) -> None:
        self._connection = connection
        self._transport = transport
        self._proxy_address = proxy_address
        self._input = bytearray()
        self._timer = connection.loop.call_later(HEADER_SECONDS, self._refuse, "no PROXY header came")
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self._input += data
        try:
            header = parse(self._input)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._timer.cancel()
        self._transport.set_protocol(self._connection)
        # A proxy that checks whether we are there speaks for itself.
        self._connection.begin(self._transport, header.client_address or self._proxy_address)
        if len(self._input) > header.octets:
            # Its client may have to wait for its greeting, and then that is who hears it speak.
            heard_by = cast(asyncio.Protocol, self._transport.get_protocol())
            heard_by.data_received(bytes(self._input[header.octets :]))

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()

    def _refuse(self, why: str) -> None:
        self._connection.refuse_preface(self._proxy_address, why)
        self._timer.cancel()
        self._transport.abort()
