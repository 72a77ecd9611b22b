"""docs/smtp.md: nothing that the listener does is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fallback_mx.config import Server
from fallback_mx.smtp import offer
from fallback_mx.smtp.session import COMMANDS
from fallback_mx.smtp.terms import ListenerSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "smtp.md").read_text(encoding="utf-8")
# Where the service is, and how it is run.
NO_LIMITS = {"hostname", "listen", "tls_certificate", "tls_key", "workers"}


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table below this heading."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (text,) = [each for each in section if each.startswith(heading)]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def named_in(heading: str) -> set[str]:
    """What stands in the first cells, as code."""
    return {name for row in rows(heading) for name in re.findall(r"`([^`]+)`", row[0])}


def shown_by(text: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py::\w+)`", text)


def test_every_command_of_a_session_has_a_row() -> None:
    assert {verb.decode() for verb in COMMANDS} - named_in("Commands") == set()


def test_every_keyword_of_ehlo_has_a_row_and_no_other_has_one() -> None:
    settings = ListenerSettings("mx2.example.net", {})
    every = offer.ehlo_reply(settings, 1) + offer.STARTTLS + offer.ETRN + offer.XCLIENT
    assert {line[4:].split()[0].decode() for line in every.splitlines()[1:]} == named_in("Extensions")


def test_every_limit_of_server_has_a_row() -> None:
    assert set(Server.model_fields) - NO_LIMITS - named_in("Limits") == set()


@pytest.mark.parametrize("heading", ["Commands", "Extensions", "ETRN", "Limits"])
def test_every_row_has_four_cells_and_names_a_test(heading: str) -> None:
    assert rows(heading)
    for row in rows(heading):
        assert len(row) == 4, row
        assert shown_by(row[3]), row
