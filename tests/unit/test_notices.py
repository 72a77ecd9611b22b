"""What the log says of slowness, other ports and certificates, and how often."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fallback_mx import maillog
from fallback_mx.outages.spans import Kind
from fallback_mx.rules.health import Damping, Health, Observation, blinded, step, unobserved
from fallback_mx.service.notices import CertificateNotice, on_beside

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    stream = io.BytesIO()
    maillog.configure("info", stream=stream)
    yield stream
    maillog.configure()


def events(log: io.BytesIO) -> list[str]:
    return re.findall(r"event=(\w+)", log.getvalue().decode())


def walk(marks: str, kind: Kind) -> None:
    """One look a minute: + good, - bad, ? nothing could be seen."""
    health: Health = unobserved(NOON)
    for minute, mark in enumerate(marks):
        at, before = NOON + timedelta(minutes=minute), health
        if mark == "?":
            health = blinded(health, at)
        else:
            health, _ = step(health, Observation(mark == "+", at, "port", f"seen {mark}"), Damping(2, 3))
        if health.state is not before.state:
            on_beside("main", kind, "993", before, health)


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("+++", []),
        ("+--+", []),
        ("+---", ["port_failed"]),
        ("---", ["port_failed"]),
        ("+---+-+-", ["port_failed"]),
        ("+---++", ["port_failed", "port_recovered"]),
        ("+???+", []),
        ("+---??--++", ["port_failed", "port_recovered"]),
    ],
)
def test_a_closed_port_is_told_once_and_so_is_its_end(log: io.BytesIO, marks: str, expected: list[str]) -> None:
    walk(marks, Kind.PORT)
    assert events(log) == expected


def test_slowness_is_told_with_its_start_and_its_end(log: io.BytesIO) -> None:
    walk("+---++", Kind.SLOW)
    assert events(log) == ["slow_started", "slow_ended"]
    written = log.getvalue().decode()
    assert "started_at=2026-03-01T12:01:00.000Z" in written
    assert "ended_at=2026-03-01T12:04:00.000Z" in written


def test_a_certificate_that_is_about_to_end_is_told_once_and_once_more_when_it_has_ended(log: io.BytesIO) -> None:
    notice = CertificateNotice("main")
    for day in range(30):
        notice.see(NOON + 20 * DAY, NOON + day * DAY)
    assert events(log) == ["certificate_ends", "certificate_ends"]
    assert [line.count("is_over") for line in log.getvalue().decode().splitlines()] == [0, 1]


def test_the_next_certificate_is_told_of_its_own(log: io.BytesIO) -> None:
    notice = CertificateNotice("main")
    for end in (NOON + DAY, NOON + 90 * DAY, NOON + 2 * DAY):
        notice.see(end, NOON)
    assert len(events(log)) == 2


def test_where_no_certificate_was_shown_there_is_nothing_to_tell(log: io.BytesIO) -> None:
    CertificateNotice("main").see(None, NOON)
    assert events(log) == []
