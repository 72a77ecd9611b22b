"""Mail that is given up, from the primary's refusal to the report in the sender's own exchanger, or to its being held.

A drain on a real queue, a primary behind a socket, and a name server that says who vouches for whom.
"""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import dns.rcode
import pytest
from sqlalchemy import Connection, update

from fallback_mx.bounces.quota import Quota
from fallback_mx.bounces.reporter import Reporter, ReporterSettings
from fallback_mx.bounces.vouching import Voucher
from fallback_mx.redelivery import DrainSettings, OnExpiry
from fallback_mx.redelivery.giving_up import MOST_WAITING
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.rules.disposition import OnRefusal
from fallback_mx.rules.dsn import Failure
from fallback_mx.smtp.sink import Act, Sink
from mxqueue.model import Filter, LedgerEvent, Message, RecipientState, ReportRequest
from mxqueue.schema import chunk
from tests.fakes.clock import START
from tests.fakes.dns import NameServer, Records, resolver_for
from tests.fakes.drains import SETTINGS, Rig, rig, until

PENDING, HELD, DELIVERED = RecipientState.PENDING, RecipientState.HELD, RecipientState.DELIVERED
FAILED, EXPIRED = RecipientState.FAILED, RecipientState.EXPIRED
BOUNCE = replace(SETTINGS, on_refusal=OnRefusal.BOUNCE, on_expiry=OnExpiry.BOUNCE)
VOUCHED: Records = {("client.test.", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"']}
FORGED: Records = {("client.test.", "TXT"): ['"v=spf1 ip4:198.51.100.1 -all"']}
REFUSES = {"rcpt": "550 5.1.1 No such user"}


@dataclass
class Scene:
    rig: Rig
    reporter: Reporter
    names: NameServer

    async def give_up(self, settings: DrainSettings = BOUNCE) -> None:
        """Let the drain run until nothing is pending any more."""
        async with self.rig.running(settings, reporter=self.reporter):
            await until(lambda: not self.waiting(), "an end for everybody")

    def waiting(self) -> list[Message]:
        return self.rig.queue.list(Filter(route="main", states=frozenset({PENDING}))).result()

    def states(self) -> list[RecipientState]:
        """Of the mail for the primary."""
        wanted = Filter(route="main", states=frozenset(RecipientState))
        return [each.state for message in self.rig.queue.list(wanted).result() for each in message.recipients]

    def replies(self) -> list[str]:
        wanted = Filter(route="main", states=frozenset(RecipientState))
        return [each.last_reply for message in self.rig.queue.list(wanted).result() for each in message.recipients]

    def reports(self, route: str = REPORTS) -> list[Message]:
        return self.rig.queue.list(Filter(route=route, sender="")).result()

    def content(self, queue_id: str) -> bytes:
        return b"".join(self.rig.queue.content(queue_id).result().chunks())

    def told(self) -> list[tuple[str, str]]:
        """Whom the one report tells of, each with the status."""
        (report,) = self.reports()
        fields = email.message_from_bytes(self.content(report.id)).get_payload()[1].get_payload()[1:]
        return [(each["Final-Recipient"], each["Status"]) for each in fields]


def on_stage(
    directory: Path,
    use: Callable[[Scene], Awaitable[None]],
    records: Records = VOUCHED,
    *,
    replies: Mapping[str, object] = REFUSES,
    broken: dict[str, dns.rcode.Rcode] | None = None,
    primaries: Mapping[str, str] | None = None,
    quota: Quota | None = None,
) -> None:
    async def run() -> None:
        names = NameServer(records, broken=broken)
        async with rig(directory, Sink(replies=replies)) as r, resolver_for(names) as resolver:  # type: ignore[arg-type]
            settings = ReporterSettings("mx2.test", primaries or {"example.test": "main"})
            await use(Scene(r, Reporter(settings, Voucher(resolver), r.queue.new_id, r.clock, quota), names))

    asyncio.run(run())


# A refusal -----------------------------------------------------------------------------------------------


def test_the_sender_of_refused_mail_is_told_where_its_domain_vouches(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        queue_id = scene.rig.accept(b"Subject: hello\r\n\r\nbody\r\n", envid="QQ+2B1")
        await scene.give_up()

        assert scene.states() == [FAILED]
        (report,) = scene.reports()
        assert (report.reverse_path, report.client_address) == ("", "")
        assert [each.forward_path for each in report.recipients] == ["sender@client.test"]
        content = scene.content(report.id)
        assert b"Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n" in content
        assert b"Remote-MTA: dns; [127.0.0.1]\r\n" in content
        assert b"Original-Envelope-Id: QQ+1\r\n" in content
        assert b"Subject: hello\r\n\r\nbody\r\n" in content
        assert scene.rig.ledger(queue_id) == [LedgerEvent.ACCEPTED, LedgerEvent.FAILED]
        assert report.id in scene.replies()[0]
        assert scene.rig.events.named("reported") == [{"id": queue_id, "report": report.id}]

    on_stage(tmp_path, use)


def test_a_sender_that_has_had_a_great_many_reports_gets_no_more_for_now(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        for _ in range(25):
            scene.rig.accept()
        await scene.give_up()
        assert sorted(scene.states(), key=str) == [FAILED] * 20 + [HELD] * 5
        assert len(scene.reports()) == 20
        assert (
            len([each for each in scene.replies() if "no report: 20 reports went to sender@client.test" in each]) == 5
        )

    on_stage(tmp_path, use, quota=Quota(lambda: 0.0))


def test_where_nobody_vouches_the_mail_is_held_with_the_reason_and_nobody_is_told(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()
        await scene.give_up()
        assert (scene.states(), scene.reports()) == ([HELD], [])
        assert scene.replies() == [
            "550 5.1.1 No such user (no report: SPF of client.test says fail, "
            "and there is no valid DKIM signature for client.test)"
        ]
        assert len(scene.rig.events.named("held")) == 1

    on_stage(tmp_path, use, FORGED)


def test_with_name_servers_in_trouble_the_mail_is_held(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()
        await scene.give_up()
        assert (scene.states(), scene.reports()) == ([HELD], [])
        assert "SPF of client.test says temperror" in scene.replies()[0]

    on_stage(tmp_path, use, broken={"client.test.": dns.rcode.SERVFAIL})


def test_nothing_is_ever_reported_to_the_null_reverse_path(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept(reverse_path="")
        await scene.give_up()
        assert (scene.states(), scene.reports(), scene.names.asked) == ([HELD], [], [])
        assert scene.replies() == ["550 5.1.1 No such user (no report: none goes to the null reverse-path)"]

    on_stage(tmp_path, use)


def test_a_suspect_refusal_is_told_to_nobody(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.primary.recovered_at = START - timedelta(minutes=5)
        scene.rig.accept()
        async with scene.rig.running(BOUNCE, reporter=scene.reporter):
            await until(lambda: scene.rig.events.named("deferred"), "a deferral")
        assert (scene.states(), scene.reports()) == ([PENDING], [])

    on_stage(tmp_path, use)


@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS,DELAY"])
def test_who_asked_not_to_be_told_is_not(tmp_path: Path, notify: str) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept(report_requests=(ReportRequest(notify),))
        await scene.give_up()
        assert (scene.states(), scene.reports(), scene.names.asked) == ([FAILED], [], [])
        assert scene.replies() == ["550 5.1.1 No such user (no report: the sender asked for none)"]

    on_stage(tmp_path, use)


def test_one_report_tells_of_all_who_were_refused_and_of_nobody_else(tmp_path: Path) -> None:
    replies = iter(["250 Ok", "450 4.2.2 Full", "550 5.1.1 No", "553 5.7.1 Never", "550 5.1.1 No"])

    async def use(scene: Scene) -> None:
        scene.rig.sink.replies["rcpt"] = lambda session, argument: next(replies)
        requests = (*(ReportRequest(),) * 4, ReportRequest("NEVER"))
        paths = [f"u{number}@example.test" for number in range(5)]
        queue_id = scene.rig.accept(b"Subject: x\r\n\r\n", *paths, report_requests=requests)
        async with scene.rig.running(BOUNCE, reporter=scene.reporter):
            await until(lambda: len(scene.reports()) == 1, "a report")
        assert scene.states() == [DELIVERED, PENDING, FAILED, FAILED, FAILED]
        assert scene.told() == [("rfc822; u2@example.test", "5.1.1"), ("rfc822; u3@example.test", "5.7.1")]
        assert scene.content(queue_id) == b"Subject: x\r\n\r\n", "one recipient still waits for it"
        assert scene.rig.leased() == []

    on_stage(tmp_path, use)


def test_a_signature_vouches_where_no_policy_does(tmp_path: Path) -> None:
    from tests.fakes.signer import Signer, name_of

    signer = Signer.made()

    async def use(scene: Scene) -> None:
        scene.rig.accept(signer.sign(b"From: a@client.test\r\nSubject: x\r\n\r\nbody\r\n", "client.test"))
        await scene.give_up()
        assert (scene.states(), len(scene.reports())) == ([FAILED], 1)
        assert "signed by client.test (DKIM)" in scene.replies()[0]

    on_stage(tmp_path, use, {(name_of("client.test"), "TXT"): signer.record()})


def test_a_report_to_a_sender_of_ours_goes_to_its_primary(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()
        await scene.give_up()
        assert scene.reports() == []
        assert len(scene.reports("second")) == 1

    on_stage(tmp_path, use, primaries={"example.test": "main", "client.test": "second"})


def test_mail_whose_content_is_damaged_is_held(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        queue_id = scene.rig.accept()

        def damage(connection: Connection) -> None:
            connection.execute(update(chunk).where(chunk.c.message_id == queue_id).values(octets=b"x"))

        scene.rig.queue.writer.submit(damage).result()
        await scene.give_up()
        assert (scene.states(), scene.reports()) == ([HELD], [])

    on_stage(tmp_path, use)


def test_of_many_refusals_at_once_those_that_would_wait_too_long_are_tried_again(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept_many(MOST_WAITING + 50)
        async with scene.rig.running(BOUNCE, reporter=scene.reporter):
            await until(lambda: scene.rig.events.named("deferred"), "a deferral")
            await until(lambda: scene.rig.leased() == [], "an end of all leases")
            scene.rig.clock.advance(minutes=2)
            await until(lambda: not scene.waiting(), "an end for everybody")
        # These have no client on record, so that nobody vouches for them.
        assert scene.states() == [HELD] * (MOST_WAITING + 50)

    on_stage(tmp_path, use)


class Slow:
    """A reporter that waits for a name server that never answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def give_up(
        self, message: Message, failures: Mapping[int, Failure], chunks: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        self.asked.append(message.id)
        await asyncio.Event().wait()


def test_a_stop_while_it_is_being_found_out_gives_the_mail_back(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        queue_id = scene.rig.accept(b"x\r\n", "one@example.test", "two@example.test")
        scene.rig.sink.replies["rcpt"] = lambda session, argument: None if "one@" in argument else "550 5.1.1 No"
        slow = Slow()
        async with scene.rig.running(BOUNCE, reporter=slow):  # type: ignore[arg-type]
            await until(lambda: slow.asked, "the question")
            await until(lambda: scene.states()[0] is DELIVERED, "the other recipient on record")
        assert (scene.states(), scene.rig.leased()) == ([DELIVERED, PENDING], [])
        assert scene.content(queue_id) == b"x\r\n"
        await scene.give_up()
        assert (scene.states(), len(scene.reports())) == ([DELIVERED, FAILED], 1)
        assert scene.rig.sink.message_count == 1, "who has it does not get it twice"

    on_stage(tmp_path, use, replies={})


def test_the_lease_is_kept_while_it_is_being_found_out_though_others_are_settled(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept(b"x\r\n", "one@example.test", "two@example.test")
        scene.rig.sink.replies["rcpt"] = lambda session, argument: None if "one@" in argument else "550 5.1.1 No"
        slow = Slow()
        settings = replace(BOUNCE, lease=timedelta(seconds=2))
        async with scene.rig.running(settings, reporter=slow):  # type: ignore[arg-type]
            await until(lambda: slow.asked and scene.states()[0] is DELIVERED, "the question, and the rest on record")
            for _ in range(3):
                scene.rig.clock.advance(seconds=1.5)
                now = scene.rig.clock()
                await until(
                    lambda now=now: scene.rig.leased()[0].lease_until > now + timedelta(seconds=1), "a new lease"
                )
        assert scene.rig.events.named("settlement_refused") == []

    on_stage(tmp_path, use, replies={})


def test_other_mail_flows_while_it_is_being_found_out(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.sink.replies["rcpt"] = lambda session, argument: "550 5.1.1 No" if "bad@" in argument else None
        scene.rig.accept(b"x\r\n", "bad@example.test")
        scene.rig.accept(b"y\r\n", "good@example.test")
        slow = Slow()
        async with scene.rig.running(BOUNCE, reporter=slow):  # type: ignore[arg-type]
            await until(lambda: scene.rig.sink.message_count == 1, "the other delivery")
            assert slow.asked

    on_stage(tmp_path, use, replies={})


class Broken:
    async def give_up(
        self, message: Message, failures: Mapping[int, Failure], chunks: Callable[[], AsyncIterator[bytes]]
    ) -> None:
        raise RuntimeError("nobody foresaw this")


def test_an_error_that_nobody_foresaw_defers_the_mail(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()
        async with scene.rig.running(BOUNCE, reporter=Broken()):  # type: ignore[arg-type]
            await until(lambda: scene.rig.events.named("deferred"), "a deferral")
        assert scene.states() == [PENDING]
        assert len(scene.rig.events.named("crashed")) == 1
        assert scene.rig.recipients()[0].not_before > scene.rig.clock()

    on_stage(tmp_path, use)


# The end of the lifetime ---------------------------------------------------------------------------------------------


def test_the_sender_of_what_expires_while_the_primary_is_down_is_told(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.primary.is_up = False
        scene.rig.accept()
        scene.rig.accept(b"x\r\n", reverse_path="")
        scene.rig.clock.advance(days=30, seconds=1)
        scene.rig.accept(b"young\r\n")
        async with scene.rig.running(BOUNCE, reporter=scene.reporter):
            await until(lambda: len(scene.waiting()) == 1, "an end for what is old")
        assert scene.states() == [EXPIRED, HELD, PENDING]
        assert scene.told() == [("rfc822; user@example.test", "4.4.7")]
        assert [each.attempts for each in scene.rig.recipients(EXPIRED)] == [0]
        assert "(no report: none goes to the null reverse-path)" in scene.replies()[1]

    on_stage(tmp_path, use)


def test_a_deferral_at_the_end_of_the_lifetime_is_reported_with_the_last_reply(tmp_path: Path) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()
        scene.rig.sink.replies["final"] = lambda *_: scene.rig.clock.advance(days=31) or "451 4.3.0 Later"
        await scene.give_up()
        assert (scene.states(), scene.told()) == ([EXPIRED], [("rfc822; user@example.test", "4.4.7")])
        assert b"Diagnostic-Code: smtp; 451 4.3.0 Later\r\n" in scene.content(scene.reports()[0].id)

    on_stage(tmp_path, use, replies={})


@pytest.mark.parametrize("what", ["ambiguous", "suspect"])
def test_nobody_is_told_of_a_failure_at_the_end_that_may_be_none(tmp_path: Path, what: str) -> None:
    async def use(scene: Scene) -> None:
        scene.rig.accept()

        def too_late(*_: object) -> object:
            scene.rig.clock.advance(days=31)
            scene.rig.primary.recovered_at = scene.rig.clock() if what == "suspect" else None
            return "550 5.1.1 No" if what == "suspect" else Act.KEEP_THEN_DROP

        scene.rig.sink.replies["final"] = too_late  # type: ignore[assignment]
        await scene.give_up()
        assert (scene.states(), scene.reports()) == ([HELD], [])
        assert "(no report: the primary " in scene.replies()[0]

    on_stage(tmp_path, use, replies={})
