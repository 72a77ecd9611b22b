"""The probe against real servers: what each of them does becomes one observation, in few words."""

import asyncio
import gc
import resource
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from fallback_mx.rules.health import Observation
from fallback_mx.smtp.dial import DialSettings, open_first
from fallback_mx.smtp.probe import MAX_DETAIL, NotProbed, probe
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Act, Script, Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.raw_server import Talk, black_hole, closed_port, raw_server

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENT = Timeouts(connect=20, banner=20, command=20, quit=20)
HANGS_SECONDS = 10
BRIEF = Timeouts(connect=0.3, banner=0.3, command=0.3, quit=0.3)


async def look(port: int, timeouts: Timeouts = PATIENT, host: str = "127.0.0.1") -> Observation:
    dial = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=timeouts)
    async with asyncio.timeout(HANGS_SECONDS):
        return await probe(lambda: open_first([NextHop(host, port)], dial), clock=lambda: AT)


def of_sink(replies: dict[str, Script], timeouts: Timeouts = PATIENT) -> tuple[Observation, Sink]:
    async def run() -> tuple[Observation, Sink]:
        sink = Sink(replies=replies)
        await sink.start()
        try:
            return await look(sink.port, timeouts), sink
        finally:
            await sink.stop()

    return asyncio.run(run())


def of_talk(talk: Talk, timeouts: Timeouts = PATIENT) -> Observation:
    async def run() -> Observation:
        async with raw_server(talk) as port:
            return await look(port, timeouts)

    return asyncio.run(run())


# What is good ---------------------------------------------------------------------------------------------------


def test_a_server_that_answers_is_good_and_its_answer_is_the_detail() -> None:
    observation, _ = of_sink({})
    assert (observation.good, observation.phase) == (True, "ehlo")
    assert observation.detail.startswith("250 ")


def test_the_server_is_greeted_by_our_name_and_left_in_order() -> None:
    _, sink = of_sink({})
    assert sink.commands == [b"EHLO mx2.test", b"QUIT"]


def test_an_observation_counts_from_when_the_probe_began() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(b"554 no\r\n")
        await reader.read()

    observation = of_talk(late)
    assert observation.at == AT
    assert observation.duration_seconds is not None
    assert observation.ended_at - AT >= timedelta(seconds=0.05)


def test_a_server_that_knows_only_helo_is_good() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 old.test\r\n")
        while line := await reader.readline():
            writer.write({b"EHLO": b"500 what?\r\n", b"HELO": b"250 old.test\r\n"}.get(line[:4], b"221 bye\r\n"))

    observation = of_talk(talk)
    assert (observation.good, observation.detail) == (True, "250 old.test")


def test_silence_after_quit_changes_nothing() -> None:
    observation, _ = of_sink({"quit": Act.SILENT}, BRIEF)
    assert observation.good


def test_waiting_for_the_answer_to_quit_is_no_part_of_the_duration() -> None:
    async def run() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        quit_arrived = 0.0

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal quit_arrived
            writer.write(b"220 slow.test\r\n")
            await reader.readline()
            writer.write(b"250 slow.test\r\n")
            await reader.readline()
            quit_arrived = loop.time()
            await asyncio.sleep(0.1)
            writer.write(b"221 bye\r\n")

        async with raw_server(talk) as port:
            began = loop.time()
            observation = await look(port)
        assert observation.duration_seconds is not None
        return observation.duration_seconds, quit_arrived - began

    duration, until_quit = asyncio.run(run())
    assert duration <= until_quit


# What is bad ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("banner", ["421 too busy", "554 no SMTP here", "450 later"])
def test_a_greeting_that_is_no_welcome_is_bad(banner: str) -> None:
    observation, sink = of_sink({"banner": banner})
    assert (observation.good, observation.phase, observation.detail) == (False, "banner", banner)
    assert sink.commands == []


@pytest.mark.parametrize("answer", ["421 closing", "451 not now", "550 go away"])
def test_a_refused_ehlo_is_bad(answer: str) -> None:
    observation, _ = of_sink({"ehlo": answer, "helo": answer})
    assert (observation.good, observation.phase, observation.detail) == (False, "ehlo", answer)


def test_a_server_that_knows_neither_ehlo_nor_helo_is_bad() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 odd.test\r\n")
        while await reader.readline():
            writer.write(b"502 what?\r\n")

    observation = of_talk(talk)
    assert (observation.good, observation.detail) == (False, "502 what?")


def test_a_refused_connection_is_bad() -> None:
    with closed_port() as port:
        observation = asyncio.run(look(port))
    assert (observation.good, observation.phase) == (False, "connect")
    assert observation.detail == f"127.0.0.1 port {port}: connection refused"


def test_a_connection_that_nobody_answers_is_bad_after_its_own_timeout() -> None:
    with black_hole() as port:
        observation = asyncio.run(look(port, Timeouts(connect=0.2)))
    assert (observation.good, observation.phase) == (False, "connect")
    assert observation.detail == f"127.0.0.1 port {port}: timeout, no connection within 0.2 s"


