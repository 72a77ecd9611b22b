"""FAULTS 50: any octets in each state of a session, and in whatever else reads octets that somebody else wrote.

What must hold is in tests/fuzz: here it is asked of the corpus, which has what fuzzing found, and of what hypothesis
thinks of. `make fuzz` goes on from there, guided by coverage.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.play import play
from tests.fuzz.primary import Does
from tests.fuzz.script import LAST, WITH_NUMBER, Op, Pause, Script, Setting
from tests.fuzz.session import believed, check_script

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
SEEDS = sorted(path for path in CORPUS.rglob("*") if path.is_file())

HELLO = b"EHLO client.test\r\n"
TO_DATA = HELLO + b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<u@example.test>\r\nDATA\r\n"
PLAYED = HELLO + b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<p@played.test>\r\nDATA\r\n"
MESSAGE = b"Subject: x\r\n\r\n..hello\r\n.\r\n"


def check_of(target: str) -> Callable[[bytes], None]:
    check: Callable[[bytes], None] = importlib.import_module(TARGETS[target]).check
    return check


# The corpus --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_what_fuzzing_has_found_holds(target: str) -> None:
    check = check_of(target)
    for path in SEEDS:
        if path.parent.name == target:
            try:
                check(path.read_bytes())
            except Exception as error:
                error.add_note(f"the input is {path.relative_to(CORPUS)}")
                raise


def test_the_corpus_is_small_enough_to_be_kept() -> None:
    assert {path.parent.name for path in SEEDS} == set(TARGETS)
    assert len(SEEDS) < 300
    assert sum(path.stat().st_size for path in SEEDS) < 500_000


# What hypothesis thinks of -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        HELLO,
        b"HELO client.test\r\n",
        b"MAIL FROM:<a@sender.test>\r\n",
        b"MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n",
        b"RCPT TO:<u@example.test>\r\n",
        b"RCPT TO:<v@second.test> NOTIFY=NEVER\r\n",
        b"RCPT TO:<w@open.test>\r\n",
        b"RCPT TO:<p@played.test>\r\n",
        b"RCPT TO:<good@asked.test>\r\nRCPT TO:<bad@asked.test>\r\n",
        b"RCPT TO:<slow@asked.test>\r\n",
        PLAYED,
        PLAYED + MESSAGE,
        b"RCPT TO:<postmaster>\r\n",
        b"RCPT TO:<u@elsewhere.test>\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"STARTTLS\r\n",
        b"XCLIENT ADDR=198.51.100.9 HELO=x\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.1 5 25\r\n",
        b"BDAT 5 LAST\r\n",
        b"QUIT\r\n",
        TO_DATA,
        TO_DATA + MESSAGE,
        MESSAGE,
        b".\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\r",
        b"\n",
        b".",
        b"\0",
        b"Received: x\r\n" * 51,
        b"x" * 1100,
        b"NOOP\r\n" * 120,
    ]
)
OCTETS = st.lists(st.one_of(WORDS, WORDS, st.binary(max_size=20)), min_size=1, max_size=6).map(b"".join).filter(bool)
EVENTS = st.one_of(
    OCTETS,
    OCTETS,
    st.sampled_from([op for op in Op if op not in LAST | WITH_NUMBER]),
    st.sampled_from(Does),
    st.floats(0, 70).map(Pause),
)
ENDS = st.sampled_from([(), (), (Op.LOST,), (Op.SILENCE,)])
SETTINGS = st.one_of(
    st.sets(st.sampled_from(list(Setting)), max_size=3).map(lambda chosen: sum(each.value for each in chosen)),
    st.just((Setting.UP | Setting.ALONE).value),
)
SCRIPTS = st.builds(
    lambda chosen, events, end: Script(Setting(chosen), (*events, *end)),
    SETTINGS,
    st.lists(EVENTS, max_size=12),
    ENDS,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS)
def test_whatever_comes_in_whatever_way_a_session_does_what_its_client_may_believe(script: Script) -> None:
    check_script(script)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_a_script_and_come_to_no_harm(data: bytes) -> None:
    check_of("session")(data)


@settings(max_examples=100, deadline=None)
@given(SCRIPTS)
def test_a_script_reads_as_it_was_written(script: Script) -> None:
    again = Script.read(script.encode())
    assert (again.stream, again.results, again.settings) == (script.stream, script.results, script.settings)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"MAIL FROM:<", b"RCPT TO:<", b"XCLIENT ADDR="]), st.binary(max_size=60))
def test_any_octets_as_an_argument_are_refused_or_can_be_handed_on(verb: bytes, octets: bytes) -> None:
    check_of("commands")(verb + octets)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", b""]), st.binary(max_size=60))
def test_any_octets_as_a_proxy_header_are_refused_or_name_the_client_that_others_find(
    prefix: bytes, octets: bytes
) -> None:
    check_of("proxy_header")(prefix + octets)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 255), st.lists(st.one_of(st.sampled_from([b"250 Ok\r\n", b"250-", b"354 "]), st.binary(max_size=9)))
)
def test_any_octets_as_replies_are_paired_with_their_commands_or_break_the_connection(
    commands: int, octets: list[bytes]
) -> None:
    check_of("replies")(bytes([commands]) + b"".join(octets))


# What fuzzing found ------------------------------------------------------------------------------------------------


def said(script: Script) -> list[bytes]:
    account = play(script, is_patient=True)
    believed(script, account)
    return account.said.splitlines()


def test_bdat_with_an_argument_that_cannot_be_read_ends_the_session_too() -> None:
    script = Script(Setting(0), (HELLO + b"BDAT \xff\r\nRSET\r\n",))
    assert said(script)[-1].startswith(b"502 5.5.1")


def test_a_client_that_was_slow_to_read_before_its_handshake_is_heard_after_it() -> None:
    events = (HELLO, Op.CHOKE, b"STARTTLS\r\n", Op.SHAKEN, b"NOOP\r\n")
    assert said(Script(Setting.TLS, events))[-1] == b"250 2.0.0 Ok"


def test_a_sender_that_goes_while_data_is_played_through_leaves_no_spool() -> None:
    events = (HELLO + b"MAIL FROM:<>\r\nRCPT TO:<p@played.test>\r\n", Pause(1.0), b"DATA\r\n", Op.LOST)
    play(Script(Setting.UP | Setting.ALONE, events))
