"""FAULTS 39, 41 and 42: from the queue to the primary, exactly as it was accepted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import connect
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import EXTENSIONS, Sink
from mxqueue.model import RecipientState
from tests.fakes.couriers import PLAIN
from tests.fakes.drains import contents, rig, until
from tests.fakes.parcels import TRACE, MemoryParcel

BARE_DOT = re.compile(rb"\r\.|(?<!\r)\n\.")


class Line:
    """A courier connected to a sink, from example to example."""

    def __init__(self, extensions: tuple[str, ...]) -> None:
        self._runner = asyncio.Runner()
        self._sink = Sink(extensions=extensions)
        self._courier: Courier | None = None
        self._runner.run(self._sink.start())

    def arrives(self, parcel: MemoryParcel) -> bytes:
        """What the sink got of this one."""
        return self._runner.run(self._deliver(parcel))

    async def _deliver(self, parcel: MemoryParcel) -> bytes:
        if self._courier is None or not self._courier.is_usable:
            self._courier = await connect(NextHop("127.0.0.1", self._sink.port), PLAIN)
        self._sink.messages.clear()
        delivery = await self._courier.deliver(parcel)
        assert [result.code for result in delivery.results if isinstance(result, Reply)] == [250]
        [message] = self._sink.messages
        return message.content

    def close(self) -> None:
        if self._courier is not None:
            self._runner.run(self._courier.quit())
        self._runner.run(self._sink.stop())
        self._runner.close()


@pytest.fixture(scope="module", params=[EXTENSIONS, ("SIZE 1000000", "8BITMIME")], ids=["pipelined", "in-turn"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    made = Line(request.param)
    yield made
    made.close()


any_octets = st.binary(max_size=300).map(lambda octets: octets + b"\r\n").filter(lambda it: not BARE_DOT.search(it))
dotted = (
    st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\r\n.\r\n", b"a", b"QUIT", b"\x00", b"\xff"]), max_size=30)
    .map(b"".join)
    .map(lambda octets: octets + b"\r\n")
)
long_lines = st.lists(st.integers(990, 1010), max_size=5).map(
    lambda lengths: b"".join(b"." + b"x" * (length - 3) + b"\r\n" for length in lengths)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(any_octets, dotted, long_lines, st.just(b"")), piece_octets=st.integers(1, 1200))
def test_content_arrives_byte_for_byte_whatever_it_holds_and_however_it_is_read(
    line: Line, content: bytes, piece_octets: int
) -> None:
    assert line.arrives(MemoryParcel(content, piece_octets=piece_octets)) == TRACE + content


def test_a_line_of_998_octets_arrives_as_one(line: Line) -> None:
    content = (b"x" * 998 + b"\r\n") * 3
    assert line.arrives(MemoryParcel(content)) == TRACE + content


NASTY = [
    b"",
    b"\r\n",
    b".\r\n",
    b"..\r\n.\r\n",
    b"Subject: 8-bit \xe4\xf6\xfc\r\n\r\n\xff\xfe\x00\x01\r\n",
    b"." * 998 + b"\r\n",
    b"x" * 100_000 + b"\r\n",
    b"\r\n.\r\n" * 100_000,
]


def test_content_goes_through_the_queue_byte_for_byte(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path) as r:
            for content in NASTY:
                r.accept(content, trace=TRACE)
            async with r.running():
                await until(lambda: len(r.sink.messages) == len(NASTY), "every message")
            assert sorted(contents(r.sink)) == sorted(TRACE + content for content in NASTY)

    asyncio.run(run())


@pytest.mark.parametrize("extensions", [(), EXTENSIONS], ids=["bare", "extended"])
def test_the_null_reverse_path_is_said_exactly_so(tmp_path: Path, extensions: tuple[str, ...]) -> None:
    async def run() -> None:
        async with rig(tmp_path, Sink(extensions=extensions)) as r:
            r.accept(b"a bounce\r\n", reverse_path="")
            async with r.running():
                await until(lambda: r.sink.messages, "a delivery")
            [mail] = [command for command in r.sink.commands if command.startswith(b"MAIL")]
            assert mail.split(b" SIZE=")[0] == b"MAIL FROM:<>"
            assert r.sink.messages[0].reverse_path == ""

    asyncio.run(run())


@pytest.mark.parametrize(
    ("content", "path", "smtputf8"),
    [(b"gr\xfc\xdfe\r\n", "user@example.test", False), (b"hello\r\n", "gr\u00fc\u00dfe@example.test", True)],
    ids=["8-bit", "smtputf8"],
)
def test_what_the_primary_would_mangle_is_held_with_the_reason(
    tmp_path: Path, content: bytes, path: str, smtputf8: bool
) -> None:
    async def run() -> None:
        async with rig(tmp_path, Sink(extensions=("PIPELINING",))) as r:
            r.accept(content, path, body="8BITMIME", smtputf8=smtputf8)
            fit = r.accept(b"plain\r\n")
            async with r.running():
                await until(lambda: r.events.named("held") and r.sink.messages, "one held, one delivered")
            [held] = r.recipients(RecipientState.HELD)
            assert "does not offer" in held.last_reply
            assert contents(r.sink) == [b"plain\r\n"]
            assert [each.message_id for each in r.recipients(RecipientState.DELIVERED)] == [fit]

    asyncio.run(run())
