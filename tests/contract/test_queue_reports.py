"""What senders ask to be told (RFC 3461): kept with the mail, and there again for whoever delivers it."""

from __future__ import annotations

import pytest

from mxqueue import BytesContent, Queue, QueueError, ReportRequest
from tests.fakes.mail import LETTER, accept, claim_one, envelope, message

NEVER = ReportRequest("NEVER")
ALWAYS = ReportRequest("SUCCESS,FAILURE,DELAY", "rfc822;first+2Bone@example.test")


def test_what_was_asked_of_the_message_comes_back_with_it(queue: Queue) -> None:
    found = message(queue, accept(queue, ret="HDRS", envid="QQ+2B314159"))

    assert (found.ret, found.envid) == ("HDRS", "QQ+2B314159")


def test_what_was_asked_for_a_recipient_comes_back_with_that_one(queue: Queue) -> None:
    paths = ("one@example.test", "two@example.test", "three@example.test")
    accept(queue, *paths, report_requests=(ALWAYS, ReportRequest(), NEVER))

    found = claim_one(queue).message.recipients

    assert [(each.forward_path, each.notify, each.orcpt) for each in found] == [
        ("one@example.test", ALWAYS.notify, ALWAYS.orcpt),
        ("two@example.test", "", ""),
        ("three@example.test", "NEVER", ""),
    ]


def test_an_original_recipient_in_unicode_comes_back_as_it_was(queue: Queue) -> None:
    accept(queue, report_requests=(ReportRequest(orcpt="utf-8;grüße@example.test"),))

    assert claim_one(queue).message.recipients[0].orcpt == "utf-8;grüße@example.test"


def test_where_nothing_was_asked_nothing_comes_back(queue: Queue) -> None:
    found = message(queue, accept(queue, "one@example.test", "two@example.test"))

    assert (found.ret, found.envid) == ("", "")
    assert {(each.notify, each.orcpt) for each in found.recipients} == {("", "")}


def test_envelopes_of_one_transaction_keep_their_requests_apart(queue: Queue) -> None:
    asked = envelope(route="one", report_requests=(NEVER,), envid="x")
    ids = queue.accept([asked, envelope(route="two")], BytesContent(LETTER)).result()

    found = [message(queue, each) for each in ids]
    assert [(each.envid, each.recipients[0].notify) for each in found] == [("x", "NEVER"), ("", "")]


@pytest.mark.parametrize("requests", [(NEVER,), (NEVER, NEVER, NEVER)])
def test_requests_that_cannot_be_told_apart_are_refused(queue: Queue, requests: tuple[ReportRequest, ...]) -> None:
    with pytest.raises(QueueError, match="request for reports"):
        accept(queue, "one@example.test", "two@example.test", report_requests=requests)

    assert queue.list().result() == []
