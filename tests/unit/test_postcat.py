"""What `postcat` prints of a queue file of Postfix, read: envelope, content, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rescue import postcat
from fallback_mx.rescue.found import CannotImport, Found
from mxqueue import Spool

NAME = b"deferred/B/BDFB72420BE"
ENVELOPE = b"""\
message_size:            5392             798               2              24            5392               2
message_arrival_time: Tue Nov 24 22:41:13 2026
create_time: Tue Nov 24 22:41:13 2026
named_attribute: log_ident=BDFB72420BE
named_attribute: rewrite_context=local
named_attribute: envelope_id=QQ+1=4
named_attribute: ret_flags=2
sender: a@sender.test
named_attribute: encoding=8bit
named_attribute: log_client_address=127.0.0.1
named_attribute: client_name=unknown
named_attribute: client_address=192.0.2.9
named_attribute: helo_name=client.test
named_attribute: notify_flags=12
named_attribute: dsn_orig_rcpt=rfc822;first+tag@example.org
original_recipient: bob@example.org
recipient: bob@example.org
named_attribute: dsn_orig_rcpt=rfc822;carol@example.org
original_recipient: carol@example.org
recipient: carol@example.org
"""


def printed(content: bytes = b"Subject: x\n\nbody\n", envelope: bytes = ENVELOPE, extracted: bytes = b"") -> bytes:
    """The whole output for one message."""
    return (
        b"*** ENVELOPE RECORDS " + NAME + b" ***\n" + envelope
        + b"*** MESSAGE CONTENTS " + NAME + b" ***\n" + content
        + b"*** HEADER EXTRACTED " + NAME + b" ***\n" + extracted
        + b"*** MESSAGE FILE END " + NAME + b" ***\n"
    )  # fmt: skip


def read(output: bytes) -> Found:
    return postcat.read(Path("BDFB72420BE"), output, Spool)


def content_of(found: Found) -> bytes:
    return b"".join(found.spool.chunks())


def test_the_envelope_is_read_record_by_record():
    found = read(printed())
    assert (found.reverse_path, found.client_address, found.helo) == ("a@sender.test", "192.0.2.9", "client.test")
    assert (found.ret, found.envid, found.body, found.smtputf8) == ("HDRS", "QQ+2B1+3D4", "8BITMIME", False)
    assert [(each.address, each.asked) for each in found.addressees] == [
        ("bob@example.org", ("FAILURE,DELAY", "rfc822;first+2Btag@example.org")),
        ("carol@example.org", ("", "rfc822;carol@example.org")),
    ]
    assert found.origin.name == "BDFB72420BE of Postfix, arrived Tue Nov 24 22:41:13 2026"
    assert len(found.origin.key) == 26


def test_lines_get_back_the_ends_with_which_they_came():
    assert content_of(read(printed(b"Subject: x\n\n.dot\n\n"))) == b"Subject: x\r\n\r\n.dot\r\n\r\n"


def test_a_message_without_content_has_none():
    assert content_of(read(printed(b""))) == b""


def test_the_null_sender_is_null():
    assert read(printed(envelope=ENVELOPE.replace(b"sender: a@sender.test", b"sender: "))).reverse_path == ""


def test_marks_within_the_content_are_content():
    forged = b"".join(
        b"*** " + mark + b" " + NAME + b" ***\nrecipient: eve@example.org\n"
        for mark in (b"MESSAGE CONTENTS", b"HEADER EXTRACTED", b"MESSAGE FILE END")
    )
    found = read(printed(b"Subject: x\n\n" + forged))
    assert content_of(found) == b"Subject: x\r\n\r\n" + forged.replace(b"\n", b"\r\n")
    assert [each.address for each in found.addressees] == ["bob@example.org", "carol@example.org"]


def test_recipients_that_were_taken_from_the_header_count_too():
    found = read(printed(extracted=b"recipient: dave@example.org\n"))
    assert [each.address for each in found.addressees][-1] == "dave@example.org"


def test_who_has_got_the_message_already_is_left_out():
    envelope = ENVELOPE.replace(b"\nrecipient: bob@", b"\ndone_recipient: bob@")
    found = read(printed(envelope=envelope))
    assert [(each.address, each.asked.notify) for each in found.addressees] == [("carol@example.org", "")]


def test_what_dash_v_prints_is_read_as_well():
    verbose = b"regular_text: Subject: x\nregular_text: \nunterminated_text: 123\npointer_record: 0\nregular_text: 45\n"
    assert content_of(read(printed(verbose))) == b"Subject: x\r\n\r\n12345\r\n"


def test_smtputf8_is_known_by_its_flag():
    envelope = ENVELOPE.replace(b"5392               2\n", b"5392               3\n")
    assert read(printed(envelope=envelope)).smtputf8


def test_the_same_message_has_the_same_key_and_another_server_s_of_that_id_another():
    other = ENVELOPE.replace(b"22:41:13", b"22:41:14")
    assert read(printed()).origin.key == read(printed(b"changed\n")).origin.key
    assert read(printed()).origin.key != read(printed(envelope=other)).origin.key


REFUSED = {
    "cut off": printed()[:-30],
    "cut off in the content": printed().partition(b"body")[0],
    "offsets": b"\n".join(b"%9d %s" % (number, line) for number, line in enumerate(printed().split(b"\n"))),
    "the envelope alone": b"*** ENVELOPE RECORDS " + NAME + b" ***\n" + ENVELOPE,
    "nobody waits": printed(envelope=ENVELOPE.replace(b"\nrecipient: ", b"\ndone_recipient: ")),
    "no sender": printed(envelope=ENVELOPE.replace(b"sender: ", b"sendre: ")),
    "a sender that is no address": printed(envelope=ENVELOPE.replace(b"a@sender.test", b"a@b c>")),
    "a recipient that is no address": printed(envelope=ENVELOPE.replace(b"bob@example.org", b"bob example")),
    "a bare CR": printed(b"a\rb\n"),
    "a NUL": printed(b"a\0b\n"),
    "nothing": b"",
}


@pytest.mark.parametrize("output", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trusted_is_refused(output: bytes):
    with pytest.raises(CannotImport):
        read(output)


@given(st.binary().map(lambda octets: octets.replace(b"\r", b"").replace(b"\0", b"")))
def test_any_lines_come_out_as_they_went_in(octets: bytes):
    lines = octets.split(b"\n")
    given_in = b"X: y\n" + b"".join(line + b"\n" for line in lines)
    assert content_of(read(printed(given_in))) == given_in.replace(b"\n", b"\r\n")


@given(st.binary())
def test_no_output_raises_anything_but_a_refusal(octets: bytes):
    for output in (octets, printed(octets), printed(envelope=ENVELOPE + octets + b"\n"), printed(extracted=octets)):
        try:
            read(output).spool.close()
        except CannotImport:
            continue
