"""ETRN: who may ask, and what a service makes of it when they ask."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from ipaddress import ip_network
from typing import TypeVar

import pytest

from fallback_mx.rules.disposition import NoConnection
from fallback_mx.service.etrn import FRESH_SECONDS, RETRY_SECONDS, SAME_SECONDS, Turn
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.route import NextHop, StaticRoute
from tests.fakes.virtual_time import VirtualTimeLoop

T = TypeVar("T")
CALLERS = Callers(
    {
        "one": [ip_network("192.0.2.7"), ip_network("2001:db8::7")],
        "two": [ip_network("192.0.2.7"), ip_network("10.1.0.0/16")],
    }
)


@pytest.mark.parametrize(
    ("address", "primaries"),
    [
        ("192.0.2.7", ("one", "two")),
        ("2001:db8::7", ("one",)),
        ("10.1.2.3", ("two",)),
        ("::ffff:10.1.2.3", ("two",)),
        ("192.0.2.8", ()),
        ("10.2.0.1", ()),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_a_client_may_ask_for_the_primaries_whose_address_it_has(address: str, primaries: tuple[str, ...]) -> None:
    assert CALLERS.primaries_of(address) == primaries


def test_callers_can_be_handed_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(CALLERS)).primaries_of("10.1.0.1") == ("two",)


# The service's side -------------------------------------------------------------------------------------------------


class Hops(StaticRoute):
    """A route that can be in trouble, and can lead elsewhere."""

    def __init__(self, *addresses: str) -> None:
        super().__init__([])
        self.addresses: tuple[str, ...] = addresses
        self.looks = 0

    async def next_hops(self) -> tuple[NextHop, ...]:
        self.looks += 1
        if not self.addresses:
            raise NoConnection("route", "no name server")
        return (NextHop("mail.test", 25, self.addresses),)


def run(coroutine: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


async def no_start(client_address: str) -> Pending | None:
    return None


def turn(
    route: StaticRoute, changes: list[str], start: Callable[..., Coroutine[object, object, Pending | None]]
) -> Turn:
    return Turn(None, route, start, lambda: changes.append("changed"))


def test_the_addresses_of_the_next_hops_are_looked_up_and_kept_fresh() -> None:
    async def scene() -> None:
        changes: list[str] = []
        hops = Hops("192.0.2.7", "2001:db8::7")
        one = turn(hops, changes, no_start)
        assert one.callers == frozenset()
        await asyncio.sleep(1)
        assert one.callers == {ip_network("192.0.2.7"), ip_network("2001:db8::7")}
        await asyncio.sleep(FRESH_SECONDS)
        assert (changes, hops.looks) == (["changed"], 2)
        hops.addresses = ("192.0.2.8",)
        await asyncio.sleep(FRESH_SECONDS)
        assert one.callers == {ip_network("192.0.2.8")}
        assert changes == ["changed", "changed"]
        one.stop()

    run(scene())


def test_a_look_up_that_fails_leaves_what_was_known_and_is_made_again_soon() -> None:
    async def scene() -> None:
        hops = Hops()
        one = turn(hops, [], no_start)
        await asyncio.sleep(1)
        assert one.callers == frozenset()
        hops.addresses = ("192.0.2.7",)
        await asyncio.sleep(RETRY_SECONDS)
        assert one.callers == {ip_network("192.0.2.7")}
        hops.addresses = ()
        await asyncio.sleep(FRESH_SECONDS)
        assert one.callers == {ip_network("192.0.2.7")}
        one.stop()

    run(scene())


def test_a_name_is_looked_up_in_the_system() -> None:
    async def scene() -> None:
        one = turn(StaticRoute([NextHop("localhost", 25)]), [], no_start)
        for _ in range(500):
            if one.callers:
                break
            await asyncio.sleep(0.01)
        assert ip_network("127.0.0.1") in one.callers or ip_network("::1") in one.callers
        one.stop()

    asyncio.run(scene())


def test_what_is_configured_is_not_looked_up() -> None:
    async def scene() -> None:
        hops = Hops("192.0.2.7")
        one = Turn((), hops, no_start, lambda: None)
        await asyncio.sleep(FRESH_SECONDS)
        assert (one.callers, hops.looks) == (frozenset(), 0)
        one.stop()

    run(scene())


def test_who_asks_again_within_seconds_is_told_the_same_and_starts_nothing() -> None:
    async def scene() -> None:
        started: list[str] = []

        async def start(client_address: str) -> Pending:
            started.append(client_address)
            await asyncio.sleep(0.1)
            return Pending(len(started), is_up=True)

        one = Turn((), Hops(), start, lambda: None)
        first = await asyncio.gather(*(one.ask(f"192.0.2.{number}") for number in range(10)))
        assert first == [Pending(1, is_up=True)] * 10
        assert await one.ask("192.0.2.1") == Pending(1, is_up=True)
        assert started == ["192.0.2.0"]
        await asyncio.sleep(SAME_SECONDS)
        assert await one.ask("192.0.2.1") == Pending(2, is_up=True)

    run(scene())


def test_a_client_that_goes_does_not_take_the_answer_from_the_others() -> None:
    async def scene() -> None:
        async def start(client_address: str) -> Pending:
            await asyncio.sleep(1)
            return Pending(3, is_up=True)

        one = Turn((), Hops(), start, lambda: None)
        gone, stays = (asyncio.create_task(one.ask("192.0.2.1")) for _ in range(2))
        await asyncio.sleep(0.5)
        gone.cancel()
        assert await stays == Pending(3, is_up=True)

    run(scene())
