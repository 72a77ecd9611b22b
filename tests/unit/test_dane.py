"""Which TLSA records mail can go by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.dane import Record

OCTETS = {0: b"anything", 1: b"x" * 32, 2: b"x" * 64}


@pytest.mark.parametrize("usage", range(5))
@pytest.mark.parametrize("selector", range(3))
@pytest.mark.parametrize("matching", range(4))
def test_only_usages_2_and_3_of_known_selectors_and_matchings_can_be_used(
    usage: int, selector: int, matching: int
) -> None:
    """RFC 7672, section 3.1."""
    record = Record(usage, selector, matching, OCTETS.get(matching, b"x" * 32))
    assert record.is_usable is (usage in (2, 3) and selector in (0, 1) and matching in (0, 1, 2))


@given(st.sampled_from([0, 1]), st.sampled_from([1, 2]), st.binary(max_size=70))
def test_a_digest_of_another_length_cannot_be_used(selector: int, matching: int, data: bytes) -> None:
    assert Record(3, selector, matching, data).is_usable is (len(data) == {1: 32, 2: 64}[matching])


def test_a_record_that_holds_nothing_cannot_be_used() -> None:
    assert not Record(3, 0, 0, b"").is_usable
