"""`fallback-mx queue bounce`: senders are told only where their domain vouches for the mail; the rest is held."""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Awaitable, Callable
from os import getuid
from pathlib import Path

import pytest

from fallback_mx.bounces.desk import Desk, Returned
from fallback_mx.bounces.reporter import Reporter, ReporterSettings
from fallback_mx.bounces.vouching import Voucher
from fallback_mx.rules.bouncing import REPORTS
from mxqueue import BytesContent, Envelope, Filter, Message, Outcome, Queue, RecipientState, ReportRequest, Settlement
from mxqueue.model import utc_now
from tests.fakes.dns import NameServer, Records, resolver_for
from tests.fakes.operator import Operator

VOUCHED: Records = {("client.test.", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"']}
HELD, FAILED, PENDING = RecipientState.HELD, RecipientState.FAILED, RecipientState.PENDING


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path).create()


# The command, where no name server is asked --------------------------------------------------------------------------


def test_mail_from_the_null_sender_is_held_and_nobody_is_told(operator: Operator) -> None:
    queue_id = operator.accept(sender="")
    result = operator.run("queue", "bounce", queue_id, "--yes", "--reason", "the mailbox is gone")
    assert (result.exit_code, result.stdout) == (5, "0 messages bounced, with 0 reports to senders.\n")
    assert f"{queue_id} is held: the mailbox is gone; no report: none goes to the null reverse-path" in result.stderr
    assert operator.states(queue_id) == ["held"]
    assert operator.ids("--primary", REPORTS) == []
    (shown,) = operator.json("queue", "show", queue_id)
    last = shown["ledger"][-1]
    assert (last["event"], last["actor"]) == ("held", pwd.getpwuid(getuid()).pw_name)
    assert last["detail"] == "the mailbox is gone; no report: none goes to the null reverse-path"


def test_bounce_without_a_terminal_wants_yes(operator: Operator) -> None:
    queue_id = operator.accept(sender="")
    result = operator.run("queue", "bounce", queue_id, input="y\n")
    assert (result.exit_code, "say --yes" in result.stderr) == (2, True)
    assert operator.states(queue_id) == ["pending"]


def test_bounce_wants_to_be_told_what_is_meant(operator: Operator) -> None:
    operator.accept()
    assert operator.run("queue", "bounce", "--yes").exit_code == 2
    assert operator.run("queue", "bounce", "-", "--yes", input="").exit_code == 3


def test_a_dry_run_counts_and_does_nothing(operator: Operator) -> None:
    queue_id = operator.accept(sender="")
    before = operator.json("queue", "show", queue_id)
    result = operator.run("queue", "bounce", "--all", "--dry-run")
    assert result.stdout == "1 message would be bounced, as far as their senders' domains vouch for them.\n"
    assert operator.json("queue", "show", queue_id) == before


def test_what_is_over_cannot_be_bounced(operator: Operator) -> None:
    queue_id = operator.accept()
    operator.run("queue", "remove", queue_id, "--yes")
    assert operator.run("queue", "bounce", queue_id, "--yes").exit_code == 3
    assert operator.run("queue", "bounce", "--state", "removed", "--yes").exit_code == 3


def test_what_is_being_delivered_is_left_alone(operator: Operator) -> None:
    queue_id = operator.accept(sender="")
    queue = operator.open()
    queue.claim("main", "test").result()
    queue.close()
    result = operator.run("queue", "bounce", queue_id, "--yes")
    assert (result.exit_code, "being delivered just now" in result.stderr) == (5, True)


def test_only_the_recipients_that_match_are_meant(operator: Operator) -> None:
    queue_id = operator.accept("bob@example.org", "carol@example.org", sender="")
    operator.run("queue", "bounce", "--recipient", "bob@example.org", "--yes")
    assert operator.states(queue_id) == ["held", "pending"]


def test_who_asked_not_to_be_told_is_not_and_the_mail_is_given_up(operator: Operator) -> None:
    queue = operator.open()
    asked = Envelope("a@client.test", ("bob@example.org",), "main", report_requests=(ReportRequest("NEVER"),))
    (queue_id,) = queue.accept([asked], BytesContent(b"x\r\n")).result()
    queue.close()
    (line,) = operator.json("queue", "bounce", queue_id, "--yes")
    assert line == {"id": queue_id, "result": "bounced", "report": None}
    assert operator.states(queue_id) == ["failed"]


# The same desk, with a name server -----------------------------------------------------------------------------------


def at_the_desk(operator: Operator, use: Callable[[Queue, Desk], Awaitable[None]], records: Records = VOUCHED) -> None:
    async def run() -> None:
        queue = operator.open()
        try:
            async with resolver_for(NameServer(records)) as resolver:
                settings = ReporterSettings("mx2.test", {"example.org": "main"})
                reporter = Reporter(settings, Voucher(resolver), queue.new_id, utc_now)
                await use(queue, Desk(queue, reporter, "op@host", "the mailbox is gone"))
        finally:
            queue.close()

    asyncio.run(run())


def refused(queue: Queue, *paths: str) -> Message:
    """A message that the primary has refused, held; its sender is on record with its client."""
    envelope = Envelope("a@client.test", paths or ("bob@example.org",), "main", client_address="192.0.2.1")
    (queue_id,) = queue.accept([envelope], BytesContent(b"Subject: hello\r\n\r\nbody\r\n")).result()
    (claim,) = queue.claim("main", "test").result()
    outcome = Outcome(HELD, "550 5.1.1 No such user (no report: SPF of client.test says none)")
    queue.settle([Settlement(claim, {each.position: outcome for each in claim.message.recipients})]).result()
    message, _ = queue.show(queue_id).result()
    return message


def reports(queue: Queue) -> list[Message]:
    return queue.list(Filter(route=REPORTS)).result()


def states(queue: Queue, message: Message) -> list[RecipientState]:
    return [each.state for each in queue.show(message.id).result()[0].recipients]


def test_a_sender_that_is_vouched_for_gets_a_report_with_what_the_primary_said(operator: Operator) -> None:
    async def use(queue: Queue, desk: Desk) -> None:
        message = refused(queue)
        result = await desk.bounce(message, [0])
        (report,) = reports(queue)
        assert result == Returned(message.id, True, report.id)
        assert states(queue, message) == [FAILED]
        content = b"".join(queue.content(report.id).result().chunks())
        assert b"Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 No such user\r\n" in content
        assert b"SPF" not in content
        assert b"the mailbox is gone" not in content, "the reason is for the ledger alone"
        last = queue.show(message.id).result()[1][-1]
        assert (last.event, last.actor) == ("failed", "op@host")
        assert last.detail == (
            f"the mailbox is gone; report {report.id} goes to the sender: SPF of client.test passes 192.0.2.1"
        )

    at_the_desk(operator, use)


def test_a_sender_that_nobody_vouches_for_is_not_told_and_the_mail_stays_held(operator: Operator) -> None:
    async def use(queue: Queue, desk: Desk) -> None:
        message = refused(queue)
        result = await desk.bounce(message, [0])
        assert (result.was_done, result.report_id, states(queue, message)) == (True, "", [HELD])
        assert reports(queue) == []
        assert "no report: SPF of client.test says none" in result.reason

    at_the_desk(operator, use, {})


def test_one_report_tells_of_the_recipients_that_were_meant_alone(operator: Operator) -> None:
    async def use(queue: Queue, desk: Desk) -> None:
        message = refused(queue, "one@example.org", "two@example.org", "three@example.org")
        await desk.bounce(message, [0, 2])
        assert states(queue, message) == [FAILED, HELD, FAILED]
        content = b"".join(queue.content(reports(queue)[0].id).result().chunks())
        assert content.count(b"Action: failed\r\n") == 2
        assert b"two@example.org" not in content

    at_the_desk(operator, use)


def test_what_was_released_and_claimed_meanwhile_is_left_alone_and_nobody_is_told(operator: Operator) -> None:
    async def use(queue: Queue, desk: Desk) -> None:
        message = refused(queue)
        queue.release(Filter(), "other", "").result()
        queue.claim("main", "test").result()
        assert not (await desk.bounce(message, [0])).was_done
        assert (states(queue, message), reports(queue)) == ([PENDING], [])

    at_the_desk(operator, use)
