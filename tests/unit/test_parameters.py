"""The parameters of MAIL and RCPT: what means what, what is a mistake (501), and what is not ours (555)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.parameters import BadParameter, MailParameters, narrow, of_mail, of_rcpt
from mxqueue import ReportRequest


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", MailParameters()),
        (" ", MailParameters()),
        (" SIZE=0", MailParameters()),
        (" SIZE=10240", MailParameters(size=10240)),
        (" size=99999999999999999999", MailParameters(size=99999999999999999999)),
        (" SIZE=1 BODY=8BITMIME", MailParameters(size=1, body="8BITMIME")),
        (" BODY=8bitmime SIZE=1", MailParameters(size=1, body="8BITMIME")),
        (" BODY=7BIT", MailParameters()),
        ("  SIZE=1   BODY=7BIT", MailParameters(size=1)),
        (" SMTPUTF8", MailParameters(smtputf8=True)),
        (" smtputf8 BODY=8BITMIME", MailParameters(smtputf8=True, body="8BITMIME")),
        (" RET=FULL", MailParameters(ret="FULL")),
        (" RET=hdrs ENVID=QQ+2B314+20159", MailParameters(ret="HDRS", envid="QQ+2B314+20159")),
        (" ENVID=" + "x" * 100, MailParameters(envid="x" * 100)),
    ],
)
def test_parameters_of_mail_are_read(text: str, meaning: MailParameters) -> None:
    assert of_mail(text) == meaning


@pytest.mark.parametrize(
    "word",
    [
        "SIZE",
        "SIZE=",
        "SIZE=-1",
        "SIZE=1k",
        "SIZE=1=1",
        "SIZE=100000000000000000000",
        "SIZE=\u0661",
        "\u017fIZE=1",
        "RET=HDR\u017f",
        "BODY",
        "BODY=8BIT",
        "BODY=BINARYMIME",
        "SMTPUTF8=1",
        "SMTPUTF8=",
        "RET",
        "RET=BODY",
        "RET=FULL,HDRS",
        "ENVID=",
        "ENVID=a=b",
        "ENVID=a+",
        "ENVID=a+2",
        "ENVID=a+2b",
        "ENVID=a+zz",
        "ENVID=+0D+0A",
        "ENVID=+7F",
        "ENVID=+80",
        "ENVID=ü",
        "ENVID=a\tb",
        "ENVID=" + "x" * 101,
        "SIZE=1 SIZE=1",
        "SIZE=1 size=2",
        "=",
        "=x",
        "-x=1",
        "<x>",
        "ü=1",
        "\0",
    ],
)
def test_a_mistake_in_a_parameter_of_mail_is_501(word: str) -> None:
    with pytest.raises(BadParameter, match=r"^501 5\.5\.4 "):
        of_mail(f" {word}")


# AUTH belongs to who offers it (RFC 4954, section 5).
@pytest.mark.parametrize("word", ["AUTH=<>", "AUTH=x+40y", "NOTIFY=NEVER", "MT-PRIORITY=1", "REQUIRETLS", "X"])
def test_a_parameter_of_mail_that_is_not_ours_is_555(word: str) -> None:
    with pytest.raises(BadParameter, match=rf"^555 5\.5\.4 {word.partition('=')[0]} is not supported$"):
        of_mail(f" {word}")


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("", ReportRequest()),
        (" NOTIFY=NEVER", ReportRequest("NEVER")),
        (" notify=never", ReportRequest("NEVER")),
        (" NOTIFY=SUCCESS", ReportRequest("SUCCESS")),
        (" NOTIFY=Delay,FAILURE,SUCCESS", ReportRequest("DELAY,FAILURE,SUCCESS")),
        (" NOTIFY=DELAY,DELAY", ReportRequest("DELAY")),
        (" ORCPT=rfc822;u@example.test", ReportRequest(orcpt="rfc822;u@example.test")),
        (" ORCPT=RFC822;a+3Db+2Bc@example.test", ReportRequest(orcpt="RFC822;a+3Db+2Bc@example.test")),
        (" ORCPT=rfc822;gr+C3+BCn@example.test", ReportRequest(orcpt="rfc822;gr+C3+BCn@example.test")),
        (" ORCPT=x400;/C=".replace("C=", "C+3D"), ReportRequest(orcpt="x400;/C+3D")),
        (" ORCPT=rfc822;a;b", ReportRequest(orcpt="rfc822;a;b")),
        (r" ORCPT=utf-8;gr\x{FC}\x{DF}e@example.test", ReportRequest(orcpt=r"utf-8;gr\x{FC}\x{DF}e@example.test")),
        (" ORCPT=rfc822;" + "x" * 493, ReportRequest(orcpt="rfc822;" + "x" * 493)),
        (" NOTIFY=FAILURE ORCPT=rfc822;u", ReportRequest("FAILURE", "rfc822;u")),
    ],
)
def test_parameters_of_rcpt_are_read(text: str, request_: ReportRequest) -> None:
    assert of_rcpt(text, smtputf8=False) == request_


@pytest.mark.parametrize(
    "word",
    [
        "NOTIFY",
        "NOTIFY=",
        "NOTIFY=,",
        "NOTIFY=SUCCESS,",
        "NOTIFY=NEVER,FAILURE",
        "NOTIFY=FAILURE,NEVER",
        "NOTIFY=NEVER,NEVER",
        "NOTIFY=ALWAYS",
        "ORCPT",
        "ORCPT=",
        "ORCPT=u@example.test",
        "ORCPT=;u@example.test",
        "ORCPT=rfc822;",
        "ORCPT=rfc 822;u",
        "ORCPT=rfc.822;u",
        "ORCPT=rfc822;a=b",
        "ORCPT=rfc822;a+b",
        "ORCPT=rfc822;a+00",
        "ORCPT=rfc822;ü@example.test",
        "ORCPT=utf-8;a+b",
        r"ORCPT=utf-8;a\b",
        r"ORCPT=utf-8;\x{}",
        r"ORCPT=utf-8;\x{0}",
        r"ORCPT=utf-8;\x{0A}",
        r"ORCPT=utf-8;\x{202E}",
        r"ORCPT=utf-8;\x{D800}",
        r"ORCPT=utf-8;\x{110000}",
        "ORCPT=rfc822;" + "x" * 494,
        "NOTIFY=NEVER NOTIFY=NEVER",
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_a_mistake_in_a_parameter_of_rcpt_is_501(word: str, smtputf8: bool) -> None:
    with pytest.raises(BadParameter, match=r"^501 5\.5\.4 "):
        of_rcpt(f" {word}", smtputf8=smtputf8)


@pytest.mark.parametrize("word", ["SIZE=1", "SMTPUTF8", "RET=FULL", "AUTH=<>"])
def test_a_parameter_of_rcpt_that_is_not_ours_is_555(word: str) -> None:
    with pytest.raises(BadParameter, match=r"^555 5\.5\.4 "):
        of_rcpt(f" {word}", smtputf8=True)


def test_an_original_recipient_in_utf_8_wants_smtputf8() -> None:
    word = " ORCPT=utf-8;grüße@example.test"
    assert of_rcpt(word, smtputf8=True).orcpt == "utf-8;grüße@example.test"
    with pytest.raises(BadParameter, match="501"):
        of_rcpt(word, smtputf8=False)


def test_an_original_recipient_is_told_in_ascii_where_it_must_be() -> None:
    assert narrow("utf-8;grüße@例.test") == r"utf-8;gr\x{FC}\x{DF}e@\x{4F8B}.test"


# Whatever comes ----------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "NOTIFY", "ORCPT", "AUTH", "x"])
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["1", "7BIT", "FULL", "NEVER", "SUCCESS,DELAY"]),
    st.text(alphabet="aü+=;2BF\\x{}\0\u202e ,", max_size=20),
    st.builds("{};{}".format, st.sampled_from(["rfc822", "utf-8", "UTF-8", ""]), st.text(max_size=20)),
    st.builds(r"utf-8;\x{{{:X}}}".format, st.integers(0, 0x120000)),
)
TEXTS = st.one_of(
    st.text(max_size=100),
    st.lists(st.builds("{}={}".format, WORDS, VALUES), max_size=4).map(lambda words: " " + " ".join(words)),
)


@given(TEXTS)
def test_any_text_is_read_or_refused_with_a_reply_of_one_line(text: str) -> None:
    for read in (of_mail, lambda given: of_rcpt(given, smtputf8=True), lambda given: of_rcpt(given, smtputf8=False)):
        try:
            read(text)
        except BadParameter as bad:
            assert str(bad)[:9] in {"501 5.5.4", "555 5.5.4"}
            assert str(bad).isprintable()
            assert str(bad).isascii()
            assert len(str(bad)) < 500


@given(TEXTS)
def test_what_mail_was_given_can_be_handed_on_as_it_stands(text: str) -> None:
    try:
        given = of_mail(text)
    except BadParameter:
        return
    said = f" SIZE={given.size} BODY={given.body}" + " SMTPUTF8" * given.smtputf8
    said += f" RET={given.ret}" * bool(given.ret) + f" ENVID={given.envid}" * bool(given.envid)
    assert said.isascii()
    assert of_mail(said) == given


@given(TEXTS)
def test_what_a_recipient_was_given_can_be_handed_on_in_utf_8_and_in_ascii(text: str) -> None:
    try:
        given = of_rcpt(text, smtputf8=True)
    except BadParameter:
        return
    said = f" NOTIFY={given.notify}" * bool(given.notify)
    assert of_rcpt(said + f" ORCPT={given.orcpt}" * bool(given.orcpt), smtputf8=True) == given
    if len(given.orcpt) < 60:  # an escape takes eight times the room
        in_ascii = narrow(given.orcpt)
        assert of_rcpt(said + f" ORCPT={in_ascii}" * bool(given.orcpt), smtputf8=False).orcpt == in_ascii
