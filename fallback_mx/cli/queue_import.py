"""`fallback-mx queue import`: mail out of files into the queue, ours or those of a stranded Postfix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fallback_mx.cli.exits import DONE, FAILED, NOTHING_MATCHED, PARTLY_DONE, complain
from fallback_mx.cli.meant import actor
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option
from fallback_mx.cli.printing import print_json, say
from fallback_mx.spoken import counted

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.rescue.sorting import Refused, Routes
    from mxqueue import Queue

KNOWN = "it is in the queue or was imported before; --again takes it all the same"
IMPORTED, WOULD, DOUBLE, REFUSED = "imported", "would_import", "double", "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file."""

    file: Path
    result: str
    ids: tuple[str, ...] = ()
    reason: str = ""
    refused: tuple[Refused, ...] = ()


@click.command("import", short_help="Take mail out of files into the queue.")
@config_option
@json_option
@click.option("--again", is_flag=True, help="Take what was imported before, or is in the queue, a second time.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept in the ledger.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def import_(paths: Sequence[Path], again: bool, reason: str, dry_run: bool, as_json: bool) -> int:
    """Take mail out of files, or out of all files below directories, into the queue. They may be

    \b
      pairs of ID.eml and ID.json, as `queue export` writes them;
      what Postfix's `postcat -q ID` (or `postcat FILE`) prints, a message a file;
      queue files of Postfix, such as all of /var/spool/postfix/deferred, where `postcat` is installed.
    Stop Postfix first, so that it does not deliver what is imported.

    Every message gets a new id, and the ledger says which it had. Its lifetime begins again, and what was held stays
    held. Recipients that have been delivered to are left out; those whose domain is that of no primary are refused and
    listed. What has been imported before is not taken a second time.

    \b
    Examples:
      fallback-mx queue import /root/mail
      fallback-mx queue import /var/spool/postfix/deferred --dry-run
    """
    from fallback_mx.rescue import files

    with opened() as (store, settings):
        routes = _routes(settings)
        found = list(files.walk(paths))
        progress = click.progressbar(found, label="Importing", file=sys.stderr)
        with progress if sys.stderr.isatty() else nullcontext(found) as each:
            results = [_take(store, routes, file, reason, again=again, dry=dry_run) for file in each]
    return _tell(results, as_json)


def _routes(settings: Config) -> Routes:
    from fallback_mx.rescue.sorting import Routes

    return Routes(
        {domain: primary.name for primary in settings.primaries for domain in primary.domains},
        frozenset(primary.name for primary in settings.primaries if primary.routing_characters == "accept"),
    )


def _take(store: Queue, routes: Routes, file: Path, reason: str, *, again: bool, dry: bool) -> Result:
    from fallback_mx.rescue import files, sorting
    from fallback_mx.rescue.found import CannotImport
    from mxqueue import Spool

    try:
        found = files.read(file, lambda: Spool(store.directory))
    except CannotImport as error:
        return Result(file, REFUSED, reason=str(error))
    with found.spool:
        sorted_ = sorting.sort(found, routes)
        if not sorted_.envelopes:
            return Result(file, REFUSED, reason="none of its recipients can be taken", refused=sorted_.refused)
        if dry:
            is_double = not again and store.is_known(sorted_.origin).result()
            return Result(file, DOUBLE, reason=KNOWN) if is_double else Result(file, WOULD, refused=sorted_.refused)
        taking = store.take_over(sorted_.envelopes, found.spool, sorted_.origin, actor(), reason, again=again)
        ids = taking.result()
    if ids is None:
        return Result(file, DOUBLE, reason=KNOWN)
    return Result(file, IMPORTED, ids, refused=sorted_.refused)


def _tell(results: Sequence[Result], as_json: bool) -> int:
    for one in results:
        if as_json:
            print_json(_json(one))
        if one.reason:
            complain(f"{one.file}: {one.reason}")
        for refused in one.refused:
            complain(f"{one.file}: {refused.address} is refused: {refused.reason}")
    taken = [one for one in results if one.result in (IMPORTED, WOULD)]
    if taken and not as_json:
        would = "would be " if taken[0].result == WOULD else ""
        say(f"{counted(len(taken), 'message')} {would}imported.")
    if not results:
        complain("there is no file in there")
        return NOTHING_MATCHED
    if not taken:
        return FAILED
    return PARTLY_DONE if len(taken) < len(results) or any(one.refused for one in taken) else DONE


def _json(one: Result) -> dict[str, object]:
    return {
        "path": str(one.file),
        "result": one.result,
        "ids": list(one.ids),
        "reason": one.reason,
        "refused": [{"forward_path": each.address, "reason": each.reason} for each in one.refused],
    }
