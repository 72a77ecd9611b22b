"""Everything on record that a settlement needs, of many primaries at once and for any stretch of time.

Raises QueueError where the database does not answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from fallback_mx.outages import spans
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.settlement.entries import ClaimEntry, ReportEntry
from fallback_mx.sla.exclusions import Annotation
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.settling import History
from fallback_mx.sla.windows import Window

V = TypeVar("V")

# An outage over the end of a month is one: what came before and what touches it is looked at, too.
BEFORE = timedelta(days=31)
# A node that has written nothing for so long no longer watches: what it left open, it saw no more of.
_SILENCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Record:
    """What is on record of one primary: `history` is what settling takes, the rest what it is explained with."""

    primary: str
    history: History
    spans: tuple[Span, ...] = ()
    reports: tuple[ReportEntry, ...] = ()
    claims: tuple[ClaimEntry, ...] = ()


def records(
    log: OutageLog,
    book: SettlementBook,
    primaries: Collection[str],
    period: Interval,
    now: datetime,
    windows: Mapping[str, Sequence[Window]] | None = None,
) -> dict[str, Record]:
    """The record of each of these primaries, as far as it may matter for `period`.

    `windows` are the maintenance of each; those that touch one in the period are wanted too.
    """
    since = period.start - BEFORE
    # Asked for together: each waits for its turn at the database alone.
    listing = log.list_spans(since=since)
    watching = {name: log.list_watches(name, Interval(since, max(now, period.end))) for name in primaries}
    annotating, reporting, claiming = book.annotations(), book.reports(), book.claims()
    outages = _by_primary(((span.primary, span) for span in listing.result()), primaries)
    annotations = _by_primary(((one.primary, one) for one in annotating.result()), primaries)
    reports = _by_primary(((one.report.primary, one) for one in reporting.result()), primaries)
    claims = _by_primary(((one.claim.primary, one) for one in claiming.result()), primaries)
    return {
        name: _record(
            name,
            [span for span in outages[name] if span.started_at < period.end],
            watching[name].result(),
            now,
            tuple((windows or {}).get(name, ())),
            tuple(annotations[name]),
            tuple(reports[name]),
            tuple(claims[name]),
        )
        for name in primaries
    }


def _by_primary(pairs: Iterable[tuple[str, V]], primaries: Collection[str]) -> dict[str, list[V]]:
    found: dict[str, list[V]] = {name: [] for name in primaries}
    for name, value in pairs:
        if name in found:
            found[name].append(value)
    return found


def _record(
    name: str,
    found: Sequence[Span],
    watches: Sequence[Watch],
    now: datetime,
    windows: tuple[Window, ...],
    annotations: tuple[Annotation, ...],
    reports: tuple[ReportEntry, ...],
    claims: tuple[ClaimEntry, ...],
) -> Record:
    last_seen: dict[str, datetime] = {}
    for watch in watches:
        last_seen[watch.node] = max(watch.ended_at, last_seen.get(watch.node, watch.ended_at))
    seen = [_as_seen(span, last_seen.get(span.node), now) for span in found]
    confirmed = tuple(span for span in seen if span.confirmed_at is not None)
    known = spans.decided(seen, spans.watched(watches))
    history = History(
        tuple(span.interval for span in confirmed),
        spans.down(confirmed, watches),
        known,
        windows,
        annotations,
        (*(entry.report for entry in reports), *(entry.claim.as_report for entry in claims)),
    )
    return Record(name, history, confirmed, reports, claims)


def _as_seen(span: Span, last_seen: datetime | None, now: datetime) -> Span:
    """A span that its node left open when it went away, ended where that node looked last."""
    if not span.is_open:
        return span
    last = max(span.started_at, last_seen or span.started_at)
    return span if now - last < _SILENCE else replace(span, ended_at=last)
