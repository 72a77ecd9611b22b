"""What the doctor's judges make of facts that no machine for tests can be brought to show, and how checks are run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fallback_mx.doctor import addresses, listening, machine, mx, primary, tlsa, zone
from fallback_mx.doctor.addresses import AddressFacts
from fallback_mx.doctor.certificate import is_for
from fallback_mx.doctor.examination import Check, examine
from fallback_mx.doctor.finding import Finding, ok
from fallback_mx.doctor.listening import Heard, ListenerFacts
from fallback_mx.doctor.machine import DiskFacts, SqliteFacts
from fallback_mx.doctor.mx import MxFacts
from fallback_mx.doctor.primary import PrimaryFacts
from fallback_mx.doctor.tlsa import TlsaFacts
from fallback_mx.rules.disposition import NoConnection
from fallback_mx.smtp.dane import Record

US = "mx2.example.com"


def test_an_address_that_everybody_reaches_is_well() -> None:
    finding = addresses.judge(AddressFacts(US, ("8.8.8.8", "2606:4700::1111")))
    assert (finding.level, finding.reason) == ("ok", f"{US} is 8.8.8.8, 2606:4700::1111")


@pytest.mark.parametrize("hidden", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "169.254.0.1", "fd00::1", "fe80::1", "::1"])
def test_an_address_that_only_neighbours_reach_is_a_warning(hidden: str) -> None:
    assert addresses.judge(AddressFacts(US, ("8.8.8.8", hidden))).level == "warning"


def test_a_name_without_a_dot_is_an_error() -> None:
    finding = addresses.judge(AddressFacts("mx2", ("8.8.8.8",)))
    assert (finding.level, "server.hostname" in finding.fix) == ("error", True)


def test_the_record_of_an_address_that_is_missing_has_this_machines_own() -> None:
    assert addresses.judge(AddressFacts(US, here=("8.8.8.8", "2606::1"))).records == (
        f"{US}. IN A 8.8.8.8",
        f"{US}. IN AAAA 2606::1",
    )


def test_a_number_that_a_record_cannot_have_is_not_proposed() -> None:
    finding = mx.judge(MxFacts("example.org", US, ((65530, "mail.example.org"),)))
    assert finding.records == (f"example.org. IN MX 65535 {US}.",)


def test_a_listener_that_wants_a_proxy_header_is_not_called_dead() -> None:
    closed = Heard("127.0.0.1:25", phase="banner", trouble="the server closed the connection")
    [finding] = listening.judge_listener(ListenerFacts(US, (closed,), is_behind_proxy=True))
    assert (finding.level, "PROXY" in finding.reason) == ("warning", True)


@pytest.mark.parametrize(("free", "level"), [(10, "error"), (150, "warning"), (500, "ok")])
def test_room_is_judged_by_what_is_kept_free(free: int, level: str) -> None:
    assert machine.judge_disk(DiskFacts("/q", True, free, 100)).level == level


@pytest.mark.parametrize(
    ("facts", "reason"),
    [(DiskFacts("/q", False), "/q is not there"), (DiskFacts("/q", True, 999, 1, False), "no inode is free")],
)
def test_a_disk_that_takes_nothing_is_an_error(facts: DiskFacts, reason: str) -> None:
    finding = machine.judge_disk(facts)
    assert (finding.level, reason in finding.reason) == ("error", True)


def test_the_disk_of_a_database_server_is_not_ours_to_see() -> None:
    assert machine.judge_disk(DiskFacts()).level == "ok"


def test_an_sqlite_that_can_lose_commits_is_an_error_with_what_to_install() -> None:
    finding = machine.judge_sqlite(SqliteFacts(trouble="SQLite 3.40.1 can lose commits", advice="Install pysqlite3."))
    assert (finding.level, finding.fix) == ("error", "Install pysqlite3.")


@pytest.mark.parametrize(
    ("phase", "outwards", "exemption"),
    [
        ("connect", "error", "warning"),
        ("route", "error", "warning"),
        ("ours", "error", "warning"),
        ("starttls", "ok", "error"),
        ("auth", "ok", "error"),
    ],
)
def test_how_far_a_connection_got_says_whose_matter_it_is(phase: str, outwards: str, exemption: str) -> None:
    facts = PrimaryFacts("main", "mail.example.org:25", "x@example.org", NoConnection(phase, "it said no"))
    assert primary.judge_outwards(facts).level == outwards
    assert primary.judge_exemption(facts).level == exemption


def test_tlsa_records_that_mail_does_not_go_by_are_a_warning() -> None:
    assert tlsa.judge(TlsaFacts(US, records=(Record(1, 1, 1, bytes(32)),), chain=(b"x",))).level == "warning"


@pytest.mark.parametrize(
    ("names", "fits"),
    [((US,), True), (("*.example.com",), True), (("*.com",), False), (("*.mx2.example.com",), False), ((), False)],
)
def test_a_certificate_is_for_its_names_and_one_label_of_a_wildcard(names: tuple[str, ...], fits: bool) -> None:
    assert is_for(names, US) is fits


def test_records_are_lines_of_a_zone_file() -> None:
    assert zone.ptr("2001:db8::1", US) == f"{'1.' + '0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa. IN PTR {US}."
    assert zone.tlsa(US, 25, Record(3, 1, 1, b"\x01\xff")) == f"_25._tcp.{US}. IN TLSA 3 1 1 01ff"


# How checks are run ---------------------------------------------------------------------------------------------------


async def _well() -> Sequence[Finding]:
    return [ok("well", "x", "it is")]


async def _hangs() -> Sequence[Finding]:
    await asyncio.Event().wait()
    return []


async def _fails() -> Sequence[Finding]:
    raise RuntimeError("what is this")


def test_findings_come_in_the_order_of_the_checks_whatever_becomes_of_some() -> None:
    checks = [Check("hangs", "x", _hangs), Check("fails", "x", _fails), Check("well", "x", _well)]
    told: list[tuple[int, int]] = []
    found = asyncio.run(examine(checks, 0.05, lambda done, left: told.append((done, len(left)))))
    assert [(each.check, each.level) for each in found] == [("hangs", "error"), ("fails", "error"), ("well", "ok")]
    assert "RuntimeError: what is this" in found[1].reason
    assert told == [(0, 3), (1, 2), (2, 1), (3, 0)]
