"""Whom the primary is told that we speak for: XFORWARD with each message, XCLIENT for each client."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fallback_mx.rules.disposition import Delivery, Lost, Reply
from fallback_mx.smtp.courier import Courier
from fallback_mx.smtp.dial import DialSettings
from fallback_mx.smtp.forwarded import Announce
from fallback_mx.smtp.sink import Act, Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.couriers import deliver, with_courier
from tests.fakes.parcels import MemoryParcel
from tests.fakes.trusting_sink import XCLIENT, XFORWARD, TrustingSession, TrustingSink

SECONDS = Timeouts(5, 5, 5, 5, 5, 5, 1)


def telling(announce: Announce) -> DialSettings:
    return DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=SECONDS, announce=announce)


class Parcel(MemoryParcel):
    def __init__(self, client_address: str = "192.0.2.1", helo: str = "client.test") -> None:
        super().__init__(b"hello\r\n")
        self.message = replace(self.message, client_address=client_address, helo=helo)


def verbs(sink: Sink) -> list[str]:
    return [line.split(b" ")[0].decode() for line in sink.commands]


def codes(deliveries: list[Delivery]) -> list[int | str]:
    return [each.code if isinstance(each, Reply) else str(each) for one in deliveries for each in one.results]


@pytest.mark.parametrize("announce", Announce)
def test_nothing_is_said_to_a_server_that_does_not_offer_it(announce: Announce) -> None:
    sink = TrustingSink()
    assert codes(deliver(sink, Parcel(), settings=telling(announce))) == [250]
    assert verbs(sink) == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_nothing_is_said_where_it_is_offered_and_not_configured() -> None:
    sink = TrustingSink(XFORWARD, XCLIENT)
    deliver(sink, Parcel(), settings=telling(Announce.NONE))
    assert verbs(sink) == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


# XFORWARD ----------------------------------------------------------------------------------------------------------


def test_xforward_stands_before_every_mail() -> None:
    sink = TrustingSink(XFORWARD)
    parcels = [Parcel("192.0.2.1"), Parcel("2001:db8::1")]
    assert codes(deliver(sink, *parcels, settings=telling(Announce.XFORWARD))) == [250, 250]
    assert verbs(sink) == ["EHLO", *["XFORWARD", "MAIL", "RCPT", "DATA"] * 2, "QUIT"]
    first, second = [line for line in sink.commands if line.startswith(b"XFORWARD")]
    assert b"ADDR=192.0.2.1 " in first
    assert b"ADDR=IPV6:2001:db8::1 " in second


def test_xforward_costs_no_round_trip() -> None:
    """The next message's goes behind this one's final dot, together with its envelope."""
    waiting: list[bytes] = []

    def final(session: TrustingSession, _: str) -> None:
        waiting.append(session.pending)

    sink = TrustingSink(XFORWARD, replies={"final": final})
    deliver(sink, Parcel(), Parcel(), settings=telling(Announce.XFORWARD))
    assert waiting[0].startswith(b"XFORWARD ")
    assert waiting[0].endswith(b"DATA\r\n")


def test_a_server_without_pipelining_is_told_in_turn() -> None:
    sink = TrustingSink(XFORWARD)
    sink.extensions = ("8BITMIME", XFORWARD)
    assert codes(deliver(sink, Parcel(), settings=telling(Announce.XFORWARD))) == [250]
    assert verbs(sink) == ["EHLO", "XFORWARD", "MAIL", "RCPT", "DATA", "QUIT"]


@pytest.mark.parametrize("extensions", [("8BITMIME", XFORWARD), ("8BITMIME", "PIPELINING", XFORWARD)])
@pytest.mark.parametrize("answer", ["550 5.7.0 Not from you", "451 4.3.0 Not now"])
def test_mail_goes_without_it_where_xforward_is_refused_and_it_is_tried_twice(
    extensions: tuple[str, ...], answer: str
) -> None:
    sink = TrustingSink(replies={"xforward": answer})
    sink.extensions = extensions
    parcels = [Parcel(), Parcel(), Parcel()]

    async def one_by_one(courier: Courier) -> list[Delivery]:
        return [await courier.deliver(parcel) for parcel in parcels]

    assert codes(with_courier(sink, one_by_one, telling(Announce.XFORWARD))) == [250, 250, 250]
    assert verbs(sink).count("XFORWARD") == 2


def test_a_refused_mail_behind_xforward_is_the_messages_own() -> None:
    sink = TrustingSink(XFORWARD, replies={"mail": "550 5.1.8 No such sender"})
    assert codes(deliver(sink, Parcel(), settings=telling(Announce.XFORWARD))) == [550]
    sink = TrustingSink(replies={"mail": "550 5.1.8 No such sender"})
    sink.extensions = ("8BITMIME", XFORWARD)
    assert codes(deliver(sink, Parcel(), settings=telling(Announce.XFORWARD))) == [550]


def test_a_connection_that_ends_at_the_next_messages_xforward_leaves_that_message_untouched() -> None:
    calls: list[str] = []

    def second_time(_: TrustingSession, argument: str) -> Act | None:
        calls.append(argument)
        return Act.DROP if len(calls) == 2 else None

    sink = TrustingSink(XFORWARD, replies={"xforward": second_time})
    first, second = deliver(sink, Parcel(), Parcel(), settings=telling(Announce.XFORWARD))
    assert (first.untouched, second.untouched) == (False, True)


def no_ipv6(_: TrustingSession, argument: str) -> str | None:
    return "501 5.5.4 Bad ADDR syntax" if "IPV6:" in argument else None


def test_a_server_that_does_not_know_ipv6_is_told_of_all_others() -> None:
    sink = TrustingSink(XFORWARD, replies={"xforward": no_ipv6})
    parcels = [Parcel("2001:db8::1"), Parcel("2001:db8::2"), Parcel("192.0.2.1"), Parcel("192.0.2.2")]

    async def one_by_one(courier: Courier) -> list[Delivery]:
        return [await courier.deliver(parcel) for parcel in parcels]

    assert codes(with_courier(sink, one_by_one, telling(Announce.XFORWARD))) == [250] * 4
    said = [line.split(b" ")[2] for line in sink.commands if line.startswith(b"XFORWARD")]
    assert said == [b"ADDR=IPV6:2001:db8::1", b"ADDR=[UNAVAILABLE]", b"ADDR=192.0.2.1", b"ADDR=192.0.2.2"]


# XCLIENT -----------------------------------------------------------------------------------------------------------


def test_xclient_begins_the_session_anew_in_the_clients_name() -> None:
    sink = TrustingSink(XCLIENT)
    assert codes(deliver(sink, Parcel(), settings=telling(Announce.XCLIENT))) == [250]
    assert sink.commands[:3] == [
        b"EHLO mx2.test",
        b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=[UNAVAILABLE] PROTO=ESMTP HELO=client.test",
        b"EHLO client.test",
    ]
    assert verbs(sink)[3:] == ["MAIL", "RCPT", "DATA", "QUIT"]


def test_messages_of_one_client_need_it_once_and_are_pipelined() -> None:
    sink = TrustingSink(XCLIENT)
    parcels = [Parcel("192.0.2.1"), Parcel("192.0.2.1"), Parcel("192.0.2.2"), Parcel("192.0.2.1")]
    assert codes(deliver(sink, *parcels, settings=telling(Announce.XCLIENT))) == [250] * 4
    transaction = ["MAIL", "RCPT", "DATA"]
    begun = ["XCLIENT", "EHLO"]
    assert verbs(sink) == ["EHLO", *begun, *transaction * 2, *begun, *transaction, *begun, *transaction, "QUIT"]


def test_what_the_server_offers_to_the_client_counts_from_then_on() -> None:
    answers = ["250 sink.test", f"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 {XCLIENT}"]
    sink = TrustingSink(XCLIENT, replies={"ehlo": lambda *_: answers.pop()})
    deliver(sink, Parcel(), settings=telling(Announce.XCLIENT))
    assert sink.commands[3] == b"MAIL FROM:<sender@client.test>"


def test_a_name_that_the_server_does_not_like_is_replaced_by_our_own() -> None:
    def ehlo(_: TrustingSession, argument: str) -> str | None:
        return "501 5.5.4 Bad name" if argument == "localhost" else None

    sink = TrustingSink(XCLIENT, replies={"ehlo": ehlo})
    assert codes(deliver(sink, Parcel(helo="localhost"), settings=telling(Announce.XCLIENT))) == [250]
    assert sink.commands[2:4] == [b"EHLO localhost", b"EHLO mx2.test"]


@pytest.mark.parametrize(
    "answer", ["550 5.7.0 Not from you", "451 4.3.0 Not now", "421 4.3.2 Bye", Act.DROP, b"hi\r\n"]
)
def test_a_message_is_deferred_where_its_client_cannot_be_told(answer: Act | str | bytes) -> None:
    """Brought in our own name it would go round the rules that the primary has for its client."""
    sink = TrustingSink(XCLIENT, replies={"xclient": answer})
    [delivery] = deliver(sink, Parcel(), settings=telling(Announce.XCLIENT))
    [result] = delivery.results
    assert isinstance(result, Lost) or (isinstance(result, Reply) and result.code == 421)
    assert not isinstance(result, Lost) or not result.ambiguous
    assert sink.message_count == 0


def test_a_client_whose_address_the_server_does_not_know_is_one_without_an_address() -> None:
    """Not ourselves: that would go round the rules for clients."""
    sink = TrustingSink(XCLIENT, replies={"xclient": no_ipv6})
    parcels = [Parcel("2001:db8::1"), Parcel("192.0.2.1"), Parcel("2001:db8::2")]
    assert codes(deliver(sink, *parcels, settings=telling(Announce.XCLIENT))) == [250] * 3
    said = [line.split(b" ")[2] for line in sink.commands if line.startswith(b"XCLIENT")]
    assert said == [b"ADDR=IPV6:2001:db8::1", b"ADDR=[UNAVAILABLE]", b"ADDR=192.0.2.1", b"ADDR=[UNAVAILABLE]"]


def test_a_message_is_never_brought_in_the_name_of_the_client_before_it() -> None:
    def only_the_first(_: TrustingSession, argument: str) -> str | None:
        return None if "192.0.2.1" in argument else "550 5.7.0 Not this one"

    sink = TrustingSink(XCLIENT, replies={"xclient": only_the_first})
    first, second = deliver(sink, Parcel("192.0.2.1"), Parcel("192.0.2.2"), settings=telling(Announce.XCLIENT))
    assert codes([first]) == [250]
    assert (second.untouched, sink.message_count) == (True, 1)
    assert "XCLIENT: 550 5.7.0 Not this one" in str(second.results[0])


def test_where_the_client_may_not_be_changed_a_second_time_the_connection_ends() -> None:
    offers = [f"250-sink.test\r\n250 {XCLIENT}", "250-sink.test\r\n250 8BITMIME"]
    sink = TrustingSink(XCLIENT, replies={"ehlo": lambda *_: offers.pop(0)})

    async def both(courier: Courier) -> list[bool]:
        first = await courier.deliver(Parcel("192.0.2.1"))
        second = await courier.deliver(Parcel("192.0.2.2"))
        return [first.untouched, second.untouched, courier.is_usable]

    assert with_courier(sink, both, telling(Announce.XCLIENT)) == [False, True, False]
    assert sink.message_count == 1
    assert sink.commands[-1] == b"QUIT"
