"""The inbound side through real sockets, with a real queue behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
import uvloop

from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.smtp.commits import QueueCommits
from fallback_mx.smtp.etrn import Ask, Callers
from fallback_mx.smtp.listener import Listener
from fallback_mx.smtp.ports import open_ports
from fallback_mx.smtp.terms import ListenerSettings, Route
from mxqueue import Envelope, Queue
from tests.fakes.tables import lay

ROUTES = {
    "example.test": Route("one", WhenUp.GUARD),
    "second.test": Route("two", WhenUp.GUARD),
    "open.test": Route("open", WhenUp.ACCEPT),
}


@dataclass
class World:
    """A listener on loopback in a thread of its own, and what the tests may turn."""

    queue: Queue
    settings: ListenerSettings
    states: dict[str, State] = field(default_factory=dict)
    room: bool = True
    accepted: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    port: int = 0
    listener: Listener | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def client(self) -> Client:
        return Client(self.port)

    def stop(self, grace_seconds: float = 5.0) -> None:
        assert self.loop is not None
        assert self.listener is not None
        asyncio.run_coroutine_threadsafe(self.listener.stop(grace_seconds), self.loop).result(20)

    def note(self, committed: Sequence[tuple[Envelope, int]]) -> None:
        self.accepted.extend(envelope.id for envelope, _ in committed)

    def queued(self) -> list[bytes]:
        """The content of everything in the queue, in order of arrival."""
        return [b"".join(self.queue.content(message.id).result().chunks()) for message in self.queue.list().result()]


class _Events:
    def __init__(self, world: World) -> None:
        self._world = world

    def refused(self, client_address: str, domain: str, reason: str, reply: str) -> None:
        self._world.refusals.append(reason)

    def session_limit(self, client_address: str, limit: str) -> None:
        self._world.limits.append(limit)

    def session_opened(self) -> None:
        pass

    def session_closed(self) -> None:
        pass

    def trouble(self, part: str, error: Exception) -> None:
        self._world.troubles.append(part)


class Client:
    """A socket that says what it is told to and reads one reply at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> str:
        """One whole reply, its lines joined by a blank; "" when the connection has ended."""
        return " ".join(self.lines())

    def lines(self) -> list[str]:
        """The lines of one reply; none when the connection has ended."""
        lines: list[str] = []
        while True:
            line = self._file.readline()
            if not line:
                return []
            lines.append(line.decode().rstrip("\r\n"))
            if line[3:4] != b"-":
                return lines

    def say(self, command: str) -> str:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def hello(self) -> Client:
        assert self.reply().startswith("220 ")
        assert self.say("EHLO client.test").startswith("250")
        return self

    def to_data(self, *recipients: str, reverse_path: str = "a@sender.test") -> Client:
        assert self.say(f"MAIL FROM:<{reverse_path}>").startswith("250")
        for recipient in recipients or ("u@example.test",):
            assert self.say(f"RCPT TO:<{recipient}>").startswith("250")
        assert self.say("DATA").startswith("354")
        return self

    def start_tls(self, context: ssl.SSLContext) -> None:
        self._file.close()
        self.socket = context.wrap_socket(self.socket, server_hostname="mx2.example.net")
        self._file = self.socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@contextlib.contextmanager
def running(
    queue: Queue,
    settings: ListenerSettings,
    *,
    callers: Callers | None = None,
    ask: Ask = lambda primaries, client_address, then: None,
    size_limits: Mapping[str, int] | None = None,
) -> Iterator[World]:
    world = World(queue, settings)
    started = threading.Event()

    async def main() -> None:
        world.listener = Listener(
            settings,
            QueueCommits(queue, world.note),
            state_of=lambda name: world.states.get(name, State.DOWN),
            has_room=lambda size: world.room,
            events=_Events(world),
            clock=lambda: datetime.now(UTC),
            ask=ask,
        )
        world.listener.learn(callers or Callers({}), size_limits or {})
        ((port,),) = open_ports("127.0.0.1", 0)
        await world.listener.start([port])
        world.port = world.listener.addresses[0][1]
        world.loop = asyncio.get_running_loop()
        started.set()
        await stopping.wait()
        await world.listener.stop(1.0)

    stopping = asyncio.Event()
    # The loop that the service runs on: it reads a busy socket again and again before it looks at another.
    thread = threading.Thread(target=lambda: uvloop.run(main()))
    thread.start()
    assert started.wait(10)
    try:
        yield world
    finally:
        assert world.loop is not None
        world.loop.call_soon_threadsafe(stopping.set)
        thread.join()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue.open(lay(tmp_path / "queue.db"), node="n1", exclusive=True)
    yield queue
    queue.close()


