"""`fallback-mx queue hold|release|retry|remove`: an operator's edits, each on record with who and why.

An edit wants to be told what it means: ids, a filter, or --all. Nothing on standard input is nothing, never all.
Messages that are being delivered at that moment are left alone and named. `remove` deletes what was counted and
confirmed, not what matches a moment later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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
    from mxqueue import Edit, Filter, Queue
    from mxqueue.edits import Change


@dataclass(frozen=True, slots=True)
class Verb:
    """One kind of edit in words: "hold", "held", "kept until it is released"."""

    name: str
    done: str
    summary: str
    example: str
    asks: bool = False


VERBS = (
    Verb("hold", "held", "Keep mail from being delivered until it is released.", "--sender spammer@example.net"),
    Verb("release", "released", "Let held mail go on, due at once.", "--primary main --older 10m"),
    Verb(
        "retry",
        "made due now",
        "Make pending mail due now, or deliver once more what is kept.",
        "--state delivered --newer 6h",
    ),
    Verb("remove", "removed", "Delete mail for good; the ledger stays.", "--state held --older 30d", asks=True),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One edit as the command line asks for it. `ids` is None where a filter alone says what is meant; `unknown` says
    that the primary of the filter is."""

    verb: Verb
    ids: list[str] | None
    wanted: Filter
    reason: str
    as_json: bool
    unknown: str = ""

    @property
    def edits(self) -> tuple[str, ...]:
        """What the queue calls them: `retry` of what was delivered is another matter, and wants to be asked for."""
        return (self.verb.name, "redeliver") if self.verb.name == "retry" else (self.verb.name,)


def register(group: click.Group) -> None:
    """Add one command for each verb."""
    for verb in VERBS:
        group.add_command(_command(verb))


def _command(verb: Verb) -> click.Command:
    @config_option
    @json_option
    @filter_options
    @click.option("--all", "everything", is_flag=True, help=f"{verb.name.capitalize()} all there is.")
    @click.option("--reason", metavar="TEXT", default="", help="Why; kept in the ledger.")
    @click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
    @click.option("--yes", is_flag=True, hidden=not verb.asks, help="Do not ask.")
    @click.argument("ids", metavar="[ID]... [-]", nargs=-1)
    def command(
        ids: Sequence[str],
        selection: Selection,
        everything: bool,
        reason: str,
        dry_run: bool,
        yes: bool,
        as_json: bool,
    ) -> int:
        request = Request(
            verb=verb,
            ids=meant(ids, selection, everything),
            wanted=selection.filter(datetime.now(UTC)),
            reason=reason,
            as_json=as_json,
        )
        if verb.asks and not (yes or dry_run or sys.stdin.isatty()):
            raise click.UsageError("There is no terminal to ask on: say --yes, or look first with --dry-run.")
        with opened() as (store, settings):
            request = replace(request, unknown=unknown_primary(settings, selection.primary))
            if dry_run:
                return _dry_run(store, request)
            return _ask_and_run(store, request) if verb.asks and not yes else _run(store, request)

    return click.command(verb.name, help=_help(verb))(command)


def _help(verb: Verb) -> str:
    piped = "- --yes" if verb.asks else "-"
    return f"""{verb.summary}

    Name what is meant: ids, "-" for ids on standard input, filters, or --all. Ids and filters together narrow. What is
    being delivered at that moment is left alone (exit code 5).

    \b
    Examples:
      fallback-mx queue {verb.name} 01K4QZ6YB3T9V5XW2N8M7RCD1E --reason "asked by the customer"
      fallback-mx queue {verb.name} {verb.example} --dry-run
      fallback-mx queue list --json | jq -c 'select(.size > 1e7)' | fallback-mx queue {verb.name} {piped}
    """


def _run(store: Queue, request: Request) -> int:
    changed, busy = _apply(store, request)
    return _tell(request, changed, busy)


def _apply(store: Queue, request: Request) -> tuple[list[str], list[str]]:
    changed: list[str] = []
    busy: list[str] = []
    for part in pages(request.wanted, request.ids):
        for name in request.edits:
            apply: Callable[[Filter, str, str], Future[Edit]] = getattr(store, name)
            edit = apply(part, actor(), request.reason).result()
            changed += edit.changed
            busy += edit.busy
    return list(dict.fromkeys(changed)), list(dict.fromkeys(busy))


def _dry_run(store: Queue, request: Request) -> int:
    free, busy, _ = _matching(store, request)
    return _tell(request, free, busy, dry=True)


def _ask_and_run(store: Queue, request: Request) -> int:
    free, busy, size = _matching(store, request)
    if free:
        question = f"{request.verb.name.capitalize()} {counted(len(free), 'message')} ({octets(size)}) for good?"
        if not click.confirm(question, err=True):
            complain(f"nothing was {request.verb.done}")
            return FAILED
    changed, since_busy = _apply(store, replace(request, ids=free))
    return _tell(request, changed, busy + since_busy)


def _matching(store: Queue, request: Request) -> tuple[list[str], list[str], int]:
    """What the edit would change, what is busy, and the size of the former."""
    from mxqueue import edits

    now = datetime.now(UTC)
    free: dict[str, int] = {}
    busy: dict[str, None] = {}
    for part in pages(request.wanted, request.ids):
        for name in request.edits:
            change: Change = getattr(edits, name.upper())
            states = part.states & change.sources
            for message in walk(store, replace(part, states=states)) if states else ():
                leases = (one.lease_until for one in message.recipients if one.state in states)
                if any(until is not None and until > now for until in leases):
                    busy[message.id] = None
                elif not change.again or (message.keep_until is not None and message.keep_until > now):
                    free[message.id] = message.size
    return list(free), list(busy), sum(free.values())


def _tell(request: Request, changed: list[str], busy: list[str], *, dry: bool = False) -> int:
    known = {*changed, *busy}
    unmatched = [queue_id for queue_id in request.ids or () if queue_id not in known]
    if request.as_json:
        _tell_json({"would_change" if dry else "changed": changed, "busy": busy, "not_matched": unmatched})
    elif changed:
        say(f"{counted(len(changed), 'message')} {'would be ' if dry else ''}{request.verb.done}.")
    if busy:
        complain(f"{counted(len(busy), 'message')} being delivered just now, left alone; try again in a minute")
    if not changed and not busy:
        usual = "no message matches, or it is not in a state that this changes (see `queue show ID`)"
        complain(f"nothing to do: {request.unknown or usual}")
        return NOTHING_MATCHED
    if unmatched:
        complain(f"{counted(len(unmatched), 'id')} did not match, the first is {unmatched[0]}")
    return PARTLY_DONE if busy or unmatched else DONE


def _tell_json(results: dict[str, Any]) -> None:
    for result, ids in results.items():
        for queue_id in ids:
            print_json({"id": queue_id, "result": result})
