"""Frames between two processes of the service: all of them, in order, each with its own descriptor."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import tempfile
from typing import Any

import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from fallback_mx.workers.channel import Channel

# The size of each frame's octets, and whether a descriptor comes with it. A socket takes about 200 kB at once.
frames = st.lists(
    st.tuples(st.one_of(st.integers(0, 300), st.integers(0, 700_000)), st.booleans()), min_size=1, max_size=25
)


def a_file(content: bytes) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return os.dup(file.fileno())


async def carried(wanted: list[tuple[int, bool]], pause_after: int) -> list[tuple[bytes, bytes | None]]:
    """What arrives of these frames when the sender rests in between; a descriptor is read to its end."""
    arrived: list[tuple[bytes, bytes | None]] = []
    everything = asyncio.Event()
    first, second = socket.socketpair()

    def on_frame(value: Any, descriptor: int | None) -> None:
        arrived.append((value, None if descriptor is None else os.pread(descriptor, 100, 0)))
        if descriptor is not None:
            os.close(descriptor)
        if len(arrived) == len(wanted):
            everything.set()

    sender = Channel(first, lambda *_: None, lambda: None)
    receiver = Channel(second, on_frame, lambda: None)
    held = []
    for number, (size, with_file) in enumerate(wanted):
        descriptor = a_file(b"file %d" % number) if with_file else None
        if descriptor is not None:
            held.append(descriptor)
        sender.send(b"%d:" % number + b"x" * size, descriptor)
        if number == pause_after:
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await everything.wait()
    sender.close()
    receiver.close()
    for descriptor in held:
        os.close(descriptor)
    return arrived


@settings(max_examples=40, deadline=None)
@given(frames, st.integers(0, 25))
def test_every_frame_arrives_in_order_with_its_own_descriptor(wanted: list[tuple[int, bool]], pause_after: int) -> None:
    arrived = uvloop.run(carried(wanted, pause_after))
    assert arrived == [
        (b"%d:" % number + b"x" * size, b"file %d" % number if with_file else None)
        for number, (size, with_file) in enumerate(wanted)
    ]


def test_the_end_of_the_other_side_is_told_once_and_sending_on_is_harmless() -> None:
    async def story() -> int:
        first, second = socket.socketpair()
        ends = []
        channel = Channel(first, lambda *_: None, lambda: ends.append(1))
        second.close()
        for _ in range(3):
            channel.send(b"x" * 300_000)
            await asyncio.sleep(0.01)
        return len(ends)

    assert uvloop.run(story()) == 1


def test_what_is_sent_just_before_the_finish_arrives() -> None:
    async def story() -> list[Any]:
        first, second = socket.socketpair()
        arrived: list[Any] = []
        ended = asyncio.Event()
        Channel(second, lambda value, _: arrived.append(value), ended.set)
        channel = Channel(first, lambda *_: None, lambda: None)
        channel.send("last words")
        channel.finish()
        async with asyncio.timeout(10):
            await ended.wait()
        return arrived

    assert uvloop.run(story()) == ["last words"]


def test_buffers_arrive_as_octets_in_the_frame_that_they_were_sent_in() -> None:
    sizes = [0, 1, 700_000, 300, 0]

    async def story() -> list[Any]:
        first, second = socket.socketpair()
        arrived: list[Any] = []
        everything = asyncio.Event()

        def on_frame(value: Any, _: int | None) -> None:
            arrived.append(value)
            if len(arrived) == len(sizes):
                everything.set()

        sender = Channel(first, lambda *_: None, lambda: None)
        receiver = Channel(second, on_frame, lambda: None)
        for number, size in enumerate(sizes):
            octets = pickle.PickleBuffer(b"%d" % number * size)
            sender.send((number, octets, "between", pickle.PickleBuffer(b"last")))
        async with asyncio.timeout(30):
            await everything.wait()
        sender.close()
        receiver.close()
        return arrived

    assert uvloop.run(story()) == [
        (number, b"%d" % number * size, "between", b"last") for number, size in enumerate(sizes)
    ]
