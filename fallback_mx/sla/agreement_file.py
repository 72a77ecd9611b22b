"""Reads an agreement from TOML. Either every line is good, or AgreementError tells everything that is wrong at once.

Numbers are read as decimals and kept as fractions: 99.8 is exactly that.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from fallback_mx.sla import ladder
from fallback_mx.sla.agreement import (
    Agreement,
    Allowance,
    ClaimsFrom,
    Denominator,
    Rounding,
    ScheduledMaintenance,
    StandingWindows,
    Weekly,
)
from fallback_mx.sla.agreement_values import Fields, quoted
from fallback_mx.sla.exclusions import Category
from fallback_mx.sla.flaws import AgreementError, Flaw
from fallback_mx.sla.ladder import Step

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)")


def read(text: str, source: str, shipped: Mapping[str, str] | None = None) -> Agreement:
    """The agreement in `text`; `source` names it in errors. `shipped` are the texts that `based_on` may name.

    Raises AgreementError.
    """
    raw = _tables(text, source)
    based_on = raw.pop("based_on", None)
    if based_on is not None:
        known = shipped or {}
        if based_on not in known:
            names = " or ".join(f'"{name}"' for name in known) or "nothing"
            raise AgreementError(source, [Flaw("based_on", f"{quoted(based_on)} is not known here", f"write {names}")])
        raw = _tables(known[based_on], based_on) | raw
    flaws: list[Flaw] = []
    fields = Fields(raw, "", flaws)
    agreement = _agreement(fields, flaws)
    fields.nothing_else()
    if flaws:
        raise AgreementError(source, flaws)
    return agreement


def _tables(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        place = f"line {found[1]}, column {found[2]}" if found else "the end of the file"
        wrong = _PLACE.sub("", str(error)).replace("\\n", "line end")
        flaw = Flaw(
            place, wrong[:1].lower() + wrong[1:], 'write KEY = VALUE, text in double quotes, for example name = "own"'
        )
        raise AgreementError(source, [flaw]) from None


def _agreement(fields: Fields, flaws: list[Flaw]) -> Agreement:
    requires = fields.table("require_report", {"raw": False, "settled": True})
    agreement = Agreement(
        name=fields.text("name", "own"),
        title=fields.text("title", "Our service level agreement"),
        time_zone=_time_zone(fields, flaws),
        target=fields.percent("target", "99.8"),
        allowance=fields.choice("allowance", Allowance),
        fixed_allowance=fields.minutes("allowance_minutes", "86.4"),
        denominator=fields.choice("denominator", Denominator),
        rounding=fields.choice("rounding", Rounding),
        decimals=fields.whole("decimals", "6", 0, 12),
        steps=_steps(fields, flaws),
        weekly=_weekly(fields),
        standing_windows=fields.choice("standing_windows", StandingWindows),
        scheduled_maintenance=fields.choice("scheduled_maintenance", ScheduledMaintenance),
        longest_maintenance=fields.minutes("longest_maintenance_minutes", "60"),
        excluded=frozenset(fields.choices("excluded", Category)),
        report_within_days=fields.whole("report_within_days", "5", 0, 3660),
        raw_requires_report=requires.flag("raw"),
        settled_requires_report=requires.flag("settled"),
        claim_within_business_days=fields.whole("claim_within_business_days", "7", 0, 3660),
        claims_from=fields.choice("claims_from", ClaimsFrom),
        credit_terms=fields.text("credit_terms", "Of the fees of that month, on the next month's bill."),
    )
    requires.nothing_else()
    if agreement.longest_maintenance > timedelta(days=7):
        # Weekly windows would overlap themselves.
        flaws.append(Flaw("longest_maintenance_minutes", "is longer than a week", "write 10080 or less"))
    return agreement


def _time_zone(fields: Fields, flaws: list[Flaw]) -> str:
    name = fields.text("time_zone", "UTC")
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, OSError, ValueError):
        # A name that is none, one that is a directory, one that leads out of the zones.
        flaws.append(Flaw("time_zone", f'"{name}" is not a time zone', 'write a name such as "UTC" or "Europe/Prague"'))
    return name


def _steps(fields: Fields, flaws: list[Flaw]) -> tuple[Step, ...]:
    before = len(flaws)
    steps = []
    for table in fields.tables("step"):
        floor = table.percent("from", "95") if "from" in table else Fraction(0)
        below = table.percent("below", "99.8") if "below" in table else None
        step = Step(floor, below, table.percent("credit", "5"))
        if below is not None and below <= floor:
            flaws.append(Flaw(f"{table.key}.below", "is not above its from", "write the larger of the two as below"))
        table.nothing_else()
        steps.append(step)
    if len(flaws) == before:
        # Numbers that could not be read would be told of twice.
        flaws += ladder.flaws(steps)
    return tuple(sorted(steps, key=lambda step: step.floor, reverse=True))


def _weekly(fields: Fields) -> tuple[Weekly, ...]:
    windows = []
    for table in fields.tables("weekly"):
        day = table.one_of("day", DAYS)
        windows.append(Weekly(table.text("region", "cloud/EU"), DAYS.index(day), table.time_of_day("at")))
        table.nothing_else()
    return tuple(windows)
