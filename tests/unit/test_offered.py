"""What is read from a server's answer to EHLO."""

from __future__ import annotations

import pytest

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.offered import Offered, named_in, read


def offered(*lines: str) -> Offered:
    return read(Reply(250, " ".join(lines), lines))


def test_the_name_stands_first_and_keywords_are_compared_in_lower_case() -> None:
    found = offered("Mail.Example.ORG. at your service", "PIPELINING", "Size 1000", "AUTH PLAIN login")
    assert found.name == "mail.example.org"
    assert found.extensions == {"pipelining", "size", "auth"}


def test_an_answer_of_one_line_offers_nothing() -> None:
    assert read(Reply(250, "mail.test PIPELINING")) == Offered("mail.test", {})


@pytest.mark.parametrize(
    ("said", "limit"), [("SIZE 5", 5), ("SIZE", None), ("SIZE 0", None), ("SIZE ٣", None), ("HELP", None)]
)
def test_the_largest_message_is_a_number_or_unknown(said: str, limit: int | None) -> None:
    assert offered("mail.test", said).size_limit == limit


def test_ways_to_log_in_are_read_behind_a_blank_and_behind_an_equals_sign() -> None:
    assert offered("mail.test", "AUTH PLAIN", "AUTH=LOGIN").mechanisms == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize(
    ("text", "name"), [("mx.test ESMTP", "mx.test"), ("MX.test.", "mx.test"), ("", ""), (" hello", "")]
)
def test_a_greeting_begins_with_a_name(text: str, name: str) -> None:
    assert named_in(text) == name