@pytest.fixture
def settings(tmp_path: Path) -> ListenerSettings:
    return ListenerSettings(
        hostname="mx2.example.net",
        routes=ROUTES,
        max_message_size=3_000_000,
        max_recipients=3,
        spool_directory=tmp_path,
    )


@pytest.fixture
def world(queue: Queue, settings: ListenerSettings) -> Iterator[World]:
    with running(queue, settings) as world:
        yield world


def test_a_large_message_that_cannot_be_written_to_a_file_is_deferred_and_the_session_goes_on(
    queue: Queue, settings: ListenerSettings, tmp_path: Path
) -> None:
    with running(queue, replace(settings, spool_directory=tmp_path / "gone")) as world:
        client = world.client().hello().to_data("u@example.test")
        client.send(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 30_000 + b".\r\n")
        assert client.reply().startswith("451 4.3.0")
        client.to_data("u@example.test")
        client.send(b"small\r\n.\r\n")
        assert client.reply().startswith("250 2.0.0")
    assert len(queue.list().result()) == 1


# What is offered ------------------------------------------------------------------------------------------------


def test_ehlo_offers_what_is_supported_and_nothing_else(world: World) -> None:
    client = world.client()
    client.reply()
    keywords = client.say("EHLO client.test").split("250")[2:]
    assert [word.strip(" -") for word in keywords] == [
        "PIPELINING",
        "SIZE 3000000",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "DSN",
        "LIMITS RCPTMAX=3 MAILMAX=1000",
    ]


def test_every_reply_but_the_greetings_has_an_enhanced_status_code(world: World) -> None:
    client = world.client().hello()
    commands = ["MAIL FROM:<a@s.test>", "RCPT TO:<u@example.test>", "RCPT TO:<u@x.test>", "RSET", "NOOP", "VRFY u"]
    commands += ["NONSENSE", "DATA", "MAIL", "HELP", "HELP MAIL", "HELP X", "EXPN u", "ETRN x.test", "STARTTLS", "QUIT"]
    for command in commands:
        reply = client.say(command)
        code, enhanced = reply[:3], reply[4:].partition(" ")[0]
        assert enhanced.count(".") == 2, command
        assert enhanced[0] == code[0], command


# Taking mail ----------------------------------------------------------------------------------------------------


def test_a_message_answered_250_is_in_the_queue_under_the_id_of_the_reply(world: World) -> None:
    client = world.client().hello().to_data("u@example.test", "v@example.test", reverse_path="a@sender.test")
    client.send(b"Subject: x\r\n\r\n..dot\r\n\xe4\r\n.\r\n")
    reply = client.reply()
    (message,) = world.queue.list().result()
    assert reply == f"250 2.0.0 Queued as {message.id}"
    assert message.reverse_path == "a@sender.test"
    assert [each.forward_path for each in message.recipients] == ["u@example.test", "v@example.test"]
    assert message.client_address == "127.0.0.1"
    assert message.helo == "client.test"
    assert f"with ESMTP id {message.id};".encode() in message.trace
    assert b"from client.test ([127.0.0.1])" in message.trace
    assert world.queued() == [b"Subject: x\r\n\r\n.dot\r\n\xe4\r\n"]


def test_recipients_of_two_primaries_become_two_messages_committed_together(world: World) -> None:
    client = world.client().hello().to_data("u@example.test", "v@second.test")
    client.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
    ids = client.reply().removeprefix("250 2.0.0 Queued as ").split()
    messages = world.queue.list().result()
    assert sorted(ids) == [message.id for message in messages]
    assert {message.route: message.recipients[0].forward_path for message in messages} == {
        "one": "u@example.test",
        "two": "v@second.test",
    }


