"""`fallback-mx queue export`: mail into files, as a copy. What is in the queue stays there, and what it is."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.filters import Selection, filter_options
from fallback_mx.cli.meant import actor, meant, pages
from fallback_mx.cli.opening import opened, walk
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.cli.unknown import no_message_matches
from fallback_mx.spoken import counted, octets

if TYPE_CHECKING:
    from mxqueue import Queue

NOTED_TOGETHER = 200


@click.command(short_help="Copy mail into files.")
@config_option
@json_option
@filter_options
@click.option("--all", "everything", is_flag=True, help="Export all there is.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept in the ledger.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path, file_okay=False))
@click.argument("ids", metavar="[ID]... [-]", nargs=-1)
def export(
    directory: Path,
    ids: Sequence[str],
    selection: Selection,
    everything: bool,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Copy mail into files in DIRECTORY, which is made if it is missing: for each message ID.eml, its content octet by
    octet, and ID.json, its envelope with what became of each recipient. `queue import` takes them back.

    Name what is meant: ids, "-" for ids on standard input, filters, or --all. Nothing in the queue changes. Mail that
    cannot be read is named, and the rest is exported (exit code 5).

    \b
    Examples:
      fallback-mx queue export /root/mail --all
      fallback-mx queue export /root/mail --primary main --state held --reason "for the customer"
    """
    named = meant(ids, selection, everything)
    wanted = selection.filter(datetime.now(UTC))
    with opened() as (store, settings):
        sizes = {message.id: message.size for part in pages(wanted, named) for message in walk(store, part)}
        if not sizes:
            complain(no_message_matches(settings, selection.primary))
            return NOTHING_MATCHED
        if dry_run:
            _tell(sizes, sizes, as_json, dry=True)
            return DONE
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            done = _export(store, directory, list(sizes), reason)
        except OSError as error:
            complain(f"{directory}: {error.strerror}; what was exported before is whole, begin again with room")
            return FAILED
    _tell(done, sizes, as_json)
    unmatched = [queue_id for queue_id in named or () if queue_id not in sizes]
    if unmatched:
        complain(f"{counted(len(unmatched), 'id')} did not match, the first is {unmatched[0]}")
    return PARTLY_DONE if len(done) < len(sizes) or unmatched else DONE


def _export(store: Queue, directory: Path, ids: Sequence[str], reason: str) -> list[str]:
    """The ids of what was written. Raises OSError."""
    from fallback_mx.rescue import pairs
    from mxqueue import QueueError

    detail = f"to {directory.absolute()}{': ' + reason if reason else ''}"
    done: list[str] = []
    noted = 0

    def note() -> None:
        nonlocal noted
        pairs.sync(directory)
        store.note_export(done[noted:], actor(), detail).result()
        noted = len(done)

    progress = click.progressbar(ids, label="Exporting", file=sys.stderr)
    with progress if sys.stderr.isatty() else nullcontext(ids) as each:
        for queue_id in each:
            try:
                message, _ = store.show(queue_id).result()
                pairs.write(directory, message, store.content(queue_id).result().chunks())
            except QueueError as error:
                complain(f"{queue_id} is not exported: {error}")
                continue
            done.append(queue_id)
            if len(done) - noted >= NOTED_TOGETHER:
                note()
    note()
    return done


def _tell(ids: Collection[str], sizes: Mapping[str, int], as_json: bool, *, dry: bool = False) -> None:
    if as_json:
        for queue_id in ids:
            print_json({"id": queue_id, "result": "would_export" if dry else "exported"})
    elif ids:
        size = octets(sum(sizes[queue_id] for queue_id in ids))
        say(f"{counted(len(ids), 'message')} ({size}) {'would be ' if dry else ''}exported.")
