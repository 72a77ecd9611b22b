"""Content in chunks (RFC 3030): byte for byte, one outcome, and no harm where the server cannot do it after all."""

from __future__ import annotations

import asyncio
import random

import pytest

from fallback_mx.rules.disposition import Delivery, Lost, Reply, Result, Unfit
from fallback_mx.smtp.chunking import WORTH_OCTETS, Doubts
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import open_first
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import EXTENSIONS, Act, Answer, Sink, SinkSession
from mxqueue.errors import Damaged
from tests.fakes.couriers import PLAIN, deliver, hasty, with_courier
from tests.fakes.parcels import TRACE, MemoryParcel

CHUNKING = (*EXTENSIONS, "CHUNKING")
IN_TURN = tuple(each for each in CHUNKING if each != "PIPELINING")
PIECE = 100_000
LARGE = b"..\r\n.\r\nbare \r and \n and \x00\r\n." * 20_000


def chunking(**options: object) -> Sink:
    return Sink(**({"extensions": CHUNKING} | options))  # type: ignore[arg-type]


def large(content: bytes = LARGE, **options: object) -> MemoryParcel:
    return MemoryParcel(content, piece_octets=PIECE, **options)  # type: ignore[arg-type]


def bdat(sink: Sink) -> list[bytes]:
    return [line for line in sink.commands if line.startswith(b"BDAT")]


def only(deliveries: list[Delivery]) -> Result:
    [delivery] = deliveries
    [result] = delivery.results
    return result


def is_delivered(result: Result) -> bool:
    return isinstance(result, Reply) and result.is_success


