"""One connection to a next hop, against a real server behind a socket."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from fallback_mx.rules.disposition import Lost, Reply, Result, Unfit
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import connect
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import EXTENSIONS, Act, Answer, Sink, SinkSession
from mxqueue.errors import Damaged, QueueUnavailable
from tests.fakes.couriers import IN_TURN, PLAIN, deliver, hasty, with_courier
from tests.fakes.parcels import TRACE, MemoryParcel

HELLO = b"Subject: hello\r\n\r\nhello\r\n"
THREE = ("good@example.test", "full@example.test", "bad@example.test")

both_ways = pytest.mark.parametrize("extensions", [EXTENSIONS, IN_TURN], ids=["pipelined", "in-turn"])


def by_name(session: SinkSession, path: str) -> Answer:
    if path.startswith("bad"):
        return "550 5.1.1 No such user"
    return "452 4.2.2 Full" if path.startswith("full") else None


def codes(results: tuple[Result, ...]) -> list[int | type]:
    return [result.code if isinstance(result, Reply) else type(result) for result in results]


# What arrives ------------------------------------------------------------------------------------------------------


@both_ways
def test_content_arrives_behind_the_trace_line(extensions: tuple[str, ...]) -> None:
    sink = Sink(extensions=extensions)
    [delivery] = deliver(sink, MemoryParcel(HELLO))
    [message] = sink.messages
    assert message.content == TRACE + HELLO
    assert message.reverse_path == "sender@client.test"
    assert message.forward_paths == ("user@example.test",)
    assert delivery.results == (Reply(250, "2.0.0 Ok: kept as 1"),)


@both_ways
def test_several_messages_go_over_one_connection(extensions: tuple[str, ...]) -> None:
    sink = Sink(extensions=extensions)
    deliver(sink, *(MemoryParcel(b"%d\r\n" % number) for number in range(20)))
    assert [message.content for message in sink.messages] == [TRACE + b"%d\r\n" % number for number in range(20)]
    assert sink.connection_count == 1


def test_large_content_arrives_in_pieces() -> None:
    sink = Sink()
    content = b"".join(b"%07d.\r\n..\r\n.\r\n" % number for number in range(200_000))
    deliver(sink, MemoryParcel(content, piece_octets=65_537))
    assert sink.messages[0].content == TRACE + content


def test_it_works_on_uvloop() -> None:
    async def run() -> None:
        sink = Sink()
        await sink.start()
        courier = await connect(NextHop("127.0.0.1", sink.port), PLAIN)
        parcels = [MemoryParcel(HELLO * 40_000), MemoryParcel(HELLO)]
        await courier.deliver(parcels[0], lambda: parcels[1])
        await courier.deliver(parcels[1])
        await courier.quit()
        await sink.stop()
        assert [message.content for message in sink.messages] == [TRACE + HELLO * 40_000, TRACE + HELLO]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


# How it is said ----------------------------------------------------------------------------------------------------


def test_the_server_is_told_the_size_with_the_trace_line() -> None:
    sink = Sink()
    deliver(sink, MemoryParcel(HELLO))
    assert f"SIZE={len(TRACE) + len(HELLO)}" in sink.messages[0].mail_parameters


@pytest.mark.parametrize(
    ("body", "smtputf8", "expected"),
    [("7BIT", False, set()), ("8BITMIME", False, {"BODY=8BITMIME"}), ("7BIT", True, {"SMTPUTF8"})],
)
def test_parameters_are_handed_on(body: str, smtputf8: bool, expected: set[str]) -> None:
    sink = Sink()
    deliver(sink, MemoryParcel(HELLO, body=body, smtputf8=smtputf8))
    assert {each for each in sink.messages[0].mail_parameters if not each.startswith("SIZE")} == expected


def test_parameters_that_were_not_offered_are_not_used() -> None:
    sink = Sink(extensions=())
    deliver(sink, MemoryParcel(HELLO, body="8BITMIME", smtputf8=True))
    assert sink.messages[0].mail_parameters == ()


def test_an_envelope_goes_in_one_write_where_the_server_pipelines() -> None:
    waiting: list[int] = []

    def banner(session: SinkSession, _: str) -> None:
        received = session.data_received

        def counted(data: bytes) -> None:
            waiting.append(data.count(b"\r\n"))
            received(data)

        session.data_received = counted  # type: ignore[method-assign]

    deliver(Sink(replies={"banner": banner}), MemoryParcel(HELLO, forward_paths=THREE))
    assert 5 in waiting, f"expected MAIL, three RCPT and DATA in one piece, found pieces of {waiting} lines"


def test_the_next_envelope_goes_with_the_final_dot() -> None:
    announced: list[bytes] = []

    def final(session: SinkSession, _: str) -> None:
        announced.append(session.pending)

    deliver(Sink(replies={"final": final}), MemoryParcel(HELLO), MemoryParcel(b"next\r\n"))
    assert announced[0].startswith(b"MAIL FROM:<sender@client.test>")
    assert announced[0].endswith(b"DATA\r\n")
    assert announced[1] == b""


def test_without_pipelining_there_is_one_command_at_a_time() -> None:
    early: list[bytes] = []

    def step(session: SinkSession, _: str) -> None:
        early.append(session.pending)

    steps = dict.fromkeys(("mail", "rcpt", "data", "final"), step)
    deliver(Sink(replies=steps, extensions=IN_TURN), MemoryParcel(HELLO), MemoryParcel(HELLO))
    assert set(early) == {b""}


def test_it_says_quit() -> None:
    sink = Sink()
    deliver(sink, MemoryParcel(HELLO))
    assert sink.commands[-1] == b"QUIT"


def test_a_server_without_ehlo_is_greeted_with_helo() -> None:
    sink = Sink(replies={"ehlo": "502 5.5.1 What?"})
    [delivery] = deliver(sink, MemoryParcel(HELLO))
    assert codes(delivery.results) == [250]
    assert sink.commands[:2] == [b"EHLO mx2.test", b"HELO mx2.test"]


# Refusals ----------------------------------------------------------------------------------------------------------


@both_ways
def test_each_recipient_has_its_own_outcome(extensions: tuple[str, ...]) -> None:
    sink = Sink(replies={"rcpt": by_name}, extensions=extensions)
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=THREE))
    assert codes(delivery.results) == [250, 452, 550]
    assert sink.messages[0].forward_paths == ("good@example.test",)


@both_ways
@pytest.mark.parametrize("reply", ["451 4.3.0 Later", "550 5.7.1 Not from you"])
@pytest.mark.parametrize("step", ["mail", "data", "final"])
def test_a_refusal_of_the_message_is_that_of_all_its_recipients(
    extensions: tuple[str, ...], reply: str, step: str
) -> None:
    sink = Sink(replies={step: reply}, extensions=extensions)
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=("a@example.test", "b@example.test")))
    assert [str(result) for result in delivery.results] == [reply, reply]
    assert sink.messages == []


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "final"])
def test_after_a_refusal_the_connection_goes_on(extensions: tuple[str, ...], step: str) -> None:
    replies = ["550 5.0.0 No"]
    sink = Sink(replies={step: lambda *_: replies.pop() if replies else None}, extensions=extensions)
    refused, taken = deliver(sink, MemoryParcel(b"1\r\n"), MemoryParcel(b"2\r\n"))
    assert codes(refused.results) == [550]
    assert codes(taken.results) == [250]
    assert [message.content for message in sink.messages] == [TRACE + b"2\r\n"]
    assert sink.connection_count == 1


@both_ways
def test_content_is_not_sent_when_nobody_was_accepted(extensions: tuple[str, ...]) -> None:
    sink = Sink(replies={"rcpt": "550 5.1.1 No"}, extensions=extensions)
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=THREE))
    assert codes(delivery.results) == [550, 550, 550]
    assert not any(b"Subject" in command for command in sink.commands)


@pytest.mark.parametrize("final", [None, "250 2.0.0 Ok", "554 5.5.1 Nobody"])
def test_a_server_that_wants_content_for_nobody_gets_a_lone_dot(final: str | None) -> None:
    """RFC 2920, section 3.1."""
    sink = Sink(replies={"rcpt": "550 5.1.1 No", "data": "354 Go on", "final": final})
    first, second = deliver(sink, MemoryParcel(HELLO), MemoryParcel(HELLO))
    assert codes(first.results) == codes(second.results) == [550]
    assert {message.content for message in sink.messages} <= {b""}
    assert sink.connection_count == 1


# Lost connections --------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(("step", "ambiguous"), [("mail", False), ("rcpt", False), ("data", False), ("final", True)])
@pytest.mark.parametrize("act", [Act.DROP, Act.SILENT])
def test_no_reply_defers_and_only_behind_the_final_dot_is_it_ambiguous(
    extensions: tuple[str, ...], step: str, ambiguous: bool, act: Act
) -> None:
    sink = Sink(replies={step: act}, extensions=extensions)
    impatient = hasty(command=0.05, data=0.05, final=0.05)
    [delivery] = deliver(sink, MemoryParcel(HELLO), settings=impatient)
    [result] = delivery.results
    assert isinstance(result, Lost)
    assert result.ambiguous is ambiguous
    assert not delivery.untouched


def test_a_refused_recipient_stays_refused_when_the_reply_to_the_content_is_lost() -> None:
    sink = Sink(replies={"rcpt": by_name, "final": Act.DROP})
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=THREE))
    assert codes(delivery.results) == [Lost, 452, 550]


@both_ways
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "final"])
def test_421_anywhere_defers_and_ends_the_connection(extensions: tuple[str, ...], step: str) -> None:
    async def use(courier: Courier) -> None:
        delivery = await courier.deliver(MemoryParcel(HELLO))
        assert delivery.results == (Reply(421, "4.3.2 Going away"),)
        assert not courier.is_usable

    with_courier(Sink(replies={step: "421 4.3.2 Going away"}, extensions=extensions), use)


@both_ways
@pytest.mark.parametrize("end", [Act.DROP, "421 4.4.2 Idle for too long"])
def test_a_message_of_which_nothing_was_said_is_untouched(extensions: tuple[str, ...], end: Answer) -> None:
    answers: list[Answer] = [end, None]
    sink = Sink(replies={"mail": lambda *_: answers.pop()}, extensions=extensions)
    first, second = deliver(sink, MemoryParcel(HELLO), MemoryParcel(HELLO))
    assert codes(first.results) == [250]
    assert not first.untouched
    assert second.untouched


def test_the_first_message_of_a_connection_is_never_untouched() -> None:
    """Or a message that brings the server down would be offered first for ever."""
    [delivery] = deliver(Sink(replies={"mail": Act.DROP}), MemoryParcel(HELLO))
    assert not delivery.untouched


def test_a_server_that_takes_no_content_is_given_up() -> None:
    def data(session: SinkSession, _: str) -> None:
        session.stop_reading()

    sink = Sink(replies={"data": data})
    [delivery] = deliver(sink, MemoryParcel(b"x" * 76 + b"\r\n" * 10_000_000), settings=hasty(block=0.1))
    [result] = delivery.results
    assert isinstance(result, Lost)
    assert not result.ambiguous
    assert "room to write" in result.detail


# What is not sent --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [("PIPELINING", "SMTPUTF8"), ()])
def test_8_bit_content_is_not_sent_to_a_server_that_would_mangle_it(extensions: tuple[str, ...]) -> None:
    sink = Sink(extensions=extensions)
    unfit, fit = deliver(sink, MemoryParcel(b"gr\xfc\xdfe\r\n", body="8BITMIME"), MemoryParcel(HELLO))
    assert unfit.results == (Unfit("8-bit content, and 127.0.0.1 does not offer 8BITMIME"),)
    assert codes(fit.results) == [250]


def test_content_that_is_called_8_bit_and_is_not_goes_anywhere() -> None:
    sink = Sink(extensions=())
    [delivery] = deliver(sink, MemoryParcel(HELLO, body="8BITMIME"))
    assert codes(delivery.results) == [250]
    assert sink.messages[0].content == TRACE + HELLO


def test_an_address_in_utf_8_is_not_sent_to_a_server_without_smtputf8() -> None:
    sink = Sink(extensions=("8BITMIME",))
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=("grüße@example.test",), smtputf8=True))
    assert codes(delivery.results) == [Unfit]
    assert not any(command.startswith(b"MAIL") for command in sink.commands)


def test_headers_in_utf_8_are_not_sent_to_a_server_without_smtputf8() -> None:
    sink = Sink(extensions=("8BITMIME",))
    content = "Subject: grüße\r\n\r\n".encode()
    [delivery] = deliver(sink, MemoryParcel(content, body="8BITMIME", smtputf8=True))
    assert codes(delivery.results) == [Unfit]


def test_an_address_in_utf_8_is_handed_on_where_it_can_be() -> None:
    sink = Sink()
    deliver(sink, MemoryParcel(HELLO, forward_paths=("grüße@example.test",), smtputf8=True))
    assert sink.messages[0].forward_paths == ("grüße@example.test",)
    assert "SMTPUTF8" in sink.messages[0].mail_parameters


@pytest.mark.parametrize("path", ["a@x>\r\nRCPT TO:<b@example.test", "a\nb@example.test", "a\x00@example.test"])
def test_an_address_cannot_smuggle_a_command(path: str) -> None:
    sink = Sink()
    [delivery] = deliver(sink, MemoryParcel(HELLO, forward_paths=(path,)))
    assert codes(delivery.results) == [Unfit]
    assert not any(command.startswith(b"MAIL") for command in sink.commands)


@pytest.mark.parametrize("content", [b"a\n.\r\nMAIL FROM:<x>\r\n", b"a\r.\r\n"])
def test_content_that_could_end_early_is_never_finished(content: bytes) -> None:
    sink = Sink()
    [delivery] = deliver(sink, MemoryParcel(content))
    assert codes(delivery.results) == [Unfit]
    assert sink.messages == []


def test_damaged_content_is_cut_off_before_the_final_dot() -> None:
    sink = Sink()
    [delivery] = deliver(sink, MemoryParcel(HELLO * 10_000, failure=Damaged("not what was accepted")))
    assert delivery.results == (Unfit("not what was accepted"),)
    assert sink.messages == []


def test_content_that_cannot_be_read_just_now_is_deferred() -> None:
    sink = Sink()
    [delivery] = deliver(sink, MemoryParcel(HELLO, failure=QueueUnavailable("database away")))
    [result] = delivery.results
    assert isinstance(result, Lost)
    assert not result.ambiguous
    assert "database away" in result.detail
    assert sink.messages == []
