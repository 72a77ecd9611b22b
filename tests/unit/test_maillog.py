"""The log: what a line looks like, what never gets into one, and that it cannot hurt mail."""

from __future__ import annotations

import io
import json
import logging
import select
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fallback_mx import maillog

AT = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    maillog.configure()


def _lines(level: str = "info", *, as_json: bool = False) -> io.BytesIO:
    stream = io.BytesIO()
    maillog.configure(level, as_json=as_json, stream=stream)
    return stream


def _accept(queue_id: str = "01K4QZ6YB3T9V5XW2N8M7RCD1E") -> None:
    maillog.accepted(
        queue_id,
        primary="main",
        client_address="192.0.2.1",
        reverse_path="alice@example.com",
        forward_paths=("bob@example.org", "carol@example.org"),
        size=1234,
    )


def _defer(reply: str) -> None:
    maillog.deferred(
        "01K4QZ6YB3T9V5XW2N8M7RCD1E",
        primary="main",
        forward_path="bob@example.org",
        reply=reply,
        attempts=2,
        not_before=AT,
    )


def test_a_line_is_key_value_pairs_with_the_queue_id_before_the_rest() -> None:
    stream = _lines()
    _accept()
    words = stream.getvalue().decode().split()
    assert [word.partition("=")[0] for word in words] == [
        "time",
        "level",
        "id",
        "event",
        "primary",
        "client",
        "sender_domain",
        "recipients",
        "size",
    ]
    assert words[2:] == [
        "id=01K4QZ6YB3T9V5XW2N8M7RCD1E",
        "event=accepted",
        "primary=main",
        "client=192.0.2.1",
        "sender_domain=example.com",
        "recipients=2",
        "size=1234",
    ]


def test_the_json_form_has_the_same_fields() -> None:
    stream = _lines(as_json=True)
    _accept()
    line = json.loads(stream.getvalue())
    assert list(line)[:4] == ["time", "level", "id", "event"]
    assert (line["event"], line["recipients"], line["sender_domain"]) == ("accepted", 2, "example.com")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("level", ["info", "warning"])
def test_no_persons_address_is_written_above_debug(level: str, as_json: bool) -> None:
    stream = _lines(level, as_json=as_json)
    _accept()
    _defer("450 4.2.1 <bob@example.org>: mailbox of bob@example.org busy")
    maillog.refused(
        "relay",
        client_address="192.0.2.1",
        reply="550 5.7.1 alice@example.com may not",
        reverse_path="alice@example.com",
        forward_path="bob@example.org",
    )
    maillog.let_in("grace", client_address="192.0.2.1", primary="main", forward_path="bob@example.org")
    maillog.held("01K", primary="main", forward_path="bob@example.org", reply="550 no bob@example.org here")
    maillog.trouble("courier", "cannot write to bob@example.org")
    maillog.crashed("courier", ValueError("bob@example.org"))
    maillog.proxied(
        "01K",
        primary="main",
        client_address="192.0.2.1",
        reverse_path="alice@example.com",
        forward_paths=["bob@example.org"],
        size=1,
        reply="250 for bob@example.org",
    )
    maillog.proxy_failed("main", detail="421 no bob@example.org", ambiguous=True)
    maillog.connection_failed("main", next_hop="h", phase="banner", detail="421 go away, bob@example.org")
    written = stream.getvalue().decode()
    assert "bob" not in written
    assert "alice" not in written


def test_at_debug_the_addresses_are_there() -> None:
    stream = _lines("debug")
    _accept()
    assert "sender=alice@example.com" in stream.getvalue().decode()
    assert 'to="bob@example.org carol@example.org"' in stream.getvalue().decode()


