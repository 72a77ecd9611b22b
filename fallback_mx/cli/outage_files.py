"""`fallback-mx outage import|export`: the record as JSON Lines, in and out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.cli.times import read_month
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.outages.spans import Span, Watch
    from fallback_mx.sla.intervals import Interval

T = TypeVar("T")
WRITTEN_TOGETHER = 500


def register(group: click.Group) -> None:
    group.add_command(import_)
    group.add_command(export)


@click.command("import", short_help="Read outages, or watched time, from JSON Lines.")
@config_option
@json_option
@click.option("--coverage", is_flag=True, help="The lines are times that were watched, not outages.")
@click.argument("file", metavar="[FILE]", type=click.File("r", encoding="utf-8"), default="-")
def import_(file: TextIO, coverage: bool, as_json: bool) -> int:
    """Read outages of another monitor from JSON Lines: FILE, or standard input.

    Each line is {"primary", "started_at", "ended_at", "cause"} with RFC 3339 times; `ended_at` is null for an outage
    that goes on. With --coverage the lines are times that were watched, without a cause. Import both: an outage counts
    only where somebody watched, and time that nobody watched is unknown. Reading a line twice is reading it once; a
    file with a bad line is not read at all.

    \b
    Examples:
      fallback-mx outage import history.jsonl
      fallback-mx outage import --coverage watched.jsonl
    """
    from fallback_mx.outages.exchange import read_outages, read_watches
    from fallback_mx.outages.log import OutageLog

    now = datetime.now(UTC)
    # Whole before anything is written.
    spans: list[Span] = [] if coverage else list(read_outages(file, now))
    watches: list[Watch] = list(read_watches(file, now)) if coverage else []
    with opened() as (store, settings):
        log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
        for part in _parts(spans):
            log.write(part, ()).result()
        for some in _parts(watches):
            log.write((), some).result()
    if as_json:
        print_json({"outages": len(spans), "watches": len(watches)})
    elif coverage:
        say(f"{counted(len(watches), 'time')} that {'was' if len(watches) == 1 else 'were'} watched.")
    else:
        say(f"{counted(len(spans), 'outage')}. They count where that time is on record as watched (--coverage).")
    return DONE


def _parts(values: Sequence[T]) -> Iterator[tuple[T, ...]]:
    left = iter(values)
    while part := tuple(islice(left, WRITTEN_TOGETHER)):
        yield part


@click.command(short_help="Write outages, or watched time, as JSON Lines.")
@config_option
@json_option
@click.option("--coverage", is_flag=True, help="The times that were watched, not outages.")
@click.option("--primary", metavar="NAME", help="Of this primary alone.")
@click.option("--month", metavar="YYYY-MM", help="Of this month (UTC) alone; otherwise all there is.")
def export(coverage: bool, primary: str | None, month: str | None, as_json: bool) -> int:
    """Write outages as JSON Lines, as `outage import` reads them; with --coverage the times that were watched.

    An outage that reaches into the month is written whole. What was over before it was confirmed is left out.

    \b
    Examples:
      fallback-mx outage export > outages.jsonl
      fallback-mx outage export --coverage --month 2026-10 > watched.jsonl
    """
    from fallback_mx.outages.exchange import outage_line, watch_lines
    from fallback_mx.outages.log import OutageLog

    period = _period(month)
    with opened() as (store, settings):
        log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
        spans = _confirmed(log, primary, period)
        if not coverage:
            for span in spans:
                print_json(outage_line(span))
            return DONE
        names = dict.fromkeys([*(one.name for one in settings.primaries), *(span.primary for span in spans)])
        for name in names:
            if primary in (None, name):
                for line in watch_lines(name, log.list_watches(name, period).result(), period):
                    print_json(line)
    return DONE


def _confirmed(log: OutageLog, primary: str | None, period: Interval) -> list[Span]:
    found = log.list_spans(primary, period.start).result()
    return [span for span in found if span.confirmed_at is not None and span.started_at < period.end]


def _period(month: str | None) -> Interval:
    from zoneinfo import ZoneInfo

    from fallback_mx.sla.days import month_of
    from fallback_mx.sla.intervals import Interval

    now = datetime.now(UTC)
    if month is None:
        return Interval(datetime(1970, 1, 1, tzinfo=UTC), now)
    name = read_month(month, now)
    return month_of(int(name[:4]), int(name[5:]), ZoneInfo("UTC"))
