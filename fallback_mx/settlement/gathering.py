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
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection, union
from fallback_mx.sla.maintenance import Reason
from fallback_mx.sla.settling import History
from fallback_mx.sla.windows import Window

V = TypeVar("V")

# An outage over the end of a month is one: what came before and what touches it is looked at, too.
BEFORE = timedelta(days=31)
# A node that has written nothing for so long no longer watches: what it left open, it saw no more of.
_SILENCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Record:
    """What is on record of one primary: `history` is what settling takes, the rest what it is explained with.

    `unwatched` says of times why nobody watched, as far as anybody knows.
    """

    primary: str
    history: History
    spans: tuple[Span, ...] = ()
    unwatched: tuple[Reason, ...] = ()
    reports: tuple[ReportEntry, ...] = ()
    claims: tuple[ClaimEntry, ...] = ()


def records(
    log: OutageLog,
    book: SettlementBook,
    primaries: Collection[str],
    period: Interval,
    now: datetime,
    windows: Mapping[str, Sequence[Window]] | None = None,
    unwatched: Mapping[str, Sequence[Reason]] | None = None,
) -> dict[str, Record]:
    """The record of each of these primaries, as far as it may matter for `period`.

    `windows` are the maintenance of each; those that touch one in the period are wanted too. `unwatched` says why
    nobody watched; it explains and decides nothing.
    """
    since = period.start - BEFORE
    watched = Interval(since, max(now, period.end))
    # One after the other: two threads that make rows into values keep each other waiting.
    only = next(iter(primaries)) if len(primaries) == 1 else None
    watches = {only: log.list_watches(only, watched).result()} if only else log.watches_of_all(watched).result()
    outages = _by_primary(((span.primary, span) for span in log.list_spans(only, since).result()), primaries)
    annotations = _by_primary(((one.primary, one) for one in book.annotations(only).result()), primaries)
    reports = _by_primary(((one.report.primary, one) for one in book.reports(only).result()), primaries)
    claims = _by_primary(((one.claim.primary, one) for one in book.claims(only).result()), primaries)
    return {
        name: _record(
            name,
            [span for span in outages[name] if span.started_at < period.end],
            watches.get(name, ()),
            now,
            tuple((windows or {}).get(name, ())),
            tuple((unwatched or {}).get(name, ())),
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
    unwatched: tuple[Reason, ...],
    annotations: tuple[Annotation, ...],
    reports: tuple[ReportEntry, ...],
    claims: tuple[ClaimEntry, ...],
) -> Record:
    last_seen: dict[str, datetime] = {}
    for watch in watches:
        last_seen[watch.node] = max(watch.ended_at, last_seen.get(watch.node, watch.ended_at))
    seen = [_as_seen(span, last_seen.get(span.node), now) for span in found]
    confirmed = tuple(span for span in seen if span.confirmed_at is not None)
    watched = {node: union(one.interval for one in watches if one.node == node) for node in last_seen}
    history = History(
        union(span.interval for span in confirmed),
        union(*(_down(confirmed, node, when) for node, when in watched.items())),
        spans.decided(seen, union(*watched.values())),
        windows,
        annotations,
        (*(entry.report for entry in reports), *(entry.claim.as_report for entry in claims)),
    )
    return Record(name, history, confirmed, unwatched, reports, claims)


def _down(confirmed: Sequence[Span], node: str, watched: IntervalSet) -> IntervalSet:
    """As `spans.down` has it: a span counts only where its own node watched."""
    return intersection((span.interval for span in confirmed if span.node == node), watched)


def _as_seen(span: Span, last_seen: datetime | None, now: datetime) -> Span:
    """A span that its node left open when it went away, ended where that node looked last."""
    if not span.is_open:
        return span
    last = max(span.started_at, last_seen or span.started_at)
    return span if now - last < _SILENCE else replace(span, ended_at=last)