def test_the_null_reverse_path_is_written_as_a_pair_of_brackets() -> None:
    stream = _lines()
    maillog.accepted(
        "01K", primary="main", client_address="192.0.2.1", reverse_path="", forward_paths=("b@example.org",), size=1
    )
    assert "sender_domain=<>" in stream.getvalue().decode()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_reply_with_control_characters_stays_one_harmless_line(as_json: bool) -> None:
    stream = _lines(as_json=as_json)
    _defer("450 x\r\ntime=now level=info event=forged \x1b[31m \x00 \x7f \x9b \u202e")
    written = stream.getvalue().decode()
    assert written.count("\n") == 1
    assert all(char.isprintable() for char in written[:-1])


def test_a_value_with_quotes_and_a_last_backslash_cannot_forge_a_field() -> None:
    stream = _lines()
    _defer('450 " event=forged \\')
    assert 'reply="450 \\" event=forged \\\\" attempts=2' in stream.getvalue().decode()


def test_a_very_long_value_is_cut() -> None:
    stream = _lines()
    _defer("450 " + "x" * 100_000)
    assert len(stream.getvalue()) < 9_000


def test_a_level_switches_off_what_lies_below_it() -> None:
    stream = _lines("warning")
    _accept()
    maillog.trouble("database", "locked")
    assert [line.split()[3] for line in stream.getvalue().decode().splitlines()] == ["part=database"]


class _Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_is_counted_and_hurts_nobody() -> None:
    maillog.configure("info", stream=_Full())
    _accept()
    _accept()
    assert maillog.lost_lines() == 2


def test_an_outage_that_ended_says_how_long_it_was() -> None:
    stream = _lines()
    maillog.outage_ended("main", started_at=AT, ended_at=AT + timedelta(minutes=14))
    written = stream.getvalue().decode()
    assert "started_at=2026-11-24T12:00:00.000Z ended_at=2026-11-24T12:14:00.000Z seconds=840.0" in written


def test_failures_of_a_primary_under_maintenance_are_told_and_alarm_nobody() -> None:
    stream = _lines()
    maillog.quieten(["main"])
    for primary in ("main", "other"):
        maillog.outage_started(primary, started_at=AT, cause="refused")
    maillog.quieten([])
    maillog.outage_ended("main", started_at=AT, ended_at=AT)
    quiet, loud, after = stream.getvalue().decode().splitlines()
    assert "level=info" in quiet
    assert "event=outage_started primary=main" in quiet
    assert "maintenance=True" in quiet
    assert all("level=warning" in line and "maintenance" not in line for line in (loud, after))


def test_a_rejected_configuration_is_a_line_for_each_problem() -> None:
    stream = _lines()
    maillog.config_rejected("/etc/f.toml", ["primary[0].rise: is 0; write rise = 2", "http: is not a table"])
    assert stream.getvalue().count(b"event=config_rejected") == 2


def test_a_crash_has_its_traceback_in_one_line() -> None:
    stream = _lines()
    try:
        raise ValueError("unforeseen")
    except ValueError as error:
        maillog.crashed("listener", error)
    written = stream.getvalue().decode()
    assert written.count("\n") == 1
    assert "error=ValueError" in written
    assert "test_a_crash_has_its_traceback" in written


def test_a_warning_of_a_library_comes_out_as_an_event() -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    stream = _lines()
    try:
        # In place of the test runner's handlers for a moment, as in the service.
        logging.root.handlers = []
        maillog.capture_libraries()
        logging.getLogger("asyncio").warning("task of bob@example.org\nwas lost")
        logging.getLogger("asyncio").info("chatter")
    finally:
        logging.root.handlers = handlers
        logging.root.setLevel(level)
    written = stream.getvalue().decode()
    assert written.count("\n") == 1
    assert 'event=library part=asyncio detail="task of …@example.org\\nwas lost"' in written


