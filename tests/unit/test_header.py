"""The header of a message as it arrives: its end, its size, and the servers it names, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.header import Header

FIELDS = [
    "Received: a",
    "received : b",
    "RECEIVED:c",
    "X-Received: d",
    "Subject: Received: x",
    "S:",
    " Received: folded",
]
BODY = ["Received: in the body", "no field", "", "Subject: y", "x" * 300]


def fed(content: bytes, cuts: list[int] | None = None) -> Header:
    header, position, turn = Header(), 0, 0
    while position < len(content):
        size = cuts[turn % len(cuts)] if cuts else len(content)
        if not header.has_ended:
            header.feed(content[position : position + size])
        position, turn = position + size, turn + 1
    return header


@pytest.mark.parametrize(
    ("content", "hops"),
    [
        (b"", 0),
        (b"\r\nReceived: in the body\r\n", 0),
        (b"Received: a\r\nreceived : b\r\nRECEIVED:c\r\nSubject: Received: x\r\n\r\nReceived: body\r\n", 3),
        (b"Received: a\r\n Received: folded\r\n\r\n", 1),
        (b"X-Received: a\r\n\r\n", 0),
        (b"Received: a\r\nnot a field\r\nReceived: body\r\n", 1),
        (b"Received: a\r\nReceived: b\r\n", 2),
    ],
)
def test_only_received_lines_of_the_header_are_hops(content: bytes, hops: int) -> None:
    for size in range(1, len(content) + 1):
        assert fed(content, [size]).hops == hops


@pytest.mark.parametrize(
    ("content", "octets"),
    [
        (b"\r\nbody\r\n", 0),
        (b"a: b\r\n\r\nbody\r\n", 6),
        (b"a: b\r\n c\r\n\r\nbody\r\n", 10),
        (b"there is no header in this one\r\n" * 20, 0),
        (b"a: b\r\n" + b"x" * 500 + b"\r\n", 6),
    ],
)
def test_the_header_ends_at_the_empty_line_or_at_the_first_that_is_no_field(content: bytes, octets: int) -> None:
    for size in (1, 2, 3, 7, len(content)):
        header = fed(content, [size])
        assert (header.has_ended, header.octets) == (True, octets)


def test_an_endless_field_counts_as_it_comes_and_is_not_kept() -> None:
    header = Header()
    header.feed(b"Subject: ")
    for count in range(1, 1001):
        header.feed(b"x" * 1000)
        assert header.octets >= count * 1000
    assert len(header._open_line) <= 200
    assert not header.has_ended


@given(
    st.lists(st.sampled_from(FIELDS), max_size=8),
    st.lists(st.sampled_from(BODY), max_size=4),
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_the_pieces_it_comes_in_make_no_difference(fields: list[str], body: list[str], cuts: list[int]) -> None:
    content = "".join(f"{line}\r\n" for line in [*fields, "", *body]).encode()
    whole, pieces = fed(content), fed(content, cuts)
    assert (pieces.hops, pieces.octets, pieces.has_ended) == (whole.hops, whole.octets, whole.has_ended)


@given(st.binary(max_size=600), st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_no_octets_are_counted_differently_in_pieces(junk: bytes, cuts: list[int]) -> None:
    content = junk + b"\r\n\r\n"
    whole, pieces = fed(content), fed(content, cuts)
    assert (pieces.hops, pieces.octets) == (whole.hops, whole.octets)