@pytest.mark.parametrize("extensions", [CHUNKING, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("octets", [WORTH_OCTETS, PIECE, PIECE + 1, 3 * PIECE - 1, len(LARGE)])
def test_content_arrives_byte_for_byte_and_without_a_dot_more(extensions: tuple[str, ...], octets: int) -> None:
    content = LARGE[:octets]
    sink = chunking(extensions=extensions)
    assert is_delivered(only(deliver(sink, large(content))))
    assert [message.content for message in sink.messages] == [TRACE + content]
    assert b"DATA" not in sink.commands
    assert sum(int(line.split()[1]) for line in bdat(sink)) == len(TRACE) + octets
    assert [line.endswith(b" LAST") for line in bdat(sink)] == [False] * (len(bdat(sink)) - 1) + [True]


@pytest.mark.parametrize("seed", range(5))
def test_any_octets_in_any_pieces_arrive_as_they_are(seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(chance.randrange(WORTH_OCTETS, 5 * WORTH_OCTETS))
    sink = chunking()
    parcel = MemoryParcel(content, piece_octets=chance.randrange(1000, 200_000))
    assert is_delivered(only(deliver(sink, parcel)))
    assert sink.messages[0].content == TRACE + content


def test_small_messages_go_by_data() -> None:
    sink = chunking()
    deliver(sink, MemoryParcel(b"hello\r\n"))
    assert bdat(sink) == []


def test_chunks_are_not_sent_where_they_are_not_offered() -> None:
    sink = Sink()
    deliver(sink, large(b"x\r\n" * 50_000))
    assert bdat(sink) == []
    assert sink.message_count == 1


def test_the_first_chunk_of_a_connection_holds_our_own_words_alone_and_is_waited_for() -> None:
    """A server that cannot do it would read it as commands."""
    pending: list[bytes] = []

    def chunk(session: SinkSession, _: str) -> None:
        pending.append(session.pending)

    sink = chunking(replies={"chunk": chunk})
    deliver(sink, large(), large())
    assert bdat(sink)[0] == b"BDAT %d" % len(TRACE)
    assert pending[0] == b""
    assert sum(line == b"BDAT %d" % len(TRACE) for line in bdat(sink)) == 1
    assert [message.content for message in sink.messages] == [TRACE + LARGE] * 2


def test_the_next_envelope_goes_behind_the_last_chunk_and_rset_before_it() -> None:
    pending: list[bytes] = []

    def final(session: SinkSession, _: str) -> None:
        pending.append(session.pending)

    sink = chunking(replies={"final": final})
    small = MemoryParcel(b"hello\r\n")
    assert all(is_delivered(each.results[0]) for each in deliver(sink, large(), small, large()))
    assert pending[0].startswith(b"RSET\r\nMAIL FROM:")
    assert pending[0].endswith(b"DATA\r\n")
    assert [message.content for message in sink.messages] == [TRACE + LARGE, TRACE + b"hello\r\n", TRACE + LARGE]


@pytest.mark.parametrize("extensions", [CHUNKING, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("answer", ["552 5.3.4 Too large", "452 4.3.1 Full"])
@pytest.mark.parametrize("which", [1, 2, 4])
def test_a_refused_chunk_refuses_the_message_and_not_the_next(
    extensions: tuple[str, ...], answer: str, which: int
) -> None:
    seen: list[str] = []

    def chunk(_: SinkSession, size: str) -> Answer:
        seen.append(size)
        return answer if len(seen) == which else None

    sink = chunking(extensions=extensions, replies={"chunk": chunk})
    first, second = deliver(sink, large(), large())
    assert str(first.results[0]) == answer
    assert is_delivered(second.results[0])
    assert [message.content for message in sink.messages] == [TRACE + LARGE]


@pytest.mark.parametrize("answer", ["552 5.3.4 Too large", "452 4.3.1 Full"])
def test_a_refused_last_chunk_refuses_the_message_and_not_the_next(answer: str) -> None:
    """FAULTS 19."""
    answers = [answer]
    sink = chunking(replies={"final": lambda *_: answers.pop() if answers else None})
    first, second = deliver(sink, large(), large())
    assert str(first.results[0]) == answer
    assert is_delivered(second.results[0])


def test_recipients_have_their_own_outcomes() -> None:
    """FAULTS 18."""
    replies = {"rcpt": lambda _, path: {"b": "450 4.2.1 Later", "c": "550 5.1.1 No"}.get(path[0])}
    sink = chunking(replies=replies)
    [delivery] = deliver(sink, large(forward_paths=["a@x.test", "b@x.test", "c@x.test"]))
    assert [result.code for result in delivery.results if isinstance(result, Reply)] == [250, 450, 550]


@pytest.mark.parametrize("extensions", [CHUNKING, IN_TURN], ids=["pipelined", "in turn"])
def test_where_nobody_is_accepted_no_chunk_is_sent(extensions: tuple[str, ...]) -> None:
    sink = chunking(extensions=extensions, replies={"rcpt": "550 5.1.1 No"})
    assert str(only(deliver(sink, large()))) == "550 5.1.1 No"
    assert bdat(sink) == []


# What is lost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [Act.DROP, Act.KEEP_THEN_DROP, Act.SILENT])
def test_a_connection_that_ends_behind_the_last_chunk_is_ambiguous(act: Act) -> None:
    """FAULTS 16."""
    result = only(deliver(chunking(replies={"final": act}), large(), settings=hasty(final=0.3)))
    assert isinstance(result, Lost)
    assert result.ambiguous


@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.parametrize("act", [Act.DROP, Act.SILENT])
def test_a_connection_that_ends_before_the_last_chunk_is_not(act: Act, which: int) -> None:
    seen: list[str] = []

    def chunk(_: SinkSession, size: str) -> Answer:
        seen.append(size)
        return act if len(seen) == which else None

    sink = chunking(extensions=IN_TURN, replies={"chunk": chunk})
    result = only(deliver(sink, large(), settings=hasty(final=0.3)))
    assert isinstance(result, Lost)
    assert not result.ambiguous
    assert sink.message_count == 0


@pytest.mark.parametrize(
    ("failure", "kind"), [(Damaged("one", "its hash"), Unfit), (OSError("disk"), Lost)], ids=["damaged", "unreadable"]
)
def test_content_that_cannot_be_read_to_its_end_is_never_ended(failure: Exception, kind: type) -> None:
    sink = chunking()
    assert isinstance(only(deliver(sink, large(failure=failure))), kind)
    assert sink.message_count == 0
    assert not any(line.endswith(b"LAST") for line in bdat(sink))


@pytest.mark.parametrize("answer", [b"250 ok\r\n250 and more\r\n", b"354 go on\r\n", b"hello\r\n"])
def test_a_reply_that_a_chunk_cannot_have_breaks_the_connection(answer: bytes) -> None:
    """FAULTS 20."""
    result = only(deliver(chunking(extensions=IN_TURN, replies={"chunk": answer}), large()))
    assert isinstance(result, Lost)
    assert not result.ambiguous


# A server that breaks its word ---------------------------------------------------------------------------------------


class Liar(SinkSession):
    """Offers CHUNKING and does not know BDAT: it reads the chunk as commands."""

    def _on_bdat(self, argument: str) -> None:
        self._say("502 5.5.1 What?")


def test_a_server_that_does_not_know_bdat_after_all_never_sees_the_content_as_commands() -> None:
    evil = b"RSET\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<victim@x.test>\r\nDATA\r\nboo\r\n.\r\n"
    sink = chunking(session=Liar)
    result = only(deliver(sink, large(evil + b"x" * WORTH_OCTETS)))
    assert isinstance(result, Lost)
    assert not result.ambiguous
    assert sink.messages == []
    assert not any(b"evil" in line for line in sink.commands)


@pytest.mark.parametrize("code", [500, 501, 502, 503])
def test_it_gets_the_message_by_data_on_the_next_connection(code: int) -> None:
    sink = chunking(replies={"chunk": f"{code} 5.5.1 What?"})

    async def run() -> list[Delivery]:
        await sink.start()
        doubts = Doubts(asyncio.get_running_loop().time)
        given = []
        for _ in range(2):
            line = await open_first([NextHop("127.0.0.1", sink.port)], PLAIN)
            courier = Courier(*line, doubts=doubts)
            given.append(await courier.deliver(large(b"x\r\n" * 50_000)))
            await courier.quit()
        await sink.stop()
        return given

    first, second = asyncio.run(run())
    assert (first.untouched, isinstance(first.results[0], Lost)) == (True, True)
    assert is_delivered(second.results[0])
    assert [message.content for message in sink.messages] == [TRACE + b"x\r\n" * 50_000]
    assert len(bdat(sink)) == 1


def test_a_doubt_lasts_for_an_hour() -> None:
    now = 0.0
    doubts = Doubts(lambda: now)
    assert "mail.test" not in doubts
    doubts.add("mail.test")
    now = 3599.0
    assert ("mail.test" in doubts, "other.test" in doubts) == (True, False)
    now = 3601.0
    assert "mail.test" not in doubts


def test_a_courier_that_is_told_to_stop_knows_whether_the_last_chunk_has_gone() -> None:
    async def use(courier: Courier) -> bool:
        delivering = asyncio.create_task(courier.deliver(large()))
        async with asyncio.timeout(5):
            while not courier.is_ambiguous:
                await asyncio.sleep(0.001)
        delivering.cancel()
        await asyncio.wait([delivering])
        courier.abort()
        return courier.is_ambiguous

    assert with_courier(chunking(replies={"final": Act.SILENT}), use)
