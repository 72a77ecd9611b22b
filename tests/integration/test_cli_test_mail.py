"""`fallback-mx test-mail` where it does not come to sending anything; the rest is in tests/e2e/test_test_mail.py."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from fallback_mx.doctor.letter import letter
from tests.fakes.operator import Operator
from tests.fakes.ports import free_port


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("elsewhere.test",), 3, "elsewhere.test is a domain of no primary"),
        (("no domain",), 2, "no domain is not a domain"),
        (("example.org", "--to", "x@elsewhere.test"), 2, "--to x@elsewhere.test is not in example.org."),
        (("example.org", "--to", "müller@example.org"), 2, "is not ASCII"),
        (("example.org", "--wait", "soon"), 2, "is not a duration"),
        # Its configuration has the system choose a port.
        (("example.org",), 2, "there is no listener to bring it to"),
    ],
)
def test_what_was_meant_wrongly_sends_nothing(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    operator = Operator(tmp_path).create()
    result = operator.run("test-mail", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert operator.ids() == []


def test_where_nobody_listens_it_is_a_failure_that_people_can_read(tmp_path: Path) -> None:
    operator = Operator(tmp_path).create()
    operator.config.write_text(operator.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{free_port()}"))
    result = operator.run("test-mail", "example.org")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "STEP\tSECONDS\tSAID"
    assert "is the service running?" in result.stdout.splitlines()[-1]


def test_the_letter_says_what_it_is_and_wants_no_answer() -> None:
    at = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    octets = letter(hostname="mx2.test", forward_path="you@a.test", actor="fred\r\nX: y", at=at, tag="01K")
    read = message_from_bytes(octets)
    assert read["Auto-Submitted"] == "auto-generated"
    assert (read["To"], read["Message-ID"]) == ("<you@a.test>", "<01K@mx2.test>")
    assert "X" not in read
    assert "fallback-mx test-mail a.test" in read.get_payload()
    assert octets.count(b"\n") == octets.count(b"\r\n")