def test_the_null_reverse_path_is_kept_as_the_empty_string(world: World) -> None:
    client = world.client().hello().to_data(reverse_path="")
    client.send(b"x: y\r\n\r\n.\r\n")
    assert client.reply().startswith("250")
    assert world.queue.list().result()[0].reverse_path == ""


def test_a_recipient_named_twice_is_one_recipient(world: World) -> None:
    client = world.client().hello().to_data("u@example.test", "u@EXAMPLE.test.")
    client.send(b"x: y\r\n\r\n.\r\n")
    client.reply()
    assert len(world.queue.list().result()[0].recipients) == 1


def test_pipelined_commands_and_two_messages_in_one_packet_are_two_messages(world: World) -> None:
    client = world.client().hello()
    envelope = b"MAIL FROM:<a@s.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\n"
    client.send(envelope + b"n: 1\r\n\r\n.\r\n" + envelope + b"n: 2\r\n\r\n.\r\nQUIT\r\n")
    codes = [client.reply()[:3] for _ in range(9)]
    assert codes == ["250", "250", "354", "250", "250", "250", "354", "250", "221"]
    assert world.queued() == [b"n: 1\r\n\r\n", b"n: 2\r\n\r\n"]


def test_postmaster_without_a_domain_is_taken(world: World) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("RCPT TO:<Postmaster>").startswith("250")


def test_a_message_of_several_blocks_arrives_whole(world: World) -> None:
    content = b"".join(b"%06d %s\r\n" % (n, b"x" * 60) for n in range(40_000))
    client = world.client().hello().to_data()
    client.send(content + b".\r\n")
    assert client.reply().startswith("250")
    assert world.queued() == [content]


# Who gets in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "u@elsewhere.test",
        "u@sub.example.test",
        "u@example.test.evil.test",
        "u%elsewhere.test@example.test",
        "elsewhere.test!u@example.test",
        '"u@elsewhere.test"@example.test',
        "u@[127.0.0.1]",
        "u@elsewhere.test@example.test",
        "@example.test:u@elsewhere.test",
        "|prog@example.test",
        '"/etc/passwd"@example.test',
        "u@example.test>, <v@example.test",
        "u@xn--xmple-cua.test",
    ],
)
def test_nothing_is_relayed_elsewhere(world: World, address: str) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say(f"RCPT TO:<{address}>")[:3] in {"550", "553", "501"}
    assert client.say("DATA").startswith("554")
    assert world.queue.list().result() == []


@pytest.mark.parametrize("state", [State.FALLING, State.DOWN, State.RISING, State.UNKNOWN])
def test_while_the_primary_is_anything_but_up_mail_is_taken(world: World, state: State) -> None:
    world.states["one"] = state
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("RCPT TO:<u@example.test>").startswith("250")


def test_while_the_primary_is_up_guard_sends_senders_there(world: World) -> None:
    world.states["one"] = State.UP
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("RCPT TO:<u@example.test>").startswith("451 4.3.2")
    assert world.refusals == ["guard"]


def test_while_the_primary_is_up_accept_takes_mail(world: World) -> None:
    world.states["open"] = State.UP
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    assert client.say("RCPT TO:<u@open.test>").startswith("250")


# Bounds ---------------------------------------------------------------------------------------------------------


def test_a_declared_size_over_the_limit_is_refused_at_mail(world: World) -> None:
    assert world.client().hello().say("MAIL FROM:<a@s.test> SIZE=3000001").startswith("552 5.3.4")


def test_a_message_over_the_limit_is_refused_and_the_session_goes_on(world: World) -> None:
    client = world.client().hello().to_data()
    client.send(b"x" * 70 + b"\r\n")
    client.send((b"y" * 998 + b"\r\n") * 3001 + b".\r\n")
    assert client.reply().startswith("552 5.3.4")
    client.to_data().send(b"n: 2\r\n\r\n.\r\n")
    assert client.reply().startswith("250")
    assert world.queued() == [b"n: 2\r\n\r\n"]


