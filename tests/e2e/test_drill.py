"""`fallback-mx drill` with the real service: real mail is taken, kept and delivered, and the proof says so."""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fallback_mx.doctor.proof import Letter, Proof
from tests.fakes.ports import free_port
from tests.fakes.primary import FakePrimary
from tests.fakes.relay import DOMAIN, Relay, primary


def drilled(relay: Relay, proof: Path, *words: str, expect: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        relay.cli("drill", "main", "--yes", "--json", "--proof", str(proof), *words, expect=expect)
    )
    return told


def is_in(relay: Relay, state: str) -> None:
    """On record too, where the command line looks: it is written a moment after it was seen."""
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")
    relay.wait_for(lambda: relay.cli_json_lines("primary", "list")[0]["state"] == state, f"{state} is on record")


def test_mail_that_comes_in_a_drill_waits_and_is_delivered_after_it_and_the_proof_says_so(tmp_path: Path) -> None:
    replies: list[int] = []

    def stranger() -> None:
        """Tries until it is taken."""
        for _ in range(100):
            with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="sender.test", timeout=30) as client:
                client.ehlo()
                client.mail("a@sender.test")
                code, _text = client.rcpt(f"u@{DOMAIN}")
                if code == 250:
                    replies.append(client.data(b"Subject: real\r\n\r\nmail\r\n")[0])
                    return
            threading.Event().wait(0.2)

    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        sending = threading.Thread(target=stranger)
        sending.start()
        told = drilled(relay, tmp_path / "proof.md", "--for", "8s", "--wait", "30s")
        sending.join(30)
        assert [each for each in relay.outages() if each["kind"] == "outage"] == []
        assert len(fake.messages) == 2
    assert replies == [250]
    assert (told["passed"], told["messages"], told["recipients"]) == (True, 2, {"delivered": 2})
    ended, delivered = (datetime.fromisoformat(told[key]) for key in ("ended_at", "last_delivered_at"))
    assert delivered >= ended
    text = (tmp_path / "proof.md").read_text()
    assert "The drill of main has passed: 2 messages taken in 8 s" in text
    assert told["test_message"]["queue_id"] in text


def test_no_drill_of_a_primary_that_is_down(tmp_path: Path) -> None:
    with Relay(primary(free_port())) as relay:
        is_in(relay, "down")
        relay.cli("drill", "main", "--yes", "--proof", str(tmp_path / "proof.md"), expect=1)
        [standing] = relay.cli_json_lines("primary", "list")
    assert standing["orders"] == {"pause": None, "force": None}
    assert not (tmp_path / "proof.md").exists()


def test_who_stops_it_ends_the_drill_at_once_and_has_a_proof(tmp_path: Path) -> None:
    proof = tmp_path / "proof.md"
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        words = ["drill", "main", "--yes", "--proof", str(proof), "--for", "10m", "--wait", "30s"]
        environment = {**os.environ, "FALLBACK_MX_CONFIG": str(relay.config_file)}
        process = subprocess.Popen([sys.executable, "-m", "fallback_mx", *words], env=environment)
        try:
            relay.wait_for(lambda: relay.queue_count() == 1, "the test message is taken")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
        [standing] = relay.cli_json_lines("primary", "list")
        assert len(fake.messages) == 1
    assert standing["orders"]["force"] is None
    assert "stopped before its time" in proof.read_text()


def test_a_proof_that_is_there_is_not_written_over_and_nothing_is_begun(tmp_path: Path) -> None:
    proof = tmp_path / "proof.md"
    proof.write_text("precious")
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        relay.cli("drill", "main", "--yes", "--proof", str(proof), expect=2)
        [standing] = relay.cli_json_lines("primary", "list")
    assert standing["orders"]["force"] is None
    assert proof.read_text() == "precious"


# What it comes to ----------------------------------------------------------------------------------------------------

BEGAN = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=10)
AFTER = ENDED + timedelta(seconds=3)


def proof(letter: Letter, **states: int) -> Proof:
    return Proof("main", "mx2.test", "fred", BEGAN, ENDED, AFTER, letter, 3, states, AFTER)


def test_a_drill_has_passed_where_all_was_delivered_after_its_end() -> None:
    found = proof(Letter("01K", "", BEGAN, AFTER), delivered=3)
    assert found.objections == ()
    assert found.sentence == (
        "The drill of main has passed: 3 messages taken in 10 min, the last delivered 3 s after its end."
    )


@pytest.mark.parametrize(
    ("letter", "states", "objection"),
    [
        (Letter(trouble="451 later"), {"delivered": 2}, "was not taken: 451 later"),
        (Letter("01K", "", BEGAN), {"pending": 1, "delivered": 2}, "1 recipient still waiting"),
        (Letter("01K", "", BEGAN, BEGAN), {"delivered": 3}, "while the primary was to count as down"),
        (Letter("01K", "", BEGAN, AFTER), {"delivered": 2, "held": 1}, "1 recipient held"),
    ],
)
def test_a_drill_has_not_passed_where_something_is_left(letter: Letter, states: dict[str, int], objection: str) -> None:
    found = proof(letter, **states)
    assert any(objection in each for each in found.objections), found.objections
    assert "has not passed" in found.text()
