"""The demo's mail and its judge: a judge that cannot say no would make the demo worthless."""

from __future__ import annotations

import pytest

from fallback_mx.demo.check import Arrival, faults
from fallback_mx.demo.mail import DemoMessage, letters
from fallback_mx.rules import trace
from mxqueue.model import utc_now

SENT = DemoMessage(7, "a@sender.test", ("u@example.test", "v@example.test"), b"Subject: x\r\n\r\nbody\r\n")
TRACE = trace.received(
    helo="h", client_address="192.0.2.1", hostname="mx2.test", protocol="ESMTP", queue_id="01", at=utc_now()
)
ARRIVED = Arrival("a@sender.test", ("v@example.test", "u@example.test"), TRACE + SENT.content)
REPLIES = {7: "250 2.0.0 Queued as 01"}


def test_the_letters_are_200_different_ones_from_1_kb_to_5_mb_with_sound_line_ends() -> None:
    mail = list(letters())
    assert len({each.content for each in mail}) == 200
    assert min(len(each.content) for each in mail) == 1_000
    assert max(len(each.content) for each in mail) == 5_000_000
    for each in mail:
        bare = each.content.replace(b"\r\n", b"")
        assert each.content.endswith(b"\r\n")
        assert b"\r" not in bare
        assert b"\n" not in bare
        assert max(map(len, each.content.split(b"\r\n"))) <= 998


def test_the_letters_have_8_bit_octets_dots_and_several_recipients() -> None:
    mail = list(letters())
    assert any(b"\r\n.\r\n" in each.content for each in mail)
    assert any(max(each.content) > 127 for each in mail)
    assert {len(each.forward_paths) for each in mail} == {1, 2, 3, 5}
    assert any(each.reverse_path == "" for each in mail)


def test_a_story_that_went_well_has_no_faults() -> None:
    assert faults([SENT], REPLIES, [ARRIVED]) == []


@pytest.mark.parametrize(
    ("replies", "arrivals", "fault"),
    [
        (REPLIES, [], "arrived 0 times"),
        (REPLIES, [ARRIVED, ARRIVED], "arrived 2 times"),
        ({7: "451 4.3.0 later"}, [ARRIVED], "was answered 451"),
        ({}, [ARRIVED], "not at all"),
        (REPLIES, [Arrival("b@sender.test", SENT.forward_paths, TRACE + SENT.content)], "arrived from"),
        (REPLIES, [Arrival("a@sender.test", ("u@example.test",), TRACE + SENT.content)], "arrived for"),
        (REPLIES, [Arrival("a@sender.test", SENT.forward_paths, TRACE + SENT.content[:-3] + b"Y\r\n")], "never sent"),
        (REPLIES, [Arrival("a@sender.test", SENT.forward_paths, TRACE + TRACE + SENT.content)], "never sent"),
        (REPLIES, [ARRIVED, Arrival("", ("u@example.test",), b"stranger\r\n")], "never sent"),
    ],
)
def test_every_way_to_fail_is_noticed(replies: dict[int, str], arrivals: list[Arrival], fault: str) -> None:
    assert any(fault in sentence for sentence in faults([SENT], replies, arrivals))