def test_one_recipient_too_many_gets_452(world: World) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    replies = [client.say(f"RCPT TO:<u{n}@example.test>")[:3] for n in range(4)]
    assert replies == ["250", "250", "250", "452"]


def test_without_room_mail_gets_452_before_data(world: World) -> None:
    world.room = False
    assert world.client().hello().say("MAIL FROM:<a@s.test>").startswith("452 4.3.1")


def test_an_endless_command_line_is_cut(world: World) -> None:
    client = world.client().hello()
    client.send(b"MAIL FROM:<" + b"x" * 5000 + b"@s.test>\r\n")
    assert client.reply().startswith("500 5.5.2")
    assert client.reply() == ""


def test_a_connection_too_many_is_told_421(queue: Queue, settings: ListenerSettings) -> None:
    with running(queue, replace(settings, max_connections=2)) as world:
        kept = [world.client().hello() for _ in range(2)]
        assert world.client().reply().startswith("421 4.7.0")
        kept[0].say("QUIT")
        assert kept[1].say("NOOP").startswith("250")


def test_a_client_that_talks_junk_is_sent_away(world: World) -> None:
    client = world.client().hello()
    replies = [client.say("JUNK") for _ in range(20)]
    assert {reply[:3] for reply in replies} == {"500"}
    assert client.reply().startswith("421 4.7.0")
    assert client.reply() == ""


def test_mail_with_51_hops_goes_no_further(world: World) -> None:
    client = world.client().hello().to_data()
    client.send(b"Received: x\r\n" * 51 + b"\r\n.\r\n")
    assert client.reply().startswith("554 5.4.6")


# Streams that cannot be trusted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\0"])
def test_a_fake_end_of_data_is_refused_and_nothing_behind_it_is_a_command(world: World, end: bytes) -> None:
    client = world.client().hello().to_data()
    smuggled = b"MAIL FROM:<admin@example.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\nevil\r\n.\r\n"
    client.send(b"Subject: x\r\n\r\nfirst" + end + smuggled)
    assert client.reply().startswith("554 5.6.0")
    assert client.reply() == ""
    assert world.queue.list().result() == []


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP \0\r\n"])
def test_a_command_with_a_bare_cr_lf_or_nul_ends_the_session(world: World, line: bytes) -> None:
    client = world.client().hello()
    client.send(line + b"NOOP\r\n")
    assert client.reply().startswith("500 5.5.2")
    assert client.reply() == ""


def test_bdat_is_refused_and_its_payload_never_read_as_commands(world: World) -> None:
    client = world.client().hello()
    client.say("MAIL FROM:<a@s.test>")
    client.say("RCPT TO:<u@example.test>")
    client.send(b"BDAT 30 LAST\r\nRSET\r\nMAIL FROM:<b@s.test>\r\n")
    assert client.reply().startswith("502 5.5.1")
    assert client.reply() == ""


def test_random_octets_never_break_a_session_with_an_exception(world: World) -> None:
    for junk in (b"\xff\xfe\r\n", b"EHLO \x01\r\n", b"MAIL FROM:<\xe4@s.test>\r\n", b" \r\n", b"\r\n", b"MAIL\r\n"):
        client = world.client().hello()
        client.send(junk)
        assert client.reply()[:1] == "5"
        assert client.say("NOOP").startswith("250")
        client.close()
    assert world.troubles == []


# TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_world(queue: Queue, settings: ListenerSettings, authority: trustme.CA) -> Iterator[World]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx2.example.net").configure_cert(context)
    with running(queue, replace(settings, tls_context=context)) as world:
        yield world


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_a_message_over_starttls_says_so_in_its_trace(tls_world: World, authority: trustme.CA) -> None:
    client = tls_world.client()
    client.reply()
    assert "STARTTLS" in client.say("EHLO client.test")
    assert client.say("STARTTLS").startswith("220")
    client.start_tls(trusting(authority))
    assert "STARTTLS" not in client.say("EHLO client.test")
    content = b"x: y\r\n\r\n" + b"z" * 76 + b"\r\n" * 40_000
    client.to_data().send(content + b".\r\n")
    assert client.reply().startswith("250")
    assert b"with ESMTPS id" in tls_world.queue.list().result()[0].trace
    assert tls_world.queued() == [content]


