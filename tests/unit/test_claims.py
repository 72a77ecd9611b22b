"""Claims: until when one may arrive, over weekends, holidays and zones, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fallback_mx.settlement.business_days import business_days
from fallback_mx.sla.agreement import ClaimsFrom
from fallback_mx.sla.claims import Claim, Customer, Objection, broken_at, claim_until, objections
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.settling import Settlement
from tests.fakes.settled import Case, between, moment

# Wednesday before Easter 2027; 09:00 UTC is 10:00 in Berlin.
EASTER = Case("Easter", "2027-03", down=("2027-03-24 09:00 > 12:00",))
BERLIN = Customer("Example", "4711", frozenset({"carol@example.org"}), ZoneInfo("Europe/Berlin"))
GERMANY = business_days("DE")


def until(case: Case, country: str = "DE", **terms: Any) -> object:
    case = replace(case, terms=case.terms | terms)
    return claim_until(
        case.settlement().agreement, case.settlement(), outages(case), BERLIN.zone, business_days(country)
    )


def outages(case: Case) -> tuple[Interval, ...]:
    return case.history().outages


def claim(at: str, **different: Any) -> Claim:
    made = Claim("main", between("2027-03-24 09:00 > 12:00"), "4711", "carol@example.org", moment(at), False)
    return replace(made, **different)


def against(made: Claim, case: Case = EASTER, customer: Customer = BERLIN) -> tuple[Objection, ...]:
    return objections(made, customer, case.settlement(), outages(case), GERMANY)


# The seventh business day ---------------------------------------------------------------------------------------


def test_the_seventh_business_day_over_easter_passes_two_holidays_and_two_weekends() -> None:
    # Thu 25, (Good Friday 26, Sat, Sun, Easter Monday 29), Tue 30, Wed 31, Thu 1, Fri 2, (Sat, Sun), Mon 5, Tue 6.
    # Summer time began on the 28th: the 6th is over at 22:00 UTC.
    assert until(EASTER) == moment("2027-04-06 22:00")


def test_where_good_friday_is_no_holiday_the_seventh_day_comes_sooner() -> None:
    # Thu 25, Fri 26, (Sat, Sun), Mon 29, Tue 30, Wed 31, Thu 1, Fri 2.
    assert until(EASTER, country="US") == moment("2027-04-02 22:00")


def test_a_part_of_a_country_has_holidays_of_its_own() -> None:
    # Corpus Christi, Thursday 27 May 2027: a holiday in Bavaria and none in Berlin. Whit Monday was the 17th.
    case = Case("May", "2027-05", down=("2027-05-18 09:00 > 12:00",))
    # Wed 19, Thu 20, Fri 21, Mon 24, Tue 25, Wed 26, and Thu 27 or Fri 28.
    assert until(case, "DE-BE") == moment("2027-05-27 22:00")
    assert until(case, "DE-BY") == moment("2027-05-28 22:00")


def test_without_a_country_weekends_alone_are_no_business_days() -> None:
    assert until(EASTER, country="") == until(EASTER, country="US")


def test_an_unknown_country_is_told() -> None:
    with pytest.raises(ValueError, match="no holidays are known of XX"):
        business_days("XX")


def test_the_days_are_counted_from_the_customers_day() -> None:
    # 23:30 UTC is half past midnight on Thursday: Fri 26 is a holiday, so the first day is Tue 30, the seventh Wed 7.
    case = replace(EASTER, down=("2027-03-24 20:30 > 23:30",))
    assert until(case) == moment("2027-04-07 22:00")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # Wed 24: as above, Tue 6.
        (ClaimsFrom.BREACH, "2027-04-06 22:00"),
        # Thu 25: Tue 30 is the first, Wed 7 the seventh.
        (ClaimsFrom.OUTAGE_END, "2027-04-07 22:00"),
        # The agreement's March is over on Thursday, 1 April, in Berlin: Fri 2 is the first, Mon 12 the seventh.
        (ClaimsFrom.MONTH_END, "2027-04-12 22:00"),
    ],
)
def test_an_agreement_says_from_when_the_days_are_counted(start: ClaimsFrom, expected: str) -> None:
    case = replace(EASTER, down=("2027-03-24 09:00 > 2027-03-25 09:00",))
    assert until(case, claims_from=start) == moment(expected)


def test_another_outage_of_a_broken_month_begins_the_days_anew() -> None:
    # The claim is for the month, and its credit may be more for the second one.
    case = replace(EASTER, down=("2027-03-10 09:00 > 12:00", "2027-03-24 09:00 > 09:01"))
    assert until(case) == until(EASTER)


def test_an_outage_that_goes_on_has_no_deadline_yet() -> None:
    assert until(replace(EASTER, down=("2027-03-24 09:00 > now",), now="2027-03-24 12:00")) is None


# When it was broken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "expected"),
    [
        (("2026-11-10 10:00 + 86.4 min",), None),
        (("2026-11-10 10:00 > 12:00",), "2026-11-10 11:26:24"),
        (("2026-11-10 10:00 + 80 min", "2026-11-20 10:00 > 11:00"), "2026-11-20 10:06:24"),
        (("2026-11-10 10:00 + 86.4 min", "2026-11-20 10:00 > 11:00"), "2026-11-20 10:00"),
    ],
)
def test_it_is_broken_once_the_allowance_is_used_up(down: tuple[str, ...], expected: str | None) -> None:
    found = broken_at(Case("broken", down=down).settlement())
    assert found == (None if expected is None else moment(expected))


def test_in_february_the_percentage_is_broken_before_the_minutes_are() -> None:
    # 0.2 % of 28 days is 80.64 min.
    settlement = Case("February", "2026-02", down=("2026-02-10 10:00 + 84 min",)).settlement()
    assert broken_at(settlement) == moment("2026-02-10 11:20:38") + timedelta(milliseconds=400)


# Objections -----------------------------------------------------------------------------------------------------


def test_nothing_speaks_against_a_claim_on_the_seventh_business_day() -> None:
    assert against(claim("2027-04-06 21:59:59")) == ()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (claim("2027-04-06 22:00"), Objection.LATE),
        (claim("2027-03-24 10:00"), Objection.EARLY),
        (claim("2027-03-25 09:00", account=""), Objection.NO_ACCOUNT),
        (claim("2027-03-25 09:00", account="4712"), Objection.OTHER_ACCOUNT),
        (claim("2027-03-25 09:00", contact="mallory@example.org"), Objection.NOT_AUTHORISED),
        (claim("2027-03-25 09:00", in_arrears=True), Objection.ARREARS),
        (claim("2027-03-25 09:00", interval=between("2027-03-23 09:00 > 12:00")), Objection.OTHER_DOWNTIME),
    ],
)
def test_an_objection_is_told(made: Claim, expected: Objection) -> None:
    assert against(made) == (expected,)


def test_every_objection_is_told_at_once() -> None:
    late = claim("2027-04-10 09:00", account="", contact="mallory@example.org", in_arrears=True)
    expected = (Objection.LATE, Objection.NO_ACCOUNT, Objection.NOT_AUTHORISED, Objection.ARREARS)
    assert against(late) == expected


def test_a_contact_is_known_whatever_its_capitals() -> None:
    assert against(claim("2027-03-25 09:00", contact="Carol@Example.org")) == ()


def test_a_customer_without_contacts_and_account_has_nobody_refused() -> None:
    anybody = Customer("Example", "", frozenset(), BERLIN.zone)
    assert against(claim("2027-03-25 09:00", contact="dave", account="1"), customer=anybody) == ()


def test_a_month_that_earns_no_credit_has_nothing_to_claim() -> None:
    settlement_case = replace(EASTER, down=("2027-03-24 09:00 > 09:30",))
    assert against(claim("2027-03-25 09:00"), settlement_case) == (Objection.NO_CREDIT,)


def test_a_claim_reports_the_downtime_that_it_names() -> None:
    unreported = replace(EASTER, reported="none")
    told = replace(EASTER, reported=("2027-03-25 09:00: 2027-03-24 09:00 > 12:00",))
    (by_claim,) = told.history().reports
    assert replace(claim("2027-03-25 09:00").as_report, contact="carol") == by_claim
    settlements: list[Settlement] = [unreported.settlement(), told.settlement()]
    assert [each.verdict.credit for each in settlements] == [0, 5]
