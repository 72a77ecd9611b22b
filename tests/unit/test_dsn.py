"""A report of mail that could not be delivered: what it says, in which form, and that nothing in it can be forged."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.dsn import Failure, Rendered, Report, Why, is_wanted, render
from fallback_mx.rules.returned import FULL_OCTETS, HEADER_OCTETS, Returned

ARRIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = datetime(2026, 3, 3, 8, 30, 0, 123456, tzinfo=UTC)
LETTER = b"From: <a@sender.test>\r\nSubject: hello\r\n\r\nOne line.\r\n"
NOBODY = Failure("bob@example.org", Why.REFUSED, "550 5.1.1 <bob@example.org>: no such user", "mail.example.org")


def report(*failures: Failure, content: bytes = LETTER, is_whole: bool = True, **fields: Any) -> Report:
    made: dict[str, Any] = {
        "id": "01K4QZ6YB3T9V5XW2N8M7RCD1E",
        "at": AT,
        "hostname": "mx2.example.org",
        "reverse_path": "a@sender.test",
        "arrived_at": ARRIVED,
        "failures": failures or (NOBODY,),
        "returned": Returned(content, is_whole),
    }
    return Report(**(made | fields))


def parsed(rendered: Rendered) -> Message:
    """As the standard library reads it; any defect that it finds is one of ours."""
    message = email.message_from_bytes(rendered.content, policy=email.policy.compat32)
    assert [part.defects for part in message.walk() if part.defects] == []
    return message


def parts(*failures: Failure, **fields: Any) -> list[Message]:
    message = parsed(render(report(*failures, **fields)))
    found = message.get_payload()
    assert isinstance(found, list)
    return found


def groups(*failures: Failure, **fields: Any) -> list[dict[str, str]]:
    """The fields for programs: those of the message, then those of each recipient."""
    body = parts(*failures, **fields)[1].get_payload()
    assert isinstance(body, list)
    return [{name: " ".join(value.split()) for name, value in group.items()} for group in body]


def wide_groups(rendered: Rendered) -> list[dict[str, str]]:
    """The same of a report by RFC 6533, which the standard library does not know."""
    text = rendered.content.decode().partition("message/global-delivery-status")[2].partition("\r\n\r\n")[2]
    text = text.partition("\r\n--report-")[0].replace("\r\n ", " ")
    return [
        dict(line.split(": ", 1) for line in group.split("\r\n") if line)
        for group in text.removesuffix("\r\n").split("\r\n\r\n")
    ]


# --- the form ----------------------------------------------------------------------------------------------------


def test_it_is_a_multipart_report_of_three_parts():
    message = parsed(render(report()))
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert [part.get_content_type() for part in message.get_payload()] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]


def test_its_header_says_from_whom_it_is_to_whom_and_that_no_person_wrote_it():
    message = parsed(render(report()))
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mx2.example.org>"
    assert message["To"] == "<a@sender.test>"
    assert message["Date"] == "Tue, 03 Mar 2026 08:30:00 +0000"
    assert message["Message-ID"] == "<01K4QZ6YB3T9V5XW2N8M7RCD1E@mx2.example.org>"
    assert message["Auto-Submitted"] == "auto-replied"


def test_the_text_for_people_says_who_did_not_get_it_and_who_said_so():
    text = parts()[0].get_payload()
    assert "\r\n  bob@example.org\r\n" in text
    told = "It was refused; mail.example.org said: 550 5.1.1 <bob@example.org>: no such user"
    assert told in " ".join(text.split())


def test_the_fields_for_programs():
    orcpt = Failure(NOBODY.forward_path, Why.REFUSED, NOBODY.said, NOBODY.remote, "rfc822;first+2Btag@example.org")
    assert groups(orcpt, envid="QQ+2B314+3D1") == [
        {
            "Original-Envelope-Id": "QQ+314=1",
            "Reporting-MTA": "dns; mx2.example.org",
            "Arrival-Date": "Sun, 01 Mar 2026 12:00:00 +0000",
        },
        {
            "Original-Recipient": "rfc822; first+tag@example.org",
            "Final-Recipient": "rfc822; bob@example.org",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mail.example.org",
            "Diagnostic-Code": "smtp; 550 5.1.1 <bob@example.org>: no such user",
        },
    ]


def test_what_is_not_known_is_left_out():
    of_message, of_recipient = groups(Failure("bob@example.org", Why.EXPIRED))
    assert list(of_message) == ["Reporting-MTA", "Arrival-Date"]
    assert list(of_recipient) == ["Final-Recipient", "Action", "Status"]


def test_each_recipient_has_a_group_of_its_own():
    other = Failure("carol@example.org", Why.EXPIRED, "lifetime over: 451 4.7.1 later")
    assert [group.get("Final-Recipient") for group in groups(NOBODY, other)] == [
        None,
        "rfc822; bob@example.org",
        "rfc822; carol@example.org",
    ]


@pytest.mark.parametrize(
    ("why", "said", "status", "diagnostic"),
    [
        (Why.REFUSED, "550 5.1.1 no such user", "5.1.1", "smtp; 550 5.1.1 no such user"),
        (Why.REFUSED, "550 no such user", "5.0.0", "smtp; 550 no such user"),
        (Why.REFUSED, "554", "5.0.0", "smtp; 554"),
        (Why.REFUSED, "550 4.1.1 confused", "5.0.0", "smtp; 550 4.1.1 confused"),
        (Why.EXPIRED, "lifetime over: 451 4.7.1 later", "4.4.7", "smtp; 451 4.7.1 later"),
        (Why.EXPIRED, "not delivered within 30 days", "4.4.7", None),
        (Why.RETURNED, "550 5.7.1 spam", "5.7.1", "smtp; 550 5.7.1 spam"),
        (Why.RETURNED, "450 4.2.2 full", "5.0.0", "smtp; 450 4.2.2 full"),
        (Why.RETURNED, "timeout", "5.0.0", None),
        (Why.RETURNED, "550 5.7.1 no (no report: nobody vouches (SPF): x)", "5.7.1", "smtp; 550 5.7.1 no"),
        (Why.RETURNED, "not delivered within 30 days (no report: 550 x)", "5.0.0", None),
        (Why.RETURNED, "", "5.0.0", None),
    ],
)
def test_the_status_is_the_replys_own_where_it_has_one(why: Why, said: str, status: str, diagnostic: str | None):
    found = groups(Failure("bob@example.org", why, said))[1]
    assert (found["Status"], found.get("Diagnostic-Code")) == (status, diagnostic)


@pytest.mark.parametrize(
    ("remote", "shown"),
    [("192.0.2.1", "dns; [192.0.2.1]"), ("2001:db8::1", "dns; [IPv6:2001:db8::1]"), ("mail.test", "dns; mail.test")],
)
def test_a_host_known_by_its_address_stands_in_brackets(remote: str, shown: str):
    assert groups(Failure("bob@example.org", Why.REFUSED, "550 no", remote))[1]["Remote-MTA"] == shown


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [("", True), ("NEVER", False), ("FAILURE", True), ("SUCCESS,FAILURE", True), ("SUCCESS,DELAY", False)],
)
def test_who_wants_to_hear_of_a_failure(notify: str, wanted: bool):
    assert is_wanted(notify) is wanted


# --- what is returned ------------------------------------------------------------------------------------------------


def test_a_small_message_is_returned_whole_octet_by_octet():
    assert LETTER in render(report()).content
    (returned,) = parts()[2].get_payload()
    assert (returned["Subject"], returned.get_payload()) == ("hello", "One line.\r\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"ret": "HDRS"},
        {"content": LETTER + b"x" * 70 + b"\r\n" * FULL_OCTETS},
        {"content": LETTER[:-3], "is_whole": False},
        {"content": LETTER + b"x" * 999 + b"\r\n"},
    ],
    ids=["RET=HDRS", "large", "only its beginning is there", "a line that is too long"],
)
def test_otherwise_its_header_alone(fields: dict[str, Any]):
    returned = parts(**fields)[2]
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_payload() == "From: <a@sender.test>\r\nSubject: hello\r\n"


def test_a_large_header_is_cut_at_a_line():
    content = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 60) for number in range(2000)) + b"\r\nbody\r\n"
    returned = parts(content=content)[2].get_payload()
    assert len(returned) <= HEADER_OCTETS
    assert content.startswith(returned.encode())
    assert returned.endswith("y\r\n")


def test_eight_bit_content_is_returned_as_it_is_and_the_report_says_so():
    content = LETTER + b"gr\xc3\xbc\xc3\x9fe \xff\r\n"
    rendered = render(report(content=content))
    assert (rendered.body, rendered.smtputf8) == ("8BITMIME", False)
    assert content in rendered.content
    message = parsed(rendered)
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert [part["Content-Transfer-Encoding"] for part in message.get_payload()] == ["7bit", "7bit", "8bit"]


@pytest.mark.parametrize(("octets", "charset"), [("ü".encode(), "utf-8"), (b"\xfc", "iso-8859-1")])
def test_a_header_beyond_ascii_travels_encoded_without_its_body(octets: bytes, charset: str):
    rendered = render(report(content=b"Subject: gr" + octets + b"n\r\nX: =y\r\n\r\nbody\r\n"))
    assert rendered.body == "7BIT"
    returned = parsed(rendered).get_payload()[2]
    assert (returned.get_content_type(), returned.get_content_charset()) == ("text/rfc822-headers", charset)
    assert returned.get_payload(decode=True) == b"Subject: gr" + octets + b"n\r\nX: =y\r\n"


def test_a_boundary_that_stands_in_the_message_is_not_used():
    content = LETTER + render(report()).content
    message = parsed(render(report(content=content)))
    assert len(message.get_payload()) == 3


# --- RFC 6533 ----------------------------------------------------------------------------------------------------

WIDE = Failure("grüße@example.org", Why.REFUSED, "550 5.1.1 nicht gefunden: grüße", "mail.example.org")


def test_with_an_address_beyond_ascii_the_parts_are_those_of_rfc_6533():
    rendered = render(report(WIDE, content="Subject: grün\r\n\r\nüber\r\n".encode()))
    assert (rendered.body, rendered.smtputf8) == ("8BITMIME", True)
    kinds = [part.get_content_type() for part in parsed(rendered).get_payload()]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global"]
    assert wide_groups(rendered)[1]["Final-Recipient"] == "utf-8; grüße@example.org"
    assert wide_groups(rendered)[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 nicht gefunden: grüße"


def test_a_reverse_path_beyond_ascii_makes_it_one_too():
    rendered = render(report(reverse_path="jürgen@sender.test", ret="HDRS"))
    assert rendered.smtputf8
    assert "To: <jürgen@sender.test>".encode() in rendered.content
    kinds = [part.get_content_type() for part in parsed(rendered).get_payload()]
    assert kinds == ["text/plain", "message/global-delivery-status", "message/global-headers"]


@pytest.mark.parametrize(
    ("orcpt", "shown"),
    [
        ("utf-8;grüße@example.org", "utf-8; grüße@example.org"),
        ("utf-8;gr\\x{FC}\\x{DF}e@example.org", "utf-8; grüße@example.org"),
        ("rfc822;gr+C3+BC+C3+9Fe@example.org", "utf-8; grüße@example.org"),
        ("rfc822;first+2Btag@example.org", "rfc822; first+tag@example.org"),
    ],
)
def test_an_original_recipient_is_in_unicode_there(orcpt: str, shown: str):
    rendered = render(report(Failure("grüße@example.org", Why.REFUSED, "550 no", orcpt=orcpt)))
    assert wide_groups(rendered)[1]["Original-Recipient"] == shown


@pytest.mark.parametrize(
    ("orcpt", "shown"),
    [
        ("utf-8;grüße@example.org", "utf-8; gr\\x{FC}\\x{DF}e@example.org"),
        ("utf-8;gr\\x{FC}\\x{DF}e@example.org", "utf-8; gr\\x{FC}\\x{DF}e@example.org"),
        ("rfc822;gr+C3+BC+C3+9Fe@example.org", "utf-8; gr\\x{FC}\\x{DF}e@example.org"),
    ],
)
def test_an_original_recipient_beyond_ascii_is_escaped_in_a_report_in_ascii(orcpt: str, shown: str):
    failure = Failure("bob@example.org", Why.REFUSED, "550 no", orcpt=orcpt)
    assert groups(failure)[1]["Original-Recipient"] == shown


# --- strangers ----------------------------------------------------------------------------------------------------

# Lengths that no sender and no server is kept from; addresses and names of hosts are bounded where they come in.
texts = st.one_of(st.text(max_size=200), st.integers(1, 900).map(lambda length: "\U0001f600" * length))
names = st.text(max_size=100)
addresses = st.builds("{}@example.org".format, st.text(min_size=1, max_size=40))
failures = st.builds(
    Failure,
    addresses,
    st.sampled_from(Why),
    st.one_of(texts, texts.map("550 5.1.1 {}".format)),
    names,
    st.one_of(st.just(""), texts.map("rfc822;{}".format), texts.map("utf-8;{}".format)),
)
contents = st.one_of(st.binary(max_size=500), st.binary(max_size=500).map(lambda body: LETTER + body))


@given(
    st.lists(failures, min_size=1, max_size=3),
    contents,
    st.booleans(),
    addresses,
    st.sampled_from(["", "FULL", "HDRS"]),
    names,
)
def test_whatever_strangers_say_a_report_is_well_formed(
    told: list[Failure], content: bytes, is_whole: bool, reverse_path: str, ret: str, envid: str
):
    given_report = report(*told, content=content, is_whole=is_whole, reverse_path=reverse_path, ret=ret, envid=envid)
    rendered = render(given_report)

    assert rendered.content.endswith(b"--\r\n")
    assert rendered.content.count(b"\n") == rendered.content.count(b"\r\n") == rendered.content.count(b"\r")
    assert b"\0" not in rendered.content
    assert max(len(line) for line in rendered.content.split(b"\r\n")) <= 998
    assert (rendered.body == "7BIT") == rendered.content.isascii()
    message = email.message_from_bytes(rendered.content)
    assert [name for name, _ in message.items()][:8] == [
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
    ]
    found = message.get_payload()
    assert isinstance(found, list)
    assert len(found) == 3


@given(st.lists(failures, min_size=1, max_size=3))
def test_no_value_begins_a_field_of_its_own(told: list[Failure]):
    rendered = render(report(*told))
    read = wide_groups(rendered) if rendered.smtputf8 else groups(*told)
    known = {"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"}
    assert len(read) == 1 + len(told)
    assert {name for group in read[1:] for name in group} <= known
    assert [group["Action"] for group in read[1:]] == ["failed"] * len(told)


@given(st.binary(max_size=300))
def test_a_header_comes_back_whole_however_it_travels(octets: bytes):
    header = b"X-Any: " + octets.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"") + b"\r\n"
    returned = parts(content=header + b"\r\nbody\r\n", ret="HDRS")[2]
    payload = returned.get_payload(decode=True)
    assert payload == header
