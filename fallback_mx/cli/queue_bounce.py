"""`fallback-mx queue bounce`: give mail up, and tell its senders."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.filters import Selection, filter_options
from fallback_mx.cli.meant import actor, meant, pages
from fallback_mx.cli.opening import opened, walk
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.cli.unknown import unknown_primary
from fallback_mx.spoken import counted, octets

if TYPE_CHECKING:
    from fallback_mx.bounces.desk import Desk, Returned
    from fallback_mx.config import Config
    from mxqueue import Filter, Queue

Meant = list[tuple[str, frozenset[int]]]
"""Queue ids, each with the positions of the recipients that are meant."""


@click.command(short_help="Give mail up, and tell its senders.")
@config_option
@json_option
@filter_options
@click.option("--all", "everything", is_flag=True, help="Bounce all there is.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept in the ledger, not told to senders.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("ids", metavar="[ID]... [-]", nargs=-1)
def bounce(
    ids: Sequence[str],
    selection: Selection,
    everything: bool,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Give mail up that waits or is held, and tell its senders that it was not delivered. The reports go into the
    queue, and out from there while the service runs.

    A report goes only to a sender whose domain vouches for the message (SPF or DKIM): others may be forged, and a
    stranger would get it. Their mail is held, with the reason (exit code 5). Reports are not reported on. Who asked not
    to be told (NOTIFY=NEVER) is not.

    \b
    Examples:
      fallback-mx queue bounce 01K4QZ6YB3T9V5XW2N8M7RCD1E --reason "the mailbox is gone"
      fallback-mx queue bounce --state held --reply "no such user" --dry-run
    """
    named = meant(ids, selection, everything)
    wanted = waiting(selection.filter(datetime.now(UTC)))
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on: say --yes, or look first with --dry-run.")
    with opened() as (store, settings):
        free, busy, size = _matching(store, wanted, named)
        if not free and not busy:
            usual = "no message matches, or it neither waits nor is held (see `queue show ID`)"
            complain(f"nothing to do: {unknown_primary(settings, selection.primary) or usual}")
            return NOTHING_MATCHED
        if dry_run:
            return _tell(free, busy, [], named, as_json, dry=True)
        if free and not yes:
            question = f"Bounce {counted(len(free), 'message')} ({octets(size)}) to their senders, for good?"
            if not click.confirm(question, err=True):
                complain("nothing was bounced")
                return FAILED
        results = asyncio.run(_bounce(store, settings, free, reason))
    return _tell(free, busy, results, named, as_json)


def waiting(wanted: Filter) -> Filter:
    """Only what waits or is held can be given up."""
    from mxqueue import LIVE_STATES

    return replace(wanted, states=wanted.states & LIVE_STATES)


def _matching(store: Queue, wanted: Filter, named: list[str] | None) -> tuple[Meant, list[str], int]:
    """What would be bounced, what is being delivered, and the size of the former."""
    now = datetime.now(UTC)
    free: Meant = []
    busy: list[str] = []
    size = 0
    for part in pages(wanted, named):
        for message in walk(store, part) if part.states else ():
            positions = store.matching(part, [message.id]).result().get(message.id, frozenset())
            leases = [each.lease_until for each in message.recipients if each.position in positions]
            if any(until is not None and until > now for until in leases):
                busy.append(message.id)
            elif positions:
                free.append((message.id, positions))
                size += message.size
    return free, busy, size


async def _bounce(store: Queue, settings: Config, free: Meant, reason: str) -> list[Returned]:
    from fallback_mx.bounces.desk import Desk
    from fallback_mx.bounces.reporter import Reporter, ReporterSettings
    from fallback_mx.bounces.vouching import Voucher, system_resolver
    from mxqueue.model import utc_now

    primaries = {domain: primary.name for primary in settings.primaries for domain in primary.domains}
    reporter = Reporter(
        ReporterSettings(settings.server.hostname, primaries), Voucher(system_resolver()), store.new_id, utc_now
    )
    return await return_all(store, Desk(store, reporter, actor(), reason), free)


async def return_all(store: Queue, desk: Desk, free: Meant) -> list[Returned]:
    """Bounce one message after the other, with progress on a terminal."""
    results: list[Returned] = []
    progress = click.progressbar(free, label="Bouncing", file=sys.stderr)
    with progress if sys.stderr.isatty() else nullcontext(free) as each:
        for queue_id, positions in each:
            message, _ = await asyncio.wrap_future(store.show(queue_id))
            results.append(await desk.bounce(message, positions))
    return results


def _tell(
    free: Meant,
    busy: list[str],
    results: list[Returned],
    named: list[str] | None,
    as_json: bool,
    *,
    dry: bool = False,
) -> int:
    known = {*(queue_id for queue_id, _ in free), *busy}
    unmatched = [queue_id for queue_id in named or () if queue_id not in known]
    since_busy = [one.message_id for one in results if not one.was_done]
    kept = [one for one in results if one.was_done and one.reason]
    done = [one for one in results if one.was_done and not one.reason]
    if as_json:
        _tell_json(free if dry else [], done, kept, [*busy, *since_busy], unmatched)
    elif dry and free:
        say(f"{counted(len(free), 'message')} would be bounced, as far as their senders' domains vouch for them.")
    elif results:
        reports = sum(bool(one.report_id) for one in results)
        say(f"{counted(len(done), 'message')} bounced, with {counted(reports, 'report')} to senders.")
    for one in kept:
        complain(f"{one.message_id} is held: {one.reason}")
    if busy or since_busy:
        several = counted(len(busy) + len(since_busy), "message")
        complain(f"{several} being delivered just now, left alone; try again in a minute")
    if unmatched:
        complain(f"{counted(len(unmatched), 'id')} did not match, the first is {unmatched[0]}")
    return PARTLY_DONE if busy or since_busy or kept or unmatched else DONE


def _tell_json(would: Meant, done: list[Returned], kept: list[Returned], busy: list[str], unmatched: list[str]) -> None:
    for queue_id, _ in would:
        print_json({"id": queue_id, "result": "would_bounce"})
    for one in done:
        print_json({"id": one.message_id, "result": "bounced", "report": one.report_id or None})
    for one in kept:
        print_json({"id": one.message_id, "result": "held", "report": one.report_id or None, "reason": one.reason})
    for result, ids in (("busy", busy), ("not_matched", unmatched)):
        for queue_id in ids:
            print_json({"id": queue_id, "result": result})
