"""The demo's primary and the tests' fake: what it promises to those who lean on it."""

import asyncio
import smtplib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from fallback_mx.smtp.sink import Act, Sink, SinkSession


def with_sink(sink: Sink, talk: Callable[[int], Any]) -> Any:
    """Run a blocking client against the sink, in a thread."""

    async def run() -> Any:
        await sink.start()
        try:
            return await asyncio.to_thread(talk, sink.port)
        finally:
            await sink.stop()

    return asyncio.run(run())


def raw(*commands: bytes, wanted: int) -> Callable[[int], bytes]:
    """A client that sends these at once and reads until `wanted` lines have come, or the end."""

    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"".join(commands))
            said = b""
            while said.count(b"\n") < wanted and (data := connection.recv(65536)):
                said += data
            return said

    return talk


def codes(said: bytes) -> list[bytes]:
    return [line[:3] for line in said.split(b"\r\n") if line and line[3:4] != b"-"]


def test_it_keeps_what_a_real_client_sends() -> None:
    sink = Sink()
    content = b"Subject: x\r\n\r\n.dot\r\n..two\r\n\xe4\r\n"

    def talk(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@client.test", ["b@example.test", "c@example.test"], content, ["BODY=8BITMIME"])

    with_sink(sink, talk)
    [message] = sink.messages
    assert message.reverse_path == "a@client.test"
    assert message.forward_paths == ("b@example.test", "c@example.test")
    assert message.content == content
    assert "BODY=8BITMIME" in message.mail_parameters


def test_commands_sent_together_are_answered_in_order() -> None:
    said = with_sink(
        Sink(),
        raw(b"EHLO me\r\n", b"MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n", b"x\r\n.\r\nQUIT\r\n", wanted=100),
    )
    assert codes(said) == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]


@pytest.mark.parametrize("content", [b"", b".\r\n", b"\r\n", b"a\r\n.\r\n.b\r\n"])
def test_the_end_of_content_is_found_wherever_it_is_cut(content: bytes) -> None:
    wire = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n"
    wire += (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\nQUIT\r\n"
    sink = Sink()

    def talk(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for position in range(len(wire)):
                connection.sendall(wire[position : position + 1])
            while connection.recv(65536):
                pass

    with_sink(sink, talk)
    assert [message.content for message in sink.messages] == [content]


def test_a_script_may_answer_each_recipient_by_itself() -> None:
    def by_name(session: SinkSession, path: str) -> str | None:
        return "550 5.1.1 No" if path.startswith("bad") else None

    sink = Sink(replies={"rcpt": by_name})
    said = with_sink(
        sink,
        raw(
            b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<bad@x>\r\nRCPT TO:<good@x>\r\nDATA\r\n",
            b"x\r\n.\r\nQUIT\r\n",
            wanted=100,
        ),
    )
    assert codes(said) == [b"220", b"250", b"250", b"550", b"250", b"354", b"250", b"221"]
    assert [message.forward_paths for message in sink.messages] == [("good@x",)]


TRANSACTION = b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\nx\r\n.\r\n"


@pytest.mark.parametrize(
    ("final", "kept"), [("452 4.3.1 Full", 0), ("554 5.0.0 No", 0), (Act.DROP, 0), (Act.KEEP_THEN_DROP, 1)]
)
def test_only_what_it_took_is_kept(final: str | Act, kept: int) -> None:
    sink = Sink(replies={"final": final})
    with_sink(sink, raw(TRANSACTION, b"QUIT\r\n", wanted=100))
    assert len(sink.messages) == kept


def test_421_ends_the_connection() -> None:
    said = with_sink(Sink(replies={"mail": "421 4.3.2 Bye"}), raw(TRANSACTION, wanted=100))
    assert codes(said) == [b"220", b"250", b"421"]


def test_without_keep_messages_are_only_counted() -> None:
    sink = Sink(keep=False)
    with_sink(sink, raw(TRANSACTION, b"QUIT\r\n", wanted=100))
    assert sink.message_count == 1
    assert sink.messages == []
    assert sink.commands == []


async def _restart(sink: Sink) -> None:
    await sink.start()
    port = sink.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    await sink.stop()
    assert await reader.read() == b"", "expected the connection to be cut"
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await sink.start(port=port)
    assert sink.port == port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"220")
    writer.close()
    await sink.stop()


def test_stopped_it_frees_its_port_and_starts_there_again() -> None:
    asyncio.run(_restart(Sink()))


async def _ten_at_once(sink: Sink) -> None:
    await sink.start()
    opened = [await asyncio.open_connection("127.0.0.1", sink.port) for _ in range(10)]
    for reader, _ in opened:
        await reader.readline()
    for _, writer in opened[5:]:
        writer.close()
    while sink.connections > 5:
        await asyncio.sleep(0.001)
    await sink.stop()
    for _, writer in opened:
        writer.close()


def test_it_counts_how_many_were_connected_at_once() -> None:
    sink = Sink()
    asyncio.run(_ten_at_once(sink))
    assert sink.most_connections == 10
    assert sink.connection_count == 10
    assert sink.connections == 0
