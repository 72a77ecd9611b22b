"""Worked cases of the shipped agreement: what its words come to, by hand.

Figures are cut after six decimals. November 2026 has 30 days, 43,200 minutes, and 99.8 % of that is up when 86.4
minutes are down. A case says only what is not the usual: all downtime reported at once, no weekly window,
a watch without gaps.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from fallback_mx.sla.agreement import Allowance, Denominator, Rounding, ScheduledMaintenance, StandingWindows
from fallback_mx.sla.exclusions import Category
from tests.fakes.settled import Case

MINUTE = timedelta(minutes=1)

CASES = [
    # --- "99.8 % uptime in a calendar month", "no more than 86.4 minutes" -------------------------------------------
    Case("no downtime"),
    # 86.4 ÷ 43,200 = 0.2 % exactly: "no more than 86.4 minutes" is kept, and 99.8 is "99.8 and above".
    Case("86.4 minutes", down=("2026-11-10 10:00 + 86.4 min",), uptime="99.800000"),
    # One microsecond of 2,592,000 s more: 99.8 less 0.00000000004; shown cut, so not as 99.8.
    Case("86.4 minutes and a microsecond", down=("2026-11-10 10:00 > 11:26:24.000001",),
         uptime="99.799999", breach=True, credit=5),
    # 5,185 s ÷ 2,592,000 s = 0.20003858…%
    Case("86.4 minutes and a second", down=("2026-11-10 10:00 > 11:26:25",), uptime="99.799961", breach=True, credit=5),
    # The month's downtime is one sum: 43.2 + 43.2 is 86.4, and not more.
    Case("two outages of 43.2 minutes", down=("2026-11-10 10:00 + 43.2 min", "2026-11-20 10:00 + 43.2 min"),
         uptime="99.800000"),
    # Two nodes that saw the same outage saw one: 10:00 to 11:30 is 90 min; 90 ÷ 43,200 = 0.208333…%
    Case("two spans that overlap", down=("2026-11-10 10:00 > 11:00", "2026-11-10 10:30 > 11:30"),
         uptime="99.791666", breach=True, credit=5),

    # --- the ladder, holes and edges: "5 % down to 95; 20 % down to 90; 50 % down to 80; 100 % below" ---------------
    # 0.25 % of 43,200 = 108 min. The published table has nothing between 99.7 and 99.8: below 99.8 is below 99.8.
    Case("99.75 %", down=("2026-11-10 10:00 + 108 min",), uptime="99.750000", breach=True, credit=5),
    # 5 % of 43,200 = 2,160 min: "down to 95" has 95 in it.
    Case("95 %", down=("2026-11-10 10:00 + 2160 min",), uptime="95.000000", breach=True, credit=5),
    # 5.05 % = 2,181.6 min: in the table's hole between 94.9 and 95; below 95 is the next step, for the customer.
    Case("94.95 %", down=("2026-11-10 10:00 + 2181.6 min",), uptime="94.950000", breach=True, credit=20),
    # 10 % = 4,320 min
    Case("90 %", down=("2026-11-10 10:00 + 4320 min",), uptime="90.000000", breach=True, credit=20),
    # 10.05 % = 4,341.6 min
    Case("89.95 %", down=("2026-11-10 10:00 + 4341.6 min",), uptime="89.950000", breach=True, credit=50),
    # 20 % = 8,640 min
    Case("80 %", down=("2026-11-10 10:00 + 8640 min",), uptime="80.000000", breach=True, credit=50),
    # 518,401 s ÷ 2,592,000 s = 20.0000385…%
    Case("a second below 80 %", down=("2026-11-10 10:00 > 2026-11-16 10:00:01",),
         uptime="79.999961", breach=True, credit=100),
    Case("down all month", down=("2026-11-01 00:00 > 2026-12-01 00:00",), uptime="0.000000", breach=True, credit=100),
    # Four Thursdays (5, 12, 19, 26) with an hour of maintenance each: 4 h of 720 are not counted. 4 ÷ 720 = 0.5555…%
    Case("down all month, with weekly windows", region="cloud/EU", down=("2026-11-01 00:00 > 2026-12-01 00:00",),
         uptime="0.555555", breach=True, credit=100),

    # --- months that have not 30 days: the minutes are fixed, the percentage is of the month ------------------------
    # 28 days, 40,320 min: 0.2 % is 80.64 min.
    Case("February, 80.64 minutes", "2026-02", down=("2026-02-10 10:00 + 80.64 min",), uptime="99.800000"),
    # 84 ÷ 40,320 = 0.208333…%: below 99.8, so 5 % of the fees, though within 86.4 minutes.
    Case("February, 84 minutes", "2026-02", down=("2026-02-10 10:00 + 84 min",), uptime="99.791666", credit=5),
    # The same by the month's own share: more than 80.64 min.
    Case("February, 84 minutes, proportional", "2026-02", down=("2026-02-10 10:00 + 84 min",),
         terms={"allowance": Allowance.PROPORTIONAL}, allowance="80.64", uptime="99.791666", breach=True, credit=5),
    # 29 days, 41,760 min: 0.2 % is 83.52 min.
    Case("29 February", "2028-02", down=("2028-02-29 10:00 + 83.52 min",),
         terms={"allowance": Allowance.PROPORTIONAL}, allowance="83.52", uptime="99.800000"),
    # 31 days, 44,640 min: 88 ÷ 44,640 = 0.197132…%: above 99.8, so no credit, though more than 86.4 minutes.
    Case("October, 88 minutes", "2026-10", down=("2026-10-10 10:00 + 88 min",), uptime="99.802867", breach=True),
    # 0.2 % of 44,640 = 89.28 min.
    Case("October, 88 minutes, proportional", "2026-10", down=("2026-10-10 10:00 + 88 min",),
         terms={"allowance": Allowance.PROPORTIONAL}, allowance="89.28", uptime="99.802867"),
    # March in Prague loses an hour: 743 h = 44,580 min, of which 0.2 % is 89.16 min.
    Case("March with summer time", "2026-03", down=("2026-03-10 10:00 + 89.16 min",),
         terms={"time_zone": "Europe/Prague", "allowance": Allowance.PROPORTIONAL}, allowance="89.16",
         uptime="99.800000"),
    # October in Prague gains one: 745 h = 44,700 min; 89.4 min.
    Case("October with winter time", "2026-10", down=("2026-10-25 00:30 + 89.4 min",),
         terms={"time_zone": "Europe/Prague", "allowance": Allowance.PROPORTIONAL}, allowance="89.4",
         uptime="99.800000"),
    # December in Prague is over at 23:00 UTC: half of this hour is in it. 30 ÷ 44,640 = 0.067204…%
    Case("the end of a month elsewhere", "2026-12", down=("2026-12-31 22:30 > 23:30",),
         terms={"time_zone": "Europe/Prague"}, uptime="99.932795"),

    # --- over New Year: each calendar month has its own part --------------------------------------------------------
    # 60 ÷ 44,640 = 0.134408…%: two hours, and neither month is below 99.8.
    Case("two hours over New Year, December", "2026-12", down=("2026-12-31 23:00 > 2027-01-01 01:00",),
         uptime="99.865591"),
    Case("two hours over New Year, January", "2027-01", down=("2026-12-31 23:00 > 2027-01-01 01:00",),
         uptime="99.865591"),
    # 120 ÷ 44,640 = 0.268817…%
    Case("three hours over New Year, January", "2027-01", down=("2026-12-31 23:00 > 2027-01-01 02:00",),
         uptime="99.731182", breach=True, credit=5),

    # --- the weekly windows: Thursday 20:00 UTC (EU), Friday 07:00 UTC (USA), 60 minutes at most --------------------
    # 20:30 to 21:00 is maintenance, 21:00 to 22:30 is 90 min.
    Case("an outage that begins in a window", region="cloud/EU", down=("2026-11-05 20:30 > 22:30",),
         uptime="99.791666", breach=True, credit=5),
    # 19:00 to 20:00 counts: 60 ÷ 43,200 = 0.138888…%
    Case("an outage that ends in a window", region="cloud/EU", down=("2026-11-05 19:00 > 20:30",), uptime="99.861111"),
    # 30 min before and 30 min after.
    Case("an outage around a window", region="cloud/EU", down=("2026-11-05 19:30 > 21:30",), uptime="99.861111"),
    Case("the window of another region", region="cloud/USA", down=("2026-11-05 20:00 > 21:00",), uptime="99.861111"),
    Case("Friday in America", region="cloud/USA", down=("2026-11-06 07:00 > 08:00",)),
    # Private servers have theirs at 20:30: of 20:00 to 21:30 only the first half hour counts. 30 ÷ 43,200 = 0.069444…%
    Case("a private server's window", region="private/EU", down=("2026-11-05 20:00 > 21:30",), uptime="99.930555"),
    Case("a private server's window in America", region="private/USA", down=("2026-11-06 07:30 > 08:30",)),
    # "What results from maintenance": read strictly, a window in which nobody worked excludes nothing.
    Case("a window that was not used, read strictly", region="cloud/EU", down=("2026-11-05 20:00 > 21:00",),
         terms={"standing_windows": StandingWindows.ANNOUNCED}, uptime="99.861111"),
    Case("a window that was used, read strictly", region="cloud/EU", down=("2026-11-05 20:00 > 21:00",),
         maintenance=("scheduled: 2026-11-05 20:00 > 21:00",), terms={"standing_windows": StandingWindows.ANNOUNCED}),

    # --- maintenance that was recorded ------------------------------------------------------------------------------
    Case("60 minutes of maintenance", down=("2026-11-10 10:00 > 11:00",),
         maintenance=("scheduled: 2026-11-10 10:00 > 11:00",)),
    # "60 minutes at most each": the 61st counts. 1 ÷ 43,200 = 0.002314…%
    Case("61 minutes of maintenance", down=("2026-11-10 10:00 > 11:01",),
         maintenance=("scheduled: 2026-11-10 10:00 > 11:01",), uptime="99.997685"),
    # Written down as two windows it is still one of 90 minutes: 30 count. 30 ÷ 43,200 = 0.069444…%
    Case("maintenance in two pieces", down=("2026-11-10 10:00 > 11:30",),
         maintenance=("scheduled: 2026-11-10 10:00 > 10:45", "scheduled: 2026-11-10 10:45 > 11:30"),
         uptime="99.930555"),
    # Maintenance on two days is two: 60 minutes each.
    Case("maintenance on two days", down=("2026-11-10 10:00 > 11:00", "2026-11-11 10:00 > 11:00"),
         maintenance=("scheduled: 2026-11-10 10:00 > 11:00", "scheduled: 2026-11-11 10:00 > 11:00")),
    # Only scheduled maintenance has a limit.
    Case("three hours of emergency maintenance", down=("2026-11-10 10:00 > 13:00",),
         maintenance=("emergency: 2026-11-10 10:00 > 13:00",)),
    Case("five hours that the customer asked for", down=("2026-11-10 10:00 > 15:00",),
         maintenance=("customer: 2026-11-10 10:00 > 15:00",)),
    # 13:00 to 15:00 remains: 120 ÷ 43,200 = 0.277777…%
    Case("maintenance that ends in an outage", down=("2026-11-10 10:00 > 15:00",),
         maintenance=("emergency: 2026-11-10 10:00 > 13:00",), uptime="99.722222", breach=True, credit=5),
    # An agreement that knows maintenance in its weekly windows alone.
    Case("maintenance outside the weekly windows, where that counts", down=("2026-11-10 10:00 > 11:00",),
         region="cloud/EU",
         maintenance=("scheduled: 2026-11-10 10:00 > 11:00",),
         terms={"scheduled_maintenance": ScheduledMaintenance.WEEKLY}, uptime="99.861111"),

    # --- what an operator's annotation takes out --------------------------------------------------------------------
    Case("a false alarm", down=("2026-11-10 10:00 > 15:00",), excluded=("false_alarm: 2026-11-10 10:00 > 15:00",)),
    # 3 h of 5 are taken out; 120 min remain.
    Case("DNS for a part of it", down=("2026-11-10 10:00 > 15:00",), excluded=("dns: 2026-11-10 10:00 > 13:00",),
         uptime="99.722222", breach=True, credit=5),
    Case("what the agreement does not list", down=("2026-11-10 10:00 > 12:00",),
         excluded=("customer_acts: 2026-11-10 10:00 > 12:00",), terms={"excluded": frozenset({Category.DNS})},
         uptime="99.722222", breach=True, credit=5),
    Case("an annotation that was withdrawn", down=("2026-11-10 10:00 > 12:00",),
         withdrawn=("false_alarm: 2026-11-10 10:00 > 12:00",), uptime="99.722222", breach=True, credit=5),

    # --- time that nobody watched: neither up nor down --------------------------------------------------------------
    # An hour may have been down: 60 < 86.4 either way. 60 ÷ 43,200 = 0.138888…%
    Case("an hour unwatched", unwatched=("2026-11-10 10:00 > 11:00",), lowest="99.861111"),
    # 80 min down, perhaps 90: 99.8148… or 99.7916…, which are two steps.
    Case("down for 80 minutes and unwatched for ten", down=("2026-11-10 10:00 > 11:20",),
         unwatched=("2026-11-12 10:00 > 10:10",),
         uptime="99.814814", lowest="99.791666", insufficient=True),
    # Of 10:00 to 12:00 the middle hour was unwatched: 60 min down, perhaps 120.
    Case("unwatched in the middle of an outage", down=("2026-11-10 10:00 > 12:00",),
         unwatched=("2026-11-10 10:30 > 11:30",),
         uptime="99.861111", lowest="99.722222", insufficient=True),
    Case("nobody watched all month", unwatched=("2026-11-01 00:00 > 2026-12-01 00:00",), lowest="0.000000",
         insufficient=True),
    # Maintenance goes before unknown: nothing is open.
    Case("unwatched during maintenance", region="cloud/EU", unwatched=("2026-11-05 20:00 > 21:00",)),

    # --- a month that goes on ---------------------------------------------------------------------------------------
    # Two hours so far, of the whole month: 120 ÷ 43,200.
    Case("an outage that goes on", down=("2026-11-10 12:00 > now",), now="2026-11-10 14:00",
         uptime="99.722222", breach=True, credit=5),
    # Of what has passed of it: 9 days 14 h = 13,800 min. 120 ÷ 13,800 = 0.869565…%
    Case("an outage that goes on, of the month so far", down=("2026-11-10 12:00 > now",), now="2026-11-10 14:00",
         terms={"denominator": Denominator.PERIOD}, uptime="99.130434", breach=True, credit=5),

    # --- what downtime is divided by --------------------------------------------------------------------------------
    # Four hours of maintenance leave 42,960 min: 86.4 ÷ 42,960 = 0.201117…%: below 99.8 within 86.4 minutes.
    Case("of the time in service", region="cloud/EU", down=("2026-11-10 10:00 + 86.4 min",),
         terms={"denominator": Denominator.IN_SERVICE}, uptime="99.798882", credit=5),
    # 0.2 % of 42,960 = 85.92 min.
    Case("of the time in service, proportional", region="cloud/EU", down=("2026-11-10 10:00 + 85.92 min",),
         terms={"denominator": Denominator.IN_SERVICE, "allowance": Allowance.PROPORTIONAL},
         allowance="85.92", uptime="99.800000"),
    Case("maintenance all month", maintenance=("customer: 2026-11-01 00:00 > 2026-12-01 00:00",),
         terms={"denominator": Denominator.IN_SERVICE}),

    # --- what the step is decided on --------------------------------------------------------------------------------
    # 86.6 ÷ 43,200 = 0.200462…%: 99.7995…, which two decimals make 99.80 where they are rounded and 99.79 where cut.
    Case("rounded to two decimals", down=("2026-11-10 10:00 + 86.6 min",),
         terms={"rounding": Rounding.HALF_UP, "decimals": 2}, uptime="99.799537", breach=True),
    Case("cut to two decimals", down=("2026-11-10 10:00 + 86.6 min",),
         terms={"rounding": Rounding.CUT, "decimals": 2}, uptime="99.799537", breach=True, credit=5),

    # --- "only if reported within five days" ------------------------------------------------------------------------
    # The raw figure has the two hours, the settled one has not.
    Case("reported by nobody", down=("2026-11-10 10:00 > 12:00",), reported="none", uptime="99.722222",
         settled="100.000000"),
    Case("reported by nobody, where that is not asked for", down=("2026-11-10 10:00 > 12:00",), reported="none",
         terms={"settled_requires_report": False}, uptime="99.722222", breach=True, credit=5),
    # The 10th does not count; the fifth day is the 15th, to its end.
    Case("reported on the fifth day", down=("2026-11-10 10:00 > 12:00",),
         reported=("2026-11-15 23:59:59: 2026-11-10 10:15 > 10:20",),
         uptime="99.722222", breach=True, credit=5),
    Case("reported on the sixth day", down=("2026-11-10 10:00 > 12:00",),
         reported=("2026-11-16 00:00: 2026-11-10 10:15 > 10:20",),
         uptime="99.722222", settled="100.000000"),
    # It ended on the 11th at half past midnight in Prague: there the fifth day is the 16th, over at 23:00 UTC.
    Case("reported on the customer's fifth day", zone="Europe/Prague", down=("2026-11-10 21:30 > 23:30",),
         reported=("2026-11-16 22:59: 2026-11-10 22:00 > 22:00",), uptime="99.722222", breach=True, credit=5),
    # 120 + 30 min down, 120 reported: 150 ÷ 43,200 = 0.347222…%, 120 ÷ 43,200 = 0.277777…%
    Case("one of two outages reported", down=("2026-11-10 10:00 > 12:00", "2026-11-20 10:00 > 10:30"),
         reported=("2026-11-10 10:30: 2026-11-10 10:30 > 10:30",), uptime="99.652777", settled="99.722222",
         breach=True, credit=5),
    # An outage over the end of a month is one: a report of its part in December makes January's count.
    Case("reported in December, down in January", "2027-01", down=("2026-12-31 23:00 > 2027-01-01 02:00",),
         reported=("2026-12-31 23:10: 2026-12-31 23:00 > 23:10",), uptime="99.731182", breach=True, credit=5),
]  # fmt: skip


def test_there_are_at_least_forty_cases_each_with_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_comes_to_what_the_agreement_says(case: Case) -> None:
    assert case.found == case.expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_parts_of_a_case_are_its_period(case: Case) -> None:
    division = case.settlement().division
    assert division.parts.total == division.period.length