def test_after_starttls_the_client_must_greet_again(tls_world: World, authority: trustme.CA) -> None:
    client = tls_world.client().hello()
    client.say("STARTTLS")
    client.start_tls(trusting(authority))
    assert client.say("MAIL FROM:<a@s.test>").startswith("503")


def test_commands_sent_together_with_starttls_are_discarded(tls_world: World, authority: trustme.CA) -> None:
    client = tls_world.client().hello()
    client.send(b"STARTTLS\r\nRSET\r\nMAIL FROM:<injected@s.test>\r\n")
    assert client.reply().startswith("220")
    # What was injected is either dropped, or breaks the handshake; it is never answered inside TLS.
    with contextlib.suppress(ssl.SSLError, OSError):
        client.start_tls(trusting(authority))
        assert client.say("EHLO again.test").startswith("250-")


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01", b"garbage\r\n"])
def test_a_client_that_vanishes_in_its_handshake_leaves_no_session(tls_world: World, hello: bytes) -> None:
    for _ in range(3):
        client = tls_world.client().hello()
        client.say("STARTTLS")
        client.send(hello)
        # Gone with a reset, not with an end.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert tls_world.listener is not None
    deadline = time.monotonic() + 10
    while tls_world.listener.sessions and time.monotonic() < deadline:
        time.sleep(0.02)
    assert tls_world.listener.sessions == 0


def test_one_client_with_a_great_many_commands_leaves_the_others_their_turns(world: World) -> None:
    flood, stop = world.client().hello(), threading.Event()

    def receive() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set() and flood.reply():
                pass

    read = threading.Thread(target=receive, daemon=True)
    read.start()

    def send() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                flood.send(b"NOOP\r\n" * 40_000)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    # The flood ends only after the others have been served: were they to wait for its end, this would not return.
    for _ in range(5):
        other = world.client().hello()
        assert other.say("NOOP").startswith("250")
        other.close()
    stop.set()
    flood.socket.shutdown(socket.SHUT_RDWR)
    sending.join(10)
    read.join(10)


# Clients and services that go -----------------------------------------------------------------------------------


def test_a_client_that_half_closes_after_the_final_dot_gets_its_250(world: World) -> None:
    client = world.client().hello().to_data()
    client.send(b"n: 1\r\n\r\n.\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.reply().startswith("250")
    assert client.reply() == ""
    assert world.queued() == [b"n: 1\r\n\r\n"]


def test_a_client_that_goes_within_data_leaves_nothing(world: World) -> None:
    client = world.client().hello().to_data()
    client.send(b"n: 1\r\n\r\nhalf")
    client.close()
    other = world.client().hello()
    assert other.say("NOOP").startswith("250")
    assert world.queue.list().result() == []


def test_a_stop_tells_idle_clients_421_and_takes_no_more_connections(world: World) -> None:
    client = world.client().hello()
    world.stop()
    assert client.reply().startswith("421 4.3.2")
    assert client.reply() == ""
    with pytest.raises(ConnectionError):
        world.client()


def test_a_message_under_way_when_the_service_stops_is_finished(world: World) -> None:
    client = world.client().hello().to_data()
    client.send(b"n: 1\r\n\r\n")
    stopping = threading.Thread(target=world.stop)
    stopping.start()
    with contextlib.suppress(ConnectionError):
        while True:
            world.client().close()
    client.send(b".\r\n")
    assert client.reply().startswith("250")
    assert client.reply().startswith("421")
    stopping.join()
    assert world.queued() == [b"n: 1\r\n\r\n"]


def test_our_own_trouble_is_451_and_says_nothing_of_it(world: World) -> None:
    client = world.client().hello().to_data()
    world.queue.writer.submit(lambda connection: None).result()
    world.queue.close()
    client.send(b"n: 1\r\n\r\n.\r\n")
    assert client.reply() == "451 4.3.0 Temporary failure here, please try again later"
    assert world.troubles == ["queue"]
