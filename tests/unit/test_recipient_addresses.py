"""Addresses as they are compared, and lists as text."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.recipients.addresses import NoAddress, parse
from fallback_mx.recipients.lines import Reading, entries, lines_of

OURS = frozenset({"example.org", "xn--mller-kva.example"})


def read(text: str | bytes) -> tuple[list[tuple[str, str]], Reading]:
    reading = Reading()
    octets = text.encode() if isinstance(text, str) else text
    return list(entries(lines_of(io.BytesIO(octets)), OURS, reading)), reading


# --- addresses -------------------------------------------------------------------------------------------------------


def test_a_domain_folds_to_a_labels_and_a_local_part_stays_as_it_was_written() -> None:
    address = parse("Bob.Smith@MÜLLER.Example.")
    assert (address.local, address.domain) == ("Bob.Smith", "xn--mller-kva.example")


def test_lists_compare_local_parts_without_case_and_in_one_normal_form() -> None:
    assert parse("BOB@example.org").listed == parse("bob@example.org").listed
    assert parse("Ju\u0308rgen@example.org").listed == parse("jürgen@example.org").listed


def test_quotes_that_mean_nothing_are_dropped() -> None:
    assert parse('"bob"@example.org') == parse("bob@example.org")
    assert parse('"bob smith"@example.org').local == '"bob smith"'


def test_a_subaddress_is_also_looked_up_without_its_detail() -> None:
    assert parse("Bob+News+x@example.org").listed_forms == ("bob+news+x", "bob")
    assert parse("+x@example.org").listed_forms == ("+x",)


@pytest.mark.parametrize("text", ["postmaster@example.org", "PostMaster@example.net"])
def test_postmaster_is_postmaster_in_any_case(text: str) -> None:
    assert parse(text).is_postmaster


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@example.org",
        "bob@",
        "bob smith@example.org",
        "bob\x00@example.org",
        "bob@exa mple.org",
        "bob@[192.0.2.1]",
        "a@b@example.org",
        "<bob@example.org>",
        ".bob@example.org",
        "bob..x@example.org",
        "bob\r\nRCPT@example.org",
        f"{'a' * 243}@example.org",
    ],
)
def test_what_is_no_address_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(NoAddress):
        parse(text)


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_is_one_address_a_line_with_comments_and_empty_lines() -> None:
    found, reading = read("# people\nbob@example.org\r\n\n  Alice@Example.Org   # the boss\n")
    assert found == [("example.org", "bob"), ("example.org", "alice")]
    assert (reading.bad_count, reading.foreign_count) == (0, 0)


def test_a_postfix_map_is_read_by_its_keys_and_its_continued_values_are_passed_over() -> None:
    found, reading = read("info@example.org\talice@example.org,\n   carol@example.org\nbob@example.org OK\n")
    assert found == [("example.org", "info"), ("example.org", "bob")]
    assert reading.bad_count == 0


def test_an_at_sign_and_a_domain_stand_for_the_whole_domain() -> None:
    assert read("@Müller.Example x\n")[0] == [("xn--mller-kva.example", "")]


def test_addresses_of_other_domains_are_passed_over_and_counted() -> None:
    found, reading = read("bob@example.org\nbob@example.net\n@example.com\n")
    assert (found, reading.foreign_count, reading.bad_count) == ([("example.org", "bob")], 2, 0)


def test_each_bad_line_is_named_with_its_number_and_reason_and_the_others_stand() -> None:
    found, reading = read(b"bob@example.org\nbob\n\xff@example.org\nal ice@example.org\ncarol@example.org\n")
    assert found == [("example.org", "bob"), ("example.org", "carol")]
    assert [str(each) for each in reading.bad] == [
        "line 2: 'bob': there is no @ in it",
        "line 3: '\\\\xff@example.org': it is not UTF-8 text",
        "line 4: 'al ice@example.org': there is no @ in it",
    ]


def test_of_many_bad_lines_the_first_are_named_and_all_are_counted() -> None:
    _, reading = read("x\n" * 1000)
    assert (len(reading.bad), reading.bad_count) == (20, 1000)


def test_a_byte_order_mark_and_a_last_line_without_an_end_do_no_harm() -> None:
    assert read(b"\xef\xbb\xbfbob@example.org\nalice@example.org")[0] == [
        ("example.org", "bob"),
        ("example.org", "alice"),
    ]


def test_a_line_without_end_is_one_line_and_what_follows_is_read() -> None:
    found, reading = read("x" * 100_000 + "\nbob@example.org " + "y@example.org," * 10_000 + "\nal@example.org\n")
    assert found == [("example.org", "bob"), ("example.org", "al")]
    assert reading.bad_count == 1


@given(st.binary(max_size=400))
def test_no_octets_break_the_reading_of_a_list(octets: bytes) -> None:
    found, _ = read(octets)
    assert all(domain in OURS for domain, _ in found)


@given(st.lists(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), unique=True, max_size=30))
def test_what_is_written_as_a_list_is_read_back(names: list[str]) -> None:
    assert read("".join(f"{name}@example.org\n" for name in names))[0] == [("example.org", name) for name in names]