@pytest.mark.parametrize(
    # The first is refused by the resolver without a question to any server, the second by us.
    ("host", "detail"),
    [("::1%nosuchinterface", "name or service not known"), ("a" * 64 + ".test", "not a host name")],
)
def test_a_name_that_cannot_be_looked_up_is_bad(host: str, detail: str) -> None:
    observation = asyncio.run(look(25, host=host))
    assert (observation.good, observation.phase, observation.detail) == (False, "route", f"{host}: {detail}")


def test_a_name_whose_lookup_takes_too_long_is_bad_after_the_timeout_to_connect() -> None:
    over = threading.Event()

    async def run() -> Observation:
        # Lookups wait for a thread of the loop's: this one has a single one, which is busy.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, over.wait)
        try:
            return await look(25, Timeouts(connect=0.2))
        finally:
            over.set()
            await busy

    observation = asyncio.run(run())
    assert (observation.good, observation.detail) == (False, "127.0.0.1: no address within 0.2 s")


@pytest.mark.parametrize(
    ("step", "phase", "detail"),
    [
        ("banner", "banner", "timeout waiting for the greeting"),
        ("ehlo", "ehlo", "timeout waiting for the reply to EHLO"),
    ],
)
def test_silence_is_bad_after_the_timeout(step: str, phase: str, detail: str) -> None:
    observation, _ = of_sink({step: Act.SILENT}, BRIEF)
    assert (observation.good, observation.phase, observation.detail) == (False, phase, detail)


def test_a_reply_that_trickles_in_is_bad_after_the_timeout_of_a_whole_one() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"2")
            await asyncio.sleep(0.01)

    assert of_talk(talk, BRIEF).detail == "timeout waiting for the greeting"


@pytest.mark.parametrize("step", ["banner", "ehlo"])
def test_a_connection_that_is_cut_is_bad(step: str) -> None:
    observation, _ = of_sink({step: Act.DROP})
    assert (observation.good, observation.phase) == (False, step)
    assert "the server closed the connection" in observation.detail or "connection lost" in observation.detail


@pytest.mark.parametrize(
    "octets", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03\x01\x02\n", b"220-one\r\n250 two\r\n", b"999 hi\r\n", b"\n"]
)
def test_what_is_no_reply_is_bad(octets: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(octets)
        await reader.read()

    observation = of_talk(talk)
    assert (observation.good, observation.phase) == (False, "banner")
    assert observation.detail.startswith("not a reply: ")


def test_answers_to_what_was_not_asked_are_bad() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n250 you were about to say EHLO\r\n")
        await reader.read()

    assert of_talk(talk).detail == "a reply that nothing asked for: 250 you were about to say EHLO"


@pytest.mark.parametrize("piece", [b"220-more\r\n" * 100, b"2" * 1000, b"220-\r\n" * 100])
def test_a_reply_without_an_end_is_given_up_while_it_is_small(piece: bytes) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(0)
        while True:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    observation = of_talk(talk)
    assert (observation.good, observation.phase) == (False, "banner")
    # What the two kernels hold between the sockets comes on top of what was read.
    assert sent < 10_000_000, f"{sent} octets were taken"


def test_the_detail_is_short_and_printable_whatever_the_server_says() -> None:
    observation, _ = of_sink({"banner": b"554 \x1b[2J\x00\xff" + b"x" * 3000 + b"\r\n"})
    assert not observation.good
    assert observation.detail.isprintable()
    assert len(observation.detail) <= MAX_DETAIL


# What is neither ------------------------------------------------------------------------------------------------


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_lack_of_descriptors_says_nothing_about_the_primary() -> None:
    async def run() -> None:
        with closed_port() as port, no_more_descriptors(), pytest.raises(NotProbed, match="too many open files"):
            await look(port)

    asyncio.run(run())


def test_a_probe_that_is_cancelled_is_cancelled_and_lets_go_of_its_connection() -> None:
    async def run() -> None:
        sink = Sink(replies={"banner": Act.SILENT})
        await sink.start()
        try:
            probing = asyncio.create_task(look(sink.port))
            await until(lambda: sink.connections == 1)
            probing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probing
            await until(lambda: sink.connections == 0)
        finally:
            await sink.stop()

    # A connection that is only forgotten is closed too, by the garbage collector, which says so.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(run())
        gc.collect()
    assert [str(each.message) for each in said] == []


async def until(true: Callable[[], bool], limit: float = 20) -> None:
    async with asyncio.timeout(limit):
        while not true():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("SIZE 52428800", 52_428_800),
        ("size 100", 100),
        ("SIZE", None),
        ("SIZE 0", None),
        ("SIZE lots", None),
        ("SIZE " + "9" * 400, None),
        ("8BITMIME", None),
    ],
)
def test_the_largest_message_is_what_ehlo_says(said: str, limit: int | None) -> None:
    async def run() -> Observation:
        sink = Sink(extensions=(said, "HELP"))
        await sink.start()
        try:
            return await look(sink.port)
        finally:
            await sink.stop()

    observation = asyncio.run(run())
    assert (observation.good, observation.size_limit) == (True, limit)
