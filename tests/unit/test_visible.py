"""Text from strangers: made visible, and without persons."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.visible import impersonal, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bob@example.org", "bob@example.org"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202egro.elpmaxe", "\\u202egro.elpmaxe"),
        ("\udc80", "\\udc80"),
    ],
)
def test_what_could_act_is_escaped_and_the_rest_is_kept(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_whatever_comes_in_what_comes_out_is_printable(text: str) -> None:
    assert visible(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 <bob@example.org>: no", "550 <…@example.org>: no"),
        ("from:a.b+c@example.org,d@example.net", "from:…@example.org,…@example.net"),
        ('"john doe"@example.org', "…@example.org"),
        ("no address here", "no address here"),
        ("@example.org", "@example.org"),
        ("x" * 5000 + "@example.org", "…@example.org"),
    ],
)
def test_local_parts_are_left_out_and_domains_stay(text: str, shown: str) -> None:
    assert impersonal(text) == shown
