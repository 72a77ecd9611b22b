"""Telling of changes: at once, and closely following ones together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fallback_mx.service.telling import SOON_SECONDS, Telling
from tests.fakes import virtual_time


def play(story: Callable[[Telling], Awaitable[None]]) -> list[float]:
    """The moments at which something was told."""

    async def run() -> list[float]:
        told: list[float] = []
        await story(Telling(lambda: told.append(asyncio.get_running_loop().time())))
        return told

    return virtual_time.run(run())


def test_the_first_change_is_told_before_the_call_returns() -> None:
    async def story(telling: Telling) -> None:
        telling()

    assert play(story) == [0]


def test_a_thousand_changes_of_one_moment_are_told_twice_the_last_of_them_too() -> None:
    async def story(telling: Telling) -> None:
        for _ in range(1000):
            telling()
        await asyncio.sleep(10)

    assert play(story) == [0, SOON_SECONDS]


def test_changes_far_apart_are_each_told_at_once() -> None:
    async def story(telling: Telling) -> None:
        for _ in range(3):
            telling()
            await asyncio.sleep(1)

    assert play(story) == [0, 1, 2]


def test_what_takes_long_to_tell_is_told_less_often() -> None:
    async def run() -> list[float]:
        told: list[float] = []

        def tell() -> None:
            loop = asyncio.get_running_loop()
            told.append(loop.time())
            assert isinstance(loop, virtual_time.VirtualTimeLoop)
            loop.pass_by(0.1)

        telling = Telling(tell)
        for _ in range(100):
            telling()
            await asyncio.sleep(0.01)
        telling.stop()
        return told

    first, second, *_ = virtual_time.run(run())
    assert second - first >= 1


def test_after_the_stop_nothing_is_told() -> None:
    async def story(telling: Telling) -> None:
        telling()
        telling()
        telling.stop()
        await asyncio.sleep(1)

    assert play(story) == [0]
