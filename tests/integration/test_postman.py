"""Reports on their way: each to the exchangers of its sender's domain, or all to a smarthost; none is reported on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fallback_mx.config import Config, load
from fallback_mx.outages.log import OutageLog
from fallback_mx.redelivery import Courier, Drain
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.service.primaries import Primaries
from fallback_mx.service.reports import SETTINGS, Reports
from fallback_mx.smtp.dial import DialSettings, TlsPolicy
from fallback_mx.smtp.ourselves import Ourselves
from fallback_mx.smtp.postman import Postman
from fallback_mx.smtp.route import MxRoute
from fallback_mx.smtp.sink import Sink
from fallback_mx.web.metrics import Metrics
from mxqueue import BytesContent, Envelope, Filter, Queue, RecipientState
from tests.fakes.clock import Clock
from tests.fakes.dns import NameServer, Records, resolver_for
from tests.fakes.drains import SHORT, RecordedEvents, until
from tests.fakes.operator import Operator
from tests.fakes.tables import lay

PENDING, HELD, DELIVERED = RecipientState.PENDING, RecipientState.HELD, RecipientState.DELIVERED
RECORDS: Records = {
    ("one.test.", "MX"): ["10 mail.one.test."],
    ("mail.one.test.", "A"): ["127.0.0.1"],
    ("gone.test.", "MX"): ["10 mail.gone.test."],
    ("mail.gone.test.", "A"): ["127.0.0.9"],
    ("null.test.", "MX"): ["0 ."],
    ("client.test.", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
}


class Office:
    """Reports on their route, and the drain that takes them to port `port` of the exchangers that DNS names."""

    def __init__(self, queue: Queue, sink: Sink, events: RecordedEvents) -> None:
        self.queue = queue
        self.sink = sink
        self.events = events

    def report_to(self, address: str) -> str:
        envelope = Envelope("", (address,), REPORTS)
        return self.queue.accept([envelope], BytesContent(b"Subject: Undelivered mail\r\n\r\n")).result()[0]

    def states(self) -> list[RecipientState]:
        messages = self.queue.list(Filter(states=frozenset(RecipientState))).result()
        return [each.state for message in messages for each in message.recipients]


def in_an_office(directory: Path, use: Callable[[Office], Awaitable[None]], replies: Mapping[str, str] = {}) -> None:
    async def run() -> None:
        clock = Clock()
        queue = Queue.open(lay(directory / "queue.db"), node="node", exclusive=True, clock=clock)
        sink, events = Sink(replies=replies), RecordedEvents()
        await sink.start()
        async with resolver_for(NameServer(RECORDS)) as resolver:
            dial = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=SHORT)

            def route_to(domain: str) -> MxRoute:
                return MxRoute(domain, Ourselves(frozenset({"mx2.test"})), resolver, random.random, sink.port)

            async def connect() -> Courier:
                return Postman(route_to, dial)

            drain = Drain(
                REPORTS,
                queue,
                replace(SETTINGS, grace_seconds=5.0),
                connect=connect,
                may_deliver=lambda: True,
                recovered_at=lambda: None,
                observe=lambda observation: None,
                events=events,
                clock=clock,
                chance=lambda: 0.5,
            )
            office = Office(queue, sink, events)
            running = asyncio.create_task(drain.run())
            try:
                await use(office)
            finally:
                drain.stop()
                await running
                await sink.stop()
                queue.close()

    asyncio.run(run())


def test_a_report_goes_to_the_exchangers_of_its_own_domain_from_the_null_reverse_path(tmp_path: Path) -> None:
    async def use(office: Office) -> None:
        office.report_to("a@one.test")
        await until(lambda: office.states() == [DELIVERED], "a delivery")
        (message,) = office.sink.messages
        assert (message.reverse_path, message.forward_paths) == ("", ("a@one.test",))
        assert b"MAIL FROM:<>" in office.sink.commands[1]

    in_an_office(tmp_path, use)


def test_a_domain_that_cannot_be_reached_delays_no_other(tmp_path: Path) -> None:
    async def use(office: Office) -> None:
        for domain in ("gone.test", "nowhere.test", "null.test"):
            office.report_to(f"a@{domain}")
        for _ in range(20):
            office.report_to("a@one.test")
        await until(lambda: office.states() == [PENDING] * 3 + [DELIVERED] * 20, "all that can be delivered")
        assert len(office.events.named("deferred")) == 3
        assert office.events.named("connection_failed") == [], "it is the message that is deferred, not the route"

    in_an_office(tmp_path, use)


def test_a_report_that_is_refused_is_held_and_never_reported_on(tmp_path: Path) -> None:
    async def use(office: Office) -> None:
        office.report_to("a@one.test")
        await until(lambda: office.states() == [HELD], "an end")

    in_an_office(tmp_path, use, {"rcpt": "550 5.1.1 No such user"})


def test_an_exchanger_that_is_busy_is_asked_again_later(tmp_path: Path) -> None:
    async def use(office: Office) -> None:
        office.report_to("a@one.test")
        await until(lambda: office.events.named("deferred"), "a deferral")
        assert office.states() == [PENDING]

    in_an_office(tmp_path, use, {"rcpt": "450 4.2.0 Greylisted"})


# The service's own wires ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def service(config: Config, queue: Queue, names: NameServer) -> AsyncIterator[None]:
    """Primaries and reports as the house has them."""
    metrics = Metrics("test", [primary.name for primary in config.primaries])
    log = OutageLog(queue.writer.submit, queue.read, "mx2")
    async with resolver_for(names) as resolver:

        def on_crash() -> None:
            raise AssertionError("a part crashed")

        reports = Reports(config, queue, metrics, on_crash, resolver)

        class Lessons:
            def delivered(self, primary: str, forward_path: str) -> None: ...
            def refused(self, primary: str, forward_path: str, reply: str) -> None: ...

        primaries = Primaries(queue, log, metrics, on_crash, lambda: None, Lessons(), reports)
        await primaries.start(config)
        reports.start()
        try:
            yield
        finally:
            await primaries.stop(5)
            await reports.stop()


def test_what_the_primary_refuses_comes_to_its_sender_through_the_smarthost(tmp_path: Path) -> None:
    async def run() -> None:
        refusing, smarthost = Sink(replies={"rcpt": "550 5.1.1 No such user"}), Sink()
        await refusing.start()
        await smarthost.start()
        operator = Operator(tmp_path).create()
        operator.config.write_text(
            f'[server]\nhostname = "mx2.example.com"\n[storage]\nurl = "{operator.url}"\n'
            f'[bounces]\nsmarthost = "127.0.0.1:{smarthost.port}"\n'
            f'[[primary]]\nname = "main"\ndomains = ["example.org"]\nhost = "127.0.0.1"\nport = {refusing.port}\n'
            'on_refusal = "bounce"\nrecovery_guard = "0s"\ninterval = "200ms"\nrise = 1\n'
        )
        queue = operator.open()
        envelope = Envelope("a@client.test", ("bob@example.org",), "main", client_address="192.0.2.1")
        (queue_id,) = queue.accept([envelope], BytesContent(b"Subject: hello\r\n\r\nbody\r\n")).result()
        try:
            async with service(load(operator.config, environ={}), queue, NameServer(RECORDS)):
                await until(lambda: smarthost.messages, "the report")
                await until(lambda: not queue.list().result(), "an empty queue")
        finally:
            await refusing.stop()
            await smarthost.stop()
            message, _ = queue.show(queue_id).result()
            queue.close()
        (report,) = smarthost.messages
        assert (report.reverse_path, report.forward_paths) == ("", ("a@client.test",))
        assert b"Final-Recipient: rfc822; bob@example.org\r\n" in report.content
        assert b"Subject: hello\r\n\r\nbody\r\n" in report.content
        assert message.recipients[0].state is RecipientState.FAILED

    asyncio.run(run())
