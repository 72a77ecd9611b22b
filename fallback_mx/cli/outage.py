"""`fallback-mx outage list`: the record of outages, of slow and of unknown time, and what share of a month each primary
was up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from fallback_mx.cli import outage_annotate, outage_files, outage_show
from fallback_mx.cli.exits import DONE, NOTHING_MATCHED, complain
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, print_table, say, short
from fallback_mx.cli.status import percent
from fallback_mx.spoken import duration
from fallback_mx.visible import impersonal

if TYPE_CHECKING:
    from fallback_mx.outages.gaps import Unknown
    from fallback_mx.outages.spans import Span
    from fallback_mx.sla.intervals import Interval
    from fallback_mx.sla.uptime import Uptime

SPAN_COLUMNS = ("PRIMARY", "KIND", "START", "END", "DURATION", "CAUSE", "ID")
UPTIME_COLUMNS = ("PRIMARY", "UP", "DOWN", "UNKNOWN", "AVAILABLE")
_MONTH = re.compile(r"(\d{4})-(\d{2})")


@click.group()
@config_option
@json_option_of_group
def outage() -> None:
    """Look at the record of outages.

    \b
    Examples:
      fallback-mx outage list --month 2026-11
      fallback-mx outage show 01KB2Q8GZ4
      fallback-mx outage export > outages.jsonl
    """


outage_show.register(outage)
outage.add_command(outage_annotate.annotate)
outage.add_command(outage_annotate.list_)
outage_files.register(outage)


@outage.command("list", short_help="List the outages of a month, and how much of it was up.")
@config_option
@json_option
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--month", metavar="YYYY-MM", help="The calendar month (UTC); otherwise the current one.")
@click.option("--blips", is_flag=True, help="Also failures that were over before they counted as an outage.")
def list_(primary: str | None, month: str | None, blips: bool, as_json: bool) -> int:
    """List the outages that reach into a month, and the share of it that each primary was up.

    Times are UTC. A span starts at the first failed look and ends at the first good one. KIND is outage; slow, for
    answers that took longer than `slow_after`; port, for a closed one of its other ports; or unknown, for time in which
    nobody watched, with why. Only an outage is down, and unknown is neither up nor down. With --json a line for each of
    them, then one for each primary's month.

    \b
    Examples:
      fallback-mx outage list
      fallback-mx outage list --primary main --month 2026-11 --blips
      fallback-mx outage list --json | jq 'select(.kind == "uptime")'
    """
    from fallback_mx.outages.forms import span_json, unknown_json
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.outages.spans import Kind
    from fallback_mx.status import patience, uptime_json

    period = _period(month, datetime.now(UTC))
    with opened() as (store, settings):
        log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
        found = log.list_spans(primary, period.start, blips=blips, kinds=tuple(Kind)).result()
        spans = [span for span in found if span.started_at < period.end and (blips or span.confirmed_at is not None)]
        names = dict.fromkeys([*(one.name for one in settings.primaries), *(span.primary for span in spans)])
        wanted = [name for name in names if primary in (None, name)]
        uptimes = {name: log.uptime(name, period).result() for name in wanted}
        waits = {one.name: patience(one.interval) for one in settings.primaries}
        unknown = [
            (name, piece)
            for name in wanted
            for piece in log.unknown(name, period).result()
            if not _is_about_to_be_seen(piece, period, waits.get(name, timedelta(0)))
        ]
    if not wanted:
        complain(f"no primary is called {primary}; there are {', '.join(names)}")
        return NOTHING_MATCHED
    if as_json:
        for span in spans:
            print_json({"kind": span.kind.value} | span_json(span))
        for name, piece in unknown:
            print_json({"kind": "unknown"} | unknown_json(name, piece))
        for name, uptime in uptimes.items():
            print_json({"kind": "uptime", "primary": name} | uptime_json(uptime))
    else:
        _print(spans, unknown, uptimes, period)
    return DONE


def _is_about_to_be_seen(piece: Unknown, period: Interval, patience: timedelta) -> bool:
    """The time since the last look, while the next one is not yet due to be on record."""
    return piece.cause is None and piece.interval.end == period.end and piece.interval.length <= patience


def _period(month: str | None, now: datetime) -> Interval:
    """The month, no further than now: what is to come is not unknown, it is not there."""
    from fallback_mx.sla.intervals import Interval
    from fallback_mx.status import month_until

    if month is None:
        return month_until(now)
    found = _MONTH.fullmatch(month)
    if found is None or not 1 <= int(found[2]) <= 12 or not 1 <= int(found[1]) <= 9998:
        raise click.UsageError(f"--month {month} is not a month. Write it as 2026-11.")
    year, number = int(found[1]), int(found[2])
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    if start > now:
        raise click.UsageError(f"--month {month} has not begun.")
    return Interval(start, min(end, now))


def _print(
    spans: Sequence[Span], unknown: Sequence[tuple[str, Unknown]], uptimes: dict[str, Uptime], period: Interval
) -> None:
    if not any(span.kind.value == "outage" for span in spans):
        say(f"No outage from {short(period.start)} to {short(period.end)}.")
    told = [(span.started_at, _span_row(span)) for span in spans]
    told += [(piece.interval.start, _unknown_row(name, piece)) for name, piece in unknown]
    if told:
        rows = [row for _, row in sorted(told)]
        print_table(SPAN_COLUMNS, rows, right=("DURATION",), fixed=("KIND", "START", "END", "ID"))
    click.echo()
    figures = [
        (name, duration(one.up), duration(one.down), duration(one.unknown), percent(one))
        for name, one in uptimes.items()
    ]
    say(f"From {short(period.start)} to {short(period.end)}; unknown is when nobody watched:")
    print_table(UPTIME_COLUMNS, figures, right=UPTIME_COLUMNS[1:])


def _span_row(span: Span) -> tuple[str, ...]:
    length = duration(datetime.now(UTC) - span.started_at if span.ended_at is None else span.interval.length)
    kind = " (not confirmed)" if span.confirmed_at is None else ""
    where = f"port {span.subject}" if span.subject else span.cause_phase
    cause = f"{where}: {impersonal(span.cause_detail)}{kind}"
    end = short(span.ended_at) or "goes on"
    return (span.primary, span.kind.value, short(span.started_at), end, length, cause, span.id)


def _unknown_row(name: str, piece: Unknown) -> tuple[str, ...]:
    start, end = piece.interval.start, piece.interval.end
    return (name, "unknown", short(start), short(end), duration(end - start), impersonal(piece.words), "")