def test_every_event_can_be_written() -> None:
    stream = _lines()
    maillog.let_in("grace", client_address="192.0.2.1", primary="main", forward_path="b@example.org")
    maillog.session_limit("192.0.2.1", "connections")
    maillog.delivered(
        "01K", primary="main", forward_path="b@example.org", reply="250 ok", attempts=1, age_seconds=3.14159
    )
    maillog.failed("01K", primary="main", forward_path="b@example.org", reply="550 no")
    maillog.expired("main", recipients=3, action="held")
    maillog.settlement_refused("01K", primary="main", position=0)
    maillog.damaged("01K", "hash")
    maillog.slow_started("main", started_at=AT, detail="took 9 s")
    maillog.slow_ended("main", ended_at=AT, detail="")
    maillog.port_failed("main", port="993", started_at=AT, detail="connection refused")
    maillog.port_recovered("main", port="993", ended_at=AT)
    maillog.certificate_ends("main", expires_at=AT, is_over=False)
    maillog.cut_off("no control answers")
    maillog.reached_again()
    maillog.stood_still(12.3456)
    maillog.clock_stepped(-3600.0)
    maillog.drain_started("main")
    maillog.drain_ended("main", delivered=3, seconds=1.0)
    maillog.primary_state("main", before="up", now="falling")
    maillog.etrn("main", client_address="192.0.2.1", messages=3, state="down")
    maillog.order_began("main", what="pause", until=AT, actor="root", reason="disks")
    maillog.order_ended("main", what="pause")
    maillog.outage_started("main", started_at=AT, cause="connection refused")
    maillog.service_started(version="1", node="n", listen=["127.0.0.1:25"], primaries=["main"])
    maillog.service_stopping("SIGTERM")
    maillog.service_stopped(seconds=0.5)
    maillog.config_reloaded("/etc/f.toml")
    maillog.recovered("database")
    events = [line.split("event=")[1].split()[0] for line in stream.getvalue().decode().splitlines()]
    assert events == [
        "let_in",
        "session_limit",
        "delivered",
        "failed",
        "expired",
        "settlement_refused",
        "damaged",
        "slow_started",
        "slow_ended",
        "port_failed",
        "port_recovered",
        "certificate_ends",
        "cut_off",
        "reached_again",
        "stood_still",
        "clock_stepped",
        "drain_started",
        "drain_ended",
        "primary_state",
        "etrn",
        "order_began",
        "order_ended",
        "outage_started",
        "service_started",
        "service_stopping",
        "service_stopped",
        "config_reloaded",
        "recovered",
    ]


def test_a_new_list_of_recipients_is_counted_and_names_nobody() -> None:
    stream = _lines()
    maillog.recipients_imported("main", addresses=1000, added=3, removed=2, passed_over=0)
    words = stream.getvalue().decode().split()
    assert words[2:] == ["event=recipients_imported", "primary=main", "addresses=1000", "added=3", "removed=2"]


class _Writes(io.BytesIO):
    """Remembers every write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[bytes] = []

    def write(self, data: Any) -> int:
        self.each.append(bytes(data))
        return len(data)


def test_lines_of_one_moment_go_out_together_in_order_and_each_is_whole() -> None:
    stream = _Writes()
    maillog.configure(stream=stream)
    with maillog.together():
        for number in range(100):
            _accept(f"{number:026d}")
        assert stream.each == []
    written = b"".join(stream.each).splitlines()
    assert [line.split(b" id=")[1][:26] for line in written] == [b"%026d" % number for number in range(100)]
    assert len(stream.each) < 10
    # A write of at most PIPE_BUF to a pipe is never mixed with another process's (POSIX, write()).
    assert all(len(each) <= select.PIPE_BUF and each.endswith(b"\n") for each in stream.each)


def test_a_line_longer_than_a_write_to_a_pipe_is_still_written() -> None:
    stream = _Writes()
    maillog.configure(stream=stream)
    with maillog.together():
        maillog.trouble("disk", "x" * 6000)
        maillog.trouble("disk", "short")
    assert [each.count(b"\n") for each in stream.each] == [1, 1]
