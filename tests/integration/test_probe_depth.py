"""How deep a probe goes: what it says at each depth, what it makes of the answers, and how long each step took."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fallback_mx.rules.health import Observation
from fallback_mx.smtp.depth import Depth
from fallback_mx.smtp.dial import DialSettings, open_first
from fallback_mx.smtp.probe import Manner, Stopwatch, probe
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Act, Script, Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from tests.fakes.identities import Identity

PATIENT = Timeouts(connect=20, banner=20, command=20, quit=20)
BRIEF = Timeouts(connect=0.3, banner=0.3, command=0.3, quit=0.3)
WHOLE = [b"EHLO mx2.test", b"MAIL FROM:<>", b"RCPT TO:<postmaster@example.test>", b"RSET", b"QUIT"]


def look(
    depth: Depth,
    replies: Mapping[str, Script] | None = None,
    *,
    tls: TlsPolicy = TlsPolicy.NONE,
    identity: Identity | None = None,
    timeouts: Timeouts = PATIENT,
) -> tuple[Observation, Sink]:
    async def run() -> tuple[Observation, Sink]:
        sink = Sink(replies=replies, tls=identity.context if identity is not None else None)
        await sink.start()
        stopwatch = Stopwatch()
        dial = DialSettings("mx2.test", tls=tls, timeouts=timeouts, depth=depth, hear=stopwatch.hear)
        manner = Manner(depth, "postmaster@example.test")
        try:
            async with asyncio.timeout(30):
                seen = await probe(
                    lambda: open_first([NextHop("127.0.0.1", sink.port)], dial), manner=manner, stopwatch=stopwatch
                )
            return seen, sink
        finally:
            await sink.stop()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("depth", "said", "phase"),
    [
        (Depth.CONNECT, [], "connect"),
        (Depth.BANNER, [b"QUIT"], "banner"),
        (Depth.EHLO, [b"EHLO mx2.test", b"QUIT"], "ehlo"),
        (Depth.STARTTLS, [b"EHLO mx2.test", b"QUIT"], "ehlo"),
        (Depth.TRANSACTION, WHOLE, "rcpt"),
    ],
)
def test_a_probe_says_no_more_than_its_depth_asks_for(depth: Depth, said: list[bytes], phase: str) -> None:
    seen, sink = look(depth)
    assert (seen.good, seen.phase, sink.commands) == (True, phase, said)
    assert seen.detail


def test_a_probe_of_connect_is_content_with_a_server_that_says_nothing() -> None:
    seen, _ = look(Depth.CONNECT, {"banner": Act.SILENT}, timeouts=BRIEF)
    assert seen.good


def test_a_probe_of_the_banner_finds_a_server_that_turns_everybody_away() -> None:
    seen, _ = look(Depth.BANNER, {"banner": "554 no"})
    assert (seen.good, seen.phase, seen.detail) == (False, "banner", "554 no")


def test_a_probe_of_ehlo_asks_for_no_tls_whatever_the_policy_says() -> None:
    seen, sink = look(Depth.EHLO, tls=TlsPolicy.REQUIRE, identity=Identity("mail.test"))
    assert seen.good
    assert b"STARTTLS" not in sink.commands


def test_a_probe_of_starttls_fails_where_tls_that_is_required_is_not_offered() -> None:
    seen, _ = look(Depth.STARTTLS, tls=TlsPolicy.REQUIRE)
    assert (seen.good, seen.phase) == (False, "starttls")


# The transaction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["250 ok", "450 4.2.0 greylisted", "452 4.2.2 mailbox full", "451 later"])
def test_a_recipient_that_is_taken_or_put_off_means_up(answer: str) -> None:
    seen, sink = look(Depth.TRANSACTION, {"rcpt": answer})
    assert (seen.good, seen.phase, seen.detail) == (True, "rcpt", answer)
    assert sink.commands == WHOLE


@pytest.mark.parametrize(
    ("step", "answer"),
    [("rcpt", "550 5.1.1 nobody here"), ("rcpt", "421 closing"), ("mail", "452 4.3.1 no room"), ("mail", "550 no")],
)
def test_a_server_that_takes_no_mail_is_not_up(step: str, answer: str) -> None:
    seen, _ = look(Depth.TRANSACTION, {step: answer})
    assert (seen.good, seen.phase, seen.detail) == (False, step, answer)


@pytest.mark.parametrize("step", ["mail", "rcpt"])
@pytest.mark.parametrize("act", [Act.DROP, Act.SILENT])
def test_a_server_that_breaks_off_within_the_transaction_is_not_up(step: str, act: Act) -> None:
    seen, _ = look(Depth.TRANSACTION, {step: act}, timeouts=BRIEF)
    assert (seen.good, seen.phase) == (False, step)


@pytest.mark.parametrize("act", [Act.DROP, Act.SILENT, "500 what?"])
def test_what_becomes_of_rset_changes_nothing(act: Script) -> None:
    seen, _ = look(Depth.TRANSACTION, {"rset": act}, timeouts=BRIEF)
    assert seen.good


@pytest.mark.parametrize("answer", ["250 ok", "450 later", "550 no", "421 bye", "251 elsewhere", "354 go on"])
def test_a_probe_never_gets_to_data(answer: str) -> None:
    for step in ("mail", "rcpt", "rset"):
        _, sink = look(Depth.TRANSACTION, {step: answer}, timeouts=BRIEF)
        assert not [line for line in sink.commands if line.startswith((b"DATA", b"BDAT"))]
        assert sink.messages == []


# Time, and the certificate --------------------------------------------------------------------------------------


def test_each_step_is_timed_and_together_they_are_the_whole() -> None:
    seen, _ = look(Depth.TRANSACTION, tls=TlsPolicy.OPPORTUNISTIC, identity=Identity("mail.test"))
    assert [phase for phase, _ in seen.phases] == ["connect", "banner", "ehlo", "starttls", "mail", "rcpt"]
    assert all(seconds >= 0 for _, seconds in seen.phases)
    assert seen.duration_seconds is not None
    assert sum(seconds for _, seconds in seen.phases) <= seen.duration_seconds + 0.001


def test_a_look_that_failed_says_how_long_the_steps_before_took() -> None:
    seen, _ = look(Depth.STARTTLS, {"ehlo": "550 no", "helo": "550 no"})
    assert [phase for phase, _ in seen.phases] == ["connect", "banner", "ehlo"]


def test_the_certificate_that_was_shown_is_known_with_its_end() -> None:
    identity = Identity("mail.test", expired=True)
    seen, _ = look(Depth.STARTTLS, tls=TlsPolicy.OPPORTUNISTIC, identity=identity)
    assert seen.good
    assert seen.certificate_expires_at is not None
    assert seen.certificate_expires_at.year == 2020


def test_without_tls_there_is_no_certificate_to_know_of() -> None:
    assert look(Depth.STARTTLS)[0].certificate_expires_at is None


def test_settings_of_any_depth_are_those_of_deliveries_but_for_that() -> None:
    assert replace(DialSettings("mx2.test", depth=Depth.BANNER), depth=Depth.STARTTLS) == DialSettings("mx2.test")
