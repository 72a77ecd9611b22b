"""A courier on a connection to a sink, inside one `asyncio.run`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fallback_mx.rules.disposition import Delivery
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import DialSettings, connect
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.parcels import MemoryParcel

T = TypeVar("T")

PLAIN = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=Timeouts(5, 5, 5, 5, 5, 5, 1))
# One command at a time, as to a server of the last century.
IN_TURN = ("SIZE 104857600", "8BITMIME", "SMTPUTF8")


def hasty(**seconds: float) -> DialSettings:
    """Settings that wait for nothing longer than is said here."""
    return DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=Timeouts(**({"quit": 1.0} | seconds)))


def with_courier(sink: Sink, use: Callable[[Courier], Awaitable[T]], settings: DialSettings = PLAIN) -> T:
    async def run() -> T:
        await sink.start()
        try:
            courier = await connect(NextHop("127.0.0.1", sink.port), settings)
            try:
                return await use(courier)
            finally:
                await courier.quit()
        finally:
            await sink.stop()

    return asyncio.run(run())


def deliver(sink: Sink, *parcels: MemoryParcel, settings: DialSettings = PLAIN) -> list[Delivery]:
    """Deliver these one after the other on one connection, each announced behind the one before it."""

    async def use(courier: Courier) -> list[Delivery]:
        given = []
        for number, parcel in enumerate(parcels):
            following = parcels[number + 1] if number + 1 < len(parcels) else None
            given.append(await courier.deliver(parcel, lambda following=following: following))
        return given

    return with_courier(sink, use, settings)
