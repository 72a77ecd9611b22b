"""Worked cases of an agreement, written as people write times: "2026-11-05 20:30 > 22:30"."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from fallback_mx.settlement.agreements import load
from fallback_mx.sla.days import month_of
from fallback_mx.sla.exclusions import Annotation, Category
from fallback_mx.sla.figures import cut
from fallback_mx.sla.intervals import Interval, difference, intersection, union
from fallback_mx.sla.reports import Report
from fallback_mx.sla.settling import History, Settlement, settle
from fallback_mx.sla.windows import Window

KERIO = load("kerio-cloud")
FOREVER = datetime.max.replace(tzinfo=UTC)
EVER = Interval(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def moment(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def between(text: str) -> Interval:
    """ "2026-11-05 20:30 > 22:30", "2026-12-31 23:00 > 2027-01-01 01:00", "… + 86.4 min", "… > now" for an open one."""
    if "+" in text:
        start, _, minutes = text.partition(" + ")
        length = timedelta(microseconds=int(Decimal(minutes.removesuffix(" min")) * 60_000_000))
        return Interval(moment(start), moment(start) + length)
    start, _, end = text.partition(" > ")
    if end == "now":
        return Interval(moment(start), FOREVER)
    return Interval(moment(start), moment(end if "-" in end else f"{start.partition(' ')[0]} {end}"))


@dataclass(frozen=True)
class Case:
    """`reported` is "all", "none", or reports as "arrival: times"; `now` is None for a month that is over."""

    name: str
    month: str = "2026-11"
    down: tuple[str, ...] = ()
    unwatched: tuple[str, ...] = ()
    maintenance: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    reported: tuple[str, ...] | str = "all"
    region: str = "none"
    zone: str = "UTC"
    now: str | None = None
    terms: dict[str, Any] = field(default_factory=dict)
    # What is expected.
    uptime: str = "100.000000"
    settled: str | None = None  # where it is not the raw one
    lowest: str | None = None  # where it is not the raw one
    allowance: str = "86.4"
    breach: bool = False
    credit: int = 0
    insufficient: bool = False

    @property
    def expected(self) -> dict[str, object]:
        return {
            "uptime": self.uptime,
            "settled": self.settled or self.uptime,
            "lowest": self.lowest or self.uptime,
            "allowance": Decimal(self.allowance),
            "breach": self.breach,
            "credit": self.credit,
            "insufficient": self.insufficient,
        }

    @property
    def found(self) -> dict[str, object]:
        settlement = self.settlement()
        return {
            "uptime": f"{cut(settlement.raw.percent):.6f}",
            "settled": f"{cut(settlement.settled.percent):.6f}",
            "lowest": f"{cut(settlement.raw.lowest_percent):.6f}",
            "allowance": cut(settlement.allowance / 60).normalize(),
            "breach": settlement.verdict.breach,
            "credit": settlement.verdict.credit,
            "insufficient": settlement.insufficient_data,
        }

    def settlement(self) -> Settlement:
        agreement = replace(KERIO, **self.terms)
        first = date.fromisoformat(f"{self.month}-01")
        month = month_of(first.year, first.month, ZoneInfo(agreement.time_zone))
        period = month if self.now is None else Interval(month.start, moment(self.now))
        return settle(agreement, self.region, month, period, self.history(), ZoneInfo(self.zone))

    def history(self) -> History:
        outages = tuple(between(text) for text in self.down)
        known = difference([EVER], (between(text) for text in self.unwatched))
        return History(
            outages=union(outages),
            down=intersection(union(outages), known),
            known=known,
            windows=tuple(_window(text) for text in self.maintenance),
            annotations=tuple(_annotations(self.excluded, self.withdrawn)),
            reports=tuple(self._reports(outages)),
        )

    def _reports(self, outages: tuple[Interval, ...]) -> list[Report]:
        if self.reported == "none":
            return []
        if self.reported == "all":
            return [Report("main", outage, "carol", outage.start) for outage in outages]
        split = (text.partition(": ") for text in self.reported)
        return [Report("main", between(times), "carol", moment(arrival)) for arrival, _, times in split]


def _window(text: str) -> Window:
    kind, _, times = text.partition(": ")
    return Window(between(times), kind, None, "a new disk", "root")


def _annotations(excluded: tuple[str, ...], withdrawn: tuple[str, ...]) -> list[Annotation]:
    made = []
    for number, text in enumerate((*excluded, *withdrawn)):
        category, _, times = text.partition(": ")
        at = moment("2026-12-01 09:00")
        made.append(Annotation(f"A{number}", "main", between(times), Category(category), "because", "root", at))
        if text in withdrawn:
            made.append(replace(made[-1], id=f"W{number}", withdraws=f"A{number}"))
    return made
