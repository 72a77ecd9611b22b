"""A month as a picture and as lines: a row a day, days of 23 and 25 hours, and every piece with its why."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from fallback_mx.outages.spans import Span
from fallback_mx.settlement import explanation
from fallback_mx.settlement.business_days import business_days
from fallback_mx.settlement.freezing import content, corrections, frozen, is_whole
from fallback_mx.settlement.gathering import Record
from fallback_mx.settlement.month import Contract, Month, settled
from fallback_mx.settlement.page import html
from fallback_mx.settlement.timeline import LEFT, WIDTH, picture
from fallback_mx.sla.claims import Customer
from fallback_mx.sla.maintenance import Reason
from tests.fakes.history import span
from tests.fakes.settled import KERIO, Case, between, moment

NOW = moment("2027-06-01 00:00")


def month(case: Case, *spans: Span, unwatched: tuple[Reason, ...] = ()) -> Month:
    customer = Customer("Example", "4711", frozenset(), ZoneInfo(case.zone))
    contract = Contract("main", replace(KERIO, **case.terms), case.region, customer, business_days(""))
    return settled(contract, case.month, Record("main", case.history(), spans, unwatched), NOW)


@pytest.mark.parametrize(
    ("name", "zone", "days", "seconds"),
    [
        ("2026-02", "UTC", 28, 28 * 86400),
        ("2028-02", "UTC", 29, 29 * 86400),
        ("2026-03", "Europe/Prague", 31, 31 * 86400 - 3600),
        ("2026-10", "Europe/Prague", 31, 31 * 86400 + 3600),
        ("2026-12", "Asia/Kathmandu", 31, 31 * 86400),
    ],
)
def test_the_picture_has_a_row_for_each_day_and_all_of_its_time(name: str, zone: str, days: int, seconds: int) -> None:
    settlement = Case("picture", name, terms={"time_zone": zone}).settlement()
    drawn = picture(settlement)
    assert [row.label for row in drawn.rows] == [str(day) for day in range(1, days + 1)]
    hours = 25 if zone == "Europe/Prague" and name == "2026-10" else 24
    width = sum(box.width for row in drawn.rows for box in row.boxes)
    assert width == pytest.approx(seconds / 3600 * (WIDTH - LEFT) / hours, abs=1)
    assert settlement.month.length == timedelta(seconds=seconds)


def test_a_moment_of_downtime_is_seen_in_the_picture() -> None:
    drawn = picture(Case("blink", down=("2026-11-10 10:00 > 10:00:01",)).settlement())
    (down,) = [box for row in drawn.rows for box in row.boxes if box.kind == "down"]
    assert down.width >= 1


def test_the_pieces_of_an_outage_are_the_whole_of_it() -> None:
    case = Case(
        "pieces",
        region="cloud/EU",
        down=("2026-11-05 19:00 > 2026-11-06 02:00",),
        unwatched=("2026-11-05 22:00 > 23:00",),
        excluded=("dns: 2026-11-05 23:00 > 2026-11-06 00:00",),
    )
    (outage,) = explanation.outages(month(case, span("S1", "2026-11-05 19:00 > 2026-11-06 02:00")))
    assert [(piece.kind.value, piece.interval.length // timedelta(hours=1)) for piece in outage.pieces] == [
        ("counted", 1),
        ("maintenance", 1),
        ("counted", 1),
        ("unknown", 1),
        ("excluded", 1),
        ("counted", 2),
    ]
    assert outage.counted == timedelta(hours=4)


def test_why_nobody_watched_is_told_where_it_is_known() -> None:
    case = Case("unknown", unwatched=("2026-11-05 22:00 > 23:00", "2026-11-07 22:00 > 23:00"))
    known = Reason(between("2026-11-05 21:00 > 23:00"), "the monitor was off")
    found = explanation.taken_out(month(case, unwatched=(known,)))
    assert [piece.why for piece in found] == ["the monitor was off", "nobody watched"]


def test_the_arithmetic_says_what_unknown_time_leaves_open() -> None:
    lines = dict(explanation.arithmetic(month(Case("unknown", unwatched=("2026-11-05 22:00 > 2026-11-06 02:00",)))))
    assert lines["uptime, raw"] == (
        "100 × (1 − 0 s ÷ 2,592,000 s) = 100.000000 %; 99.444444 % if all 14,400 s of unknown time were down"
    )
    assert "insufficient data" in lines


def test_a_month_is_closed_as_the_same_text_each_time_and_what_changes_is_told() -> None:
    case = Case("closed", down=("2026-11-10 10:00 > 12:00",))
    first = month(case)
    assert content(first) == content(month(case))
    entry = frozen(first, "F1", "", "root", NOW)
    assert is_whole(entry)
    assert not is_whole(replace(entry, content=entry.content.replace("99.722222", "99.9")))
    later = replace(month(replace(case, down=())), frozen=(entry,))
    assert corrections(later)["uptime_percent"] == {"was": 99.722222, "is": 100}
    assert corrections(replace(first, frozen=(entry,))) == {}


def test_a_page_says_that_a_closed_text_was_changed() -> None:
    entry = frozen(month(Case("closed")), "F1", "", "root", NOW)
    changed = replace(month(Case("closed")), frozen=(replace(entry, sha256="0" * 64),))
    assert "it no longer has this hash" in html([changed], NOW)
