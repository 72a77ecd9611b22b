"""Whether the clock is in step, by a real (small) time server."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest

from fallback_mx.doctor import clock
from fallback_mx.doctor.clock import ClockFacts

SINCE_1900 = 2_208_988_800


class TimeServer(asyncio.DatagramProtocol):
    """A server whose clock is so many seconds before ours; with `answer` it says just that."""

    def __init__(self, before: float, answer: bytes | None = None) -> None:
        self._before = before
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        seconds = time.time() + self._before + SINCE_1900
        moment = struct.pack("!II", int(seconds), int(seconds % 1 * 2**32))
        answer = bytes([0x24, 2]) + bytes(30) + moment + moment
        self._transport.sendto(answer if self._answer is None else self._answer, addr)


def gathered(before: float, answer: bytes | None = None) -> ClockFacts:
    async def look() -> ClockFacts:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: TimeServer(before, answer), local_addr=("127.0.0.1", 0)
        )
        try:
            return await clock.gather(transport.get_extra_info("sockname"))
        finally:
            transport.close()

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("before", "level", "reason"),
    [(90.0, "error", "s behind"), (-90.0, "error", "s ahead"), (5.0, "warning", "s behind")],
)
def test_a_clock_that_is_off_is_as_bad_as_it_is_off(before: float, level: str, reason: str) -> None:
    finding = clock.judge(gathered(before))
    assert (finding.level, reason in finding.reason) == (level, True), finding
    assert "timesyncd" in finding.fix


def test_a_clock_that_a_time_server_agrees_with_is_off_by_less_than_a_second() -> None:
    facts = gathered(0.0)
    assert facts.offset_seconds is not None
    assert abs(facts.offset_seconds) < 1


@pytest.mark.parametrize("answer", [b"", bytes(48), bytes([0x24, 0]) + bytes(46)])
def test_an_answer_that_is_none_tells_nothing(answer: bytes) -> None:
    facts = gathered(0.0, answer)
    assert (facts.offset_seconds, clock.judge(facts).level) == (None, "warning")


def test_nobody_at_the_time_server_is_a_warning() -> None:
    async def look() -> ClockFacts:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        place = transport.get_extra_info("sockname")
        transport.close()
        await asyncio.sleep(0)
        return await clock.gather(place)

    assert clock.judge(asyncio.run(look())).level == "warning"


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (ClockFacts(is_kept=True), "ok"),
        (ClockFacts(is_kept=False), "warning"),
        (ClockFacts(is_kept=None), "warning"),
        (ClockFacts(is_kept=True, offset_seconds=0.01), "ok"),
        (ClockFacts(is_kept=None, offset_seconds=0.01), "ok"),
        (ClockFacts(is_kept=False, offset_seconds=0.01), "warning"),
        (ClockFacts(is_kept=True, offset_seconds=2.0), "warning"),
    ],
)
def test_what_the_kernel_says_counts_where_nobody_knows_better(facts: ClockFacts, level: str) -> None:
    assert clock.judge(facts).level == level


def test_the_kernel_can_be_asked() -> None:
    assert clock.kernel_says() in (True, False, None)
