"""Knocking at a port, and the controls that tell our own network from a primary's."""

from __future__ import annotations

import asyncio
import socket
from itertools import pairwise

import pytest

from fallback_mx.monitor.controls import AGAIN_SECONDS, SPACING_SECONDS, Controls
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.knock import is_reachable, knock
from fallback_mx.smtp.reach import Source
from fallback_mx.smtp.route import NextHop
from tests.fakes import virtual_time
from tests.fakes.raw_server import black_hole, closed_port


def test_a_port_where_somebody_listens_is_open_and_nothing_is_said_there() -> None:
    async def run() -> bytes:
        heard: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            said = await knock([NextHop("127.0.0.1", port)], Source(), 20)
            assert said == f"127.0.0.1 port {port}"
            while not heard:
                await asyncio.sleep(0.01)
        return b"".join(heard)

    assert asyncio.run(run()) == b""


@pytest.mark.parametrize(("place", "why"), [(closed_port, "connection refused"), (black_hole, "timeout")])
def test_a_port_where_nobody_listens_is_closed(place: object, why: str) -> None:
    with place() as port, pytest.raises(NoConnection, match=why):  # type: ignore[operator]
        asyncio.run(knock([NextHop("127.0.0.1", port)], Source(), 0.3))


def test_the_second_host_answers_for_the_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, closed_port() as closed:
        port = server.getsockname()[1]
        hops = [NextHop("127.0.0.1", closed), NextHop("127.0.0.1", port)]
        assert asyncio.run(knock(hops, Source(), 20)) == f"127.0.0.1 port {port}"


@pytest.mark.parametrize(("place", "expected"), [(closed_port, True), (black_hole, False)])
def test_a_control_that_refuses_is_reachable_and_one_that_is_silent_is_not(place: object, expected: bool) -> None:
    with place() as port:  # type: ignore[operator]
        assert asyncio.run(is_reachable(NextHop("127.0.0.1", port), 0.3)) is expected


# Controls -------------------------------------------------------------------------------------------------------


class Network:
    """Controls that answer or do not, each a while after it was asked."""

    def __init__(self, *names: str) -> None:
        self.answering = set(names)
        self.asked: list[tuple[float, str]] = []
        self.told: list[tuple[float, bool]] = []
        self.seconds = 0.25
        self.controls = Controls(names, self._reach, lambda detail: self._tell(False), lambda: self._tell(True))

    async def _reach(self, name: str) -> bool:
        self.asked.append((asyncio.get_running_loop().time(), name))
        await asyncio.sleep(self.seconds)
        if name == "broken":
            raise OSError("too many open files")
        return name in self.answering

    def _tell(self, reached: bool) -> None:
        self.told.append((asyncio.get_running_loop().time(), reached))


def test_without_controls_nobody_can_say_that_we_are_cut_off() -> None:
    assert virtual_time.run(Network().controls.cut_off()) is None


def test_while_one_control_answers_it_is_the_only_one_that_is_asked() -> None:
    async def run() -> None:
        network = Network("a", "b", "c")
        for _ in range(3):
            assert await network.controls.cut_off() is None
        assert [name for _, name in network.asked] == ["a", "b", "c"]

    virtual_time.run(run())


def test_one_silent_control_does_not_mean_that_we_are_cut_off() -> None:
    async def run() -> None:
        network = Network("a", "b", "broken")
        network.answering = {"b"}
        for _ in range(3):
            assert await network.controls.cut_off() is None
        assert network.told == []

    virtual_time.run(run())


def test_we_are_cut_off_when_no_control_answers_and_that_is_told_once() -> None:
    async def run() -> None:
        network = Network("a", "b", "broken")
        network.answering = set()
        assert await network.controls.cut_off() == "no control answers (a, b, broken)"
        assert await network.controls.cut_off() is not None
        assert network.controls.is_cut_off
        assert network.told == [(0.5, False)]
        network.controls.stop()

    virtual_time.run(run())


def test_that_we_are_back_is_noticed_though_no_primary_fails() -> None:
    async def run() -> None:
        network = Network("a", "b")
        network.answering = set()
        await network.controls.cut_off()
        network.answering = {"b"}
        await asyncio.sleep(AGAIN_SECONDS + 2)
        assert not network.controls.is_cut_off
        assert [reached for _, reached in network.told] == [False, True]
        asked = len(network.asked)
        await asyncio.sleep(100)
        assert len(network.asked) == asked

    virtual_time.run(run())


def test_a_thousand_failures_at_once_are_one_check() -> None:
    async def run() -> None:
        network = Network("a", "b")
        answers = await asyncio.gather(*(network.controls.cut_off() for _ in range(1000)))
        assert answers == [None] * 1000
        assert len(network.asked) == 1

    virtual_time.run(run())


def test_a_failure_gets_the_answer_of_a_check_that_began_after_it() -> None:
    async def run() -> None:
        network = Network("a", "b")
        before = asyncio.create_task(network.controls.cut_off())
        await asyncio.sleep(0.1)  # the first check is under way
        network.answering = set()
        after = asyncio.create_task(network.controls.cut_off())
        await asyncio.sleep(0)
        network.answering = {"a"}
        assert await before is None
        network.answering = set()
        assert await after is not None
        network.controls.stop()

    virtual_time.run(run())


def test_checks_begin_no_closer_together_than_their_spacing() -> None:
    async def run() -> None:
        network = Network("a", "b")
        for _ in range(5):
            await network.controls.cut_off()
        moments = [moment for moment, _ in network.asked]
        assert all(b - a >= SPACING_SECONDS for a, b in pairwise(moments))

    virtual_time.run(run())


def test_a_check_waits_for_the_one_before_it_to_end() -> None:
    async def run() -> None:
        network = Network("a", "b")
        network.seconds = 5
        waiting = []
        for _ in range(4):
            waiting.append(asyncio.create_task(network.controls.cut_off()))
            await asyncio.sleep(1.5)
        await asyncio.gather(*waiting)
        moments = [moment for moment, _ in network.asked]
        assert all(b - a >= 5 for a, b in pairwise(moments))

    virtual_time.run(run())


def test_one_who_no_longer_waits_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        network = Network("a", "b")
        one, other = (asyncio.create_task(network.controls.cut_off()) for _ in range(2))
        await asyncio.sleep(0.1)
        one.cancel()
        assert await other is None

    virtual_time.run(run())
