"""Which messages a command means: queue ids, and the filters that listings and edits share."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from fallback_mx.cli.completing import primary_names
from fallback_mx.durations import parse_duration, parse_size

if TYPE_CHECKING:
    from mxqueue.model import Filter

F = TypeVar("F", bound=Callable[..., Any])

STATES = ("pending", "held", "delivered", "failed", "expired", "removed")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


@dataclass(frozen=True, slots=True)
class Selection:
    """The filter options of one command line, as they were given."""

    primary: str | None = None
    domain: str | None = None
    sender: str | None = None
    recipient: str | None = None
    state: tuple[str, ...] = ()
    older: str | None = None
    newer: str | None = None
    larger: str | None = None
    reply: str | None = None

    def filter(self, now: datetime, ids: Sequence[str] = ()) -> Filter:
        """As the queue wants it. Raises click.UsageError for a value that cannot be meant."""
        from mxqueue.model import LIVE_STATES, Filter, RecipientState

        before, after = read_ago("--older", self.older, now), read_ago("--newer", self.newer, now)
        # What a primary has lost is what it got lately, however long it had waited here.
        of_delivery = set(self.state) == {"delivered"}
        return Filter(
            ids=tuple(ids),
            route=self.primary,
            domain=read_domain(self.domain) if self.domain is not None else None,
            sender="" if self.sender == "<>" else self.sender,
            recipient=self.recipient,
            states=frozenset(RecipientState(state) for state in self.state) or LIVE_STATES,
            arrived_before=None if of_delivery else before,
            arrived_after=None if of_delivery else after,
            delivered_before=before if of_delivery else None,
            delivered_after=after if of_delivery else None,
            larger_than=_size("--larger", self.larger),
            reply=self.reply,
        )


def read_domain(text: str) -> str:
    """A domain as it was typed. Raises click.UsageError."""
    from fallback_mx.domains import normalised

    try:
        return normalised(text)
    except ValueError as error:
        raise click.UsageError(f"--domain {text}: {error}. Write a name such as example.org.") from None


def read_ago(option: str, text: str | None, now: datetime) -> datetime | None:
    """The moment so long ago, None where nothing was typed. Raises click.UsageError."""
    if text is None:
        return None
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        raise click.UsageError(f"{option} {text} is not a duration. Write one such as 30s, 10m, 2h or 3d.") from None


def _size(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError:
        raise click.UsageError(f"{option} {text} is not a size. Write one such as 500kB, 10MB or 1GB.") from None


def filter_options(command: F) -> F:
    """The filters, as one argument `selection`."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        selection = Selection(**{field.name: values.pop(field.name) for field in fields(Selection)})
        return command(selection=selection, **values)

    options = [
        click.option("--primary", metavar="NAME", shell_complete=primary_names, help="Mail for this primary."),
        click.option("--domain", metavar="DOMAIN", help="Mail with a recipient in this domain."),
        click.option("--sender", metavar="ADDRESS", help="Mail with this reverse-path; <> is the null one."),
        click.option("--recipient", metavar="ADDRESS", help="Mail with this recipient."),
        click.option("--state", multiple=True, type=click.Choice(STATES), help="Recipients in this state; repeatable."),
        click.option("--older", metavar="AGE", help="Mail that arrived longer ago than this, such as 2h."),
        click.option("--newer", metavar="AGE", help="Mail that arrived (--state delivered: was delivered) within it."),
        click.option("--larger", metavar="SIZE", help="Mail larger than this, such as 10MB."),
        click.option("--reply", metavar="TEXT", help="The last reply has this text in it, or this code: 550, 5xx."),
    ]
    for option in reversed(options):
        option(wrapped)
    return cast(F, wrapped)


def read_ids(given: Iterable[str]) -> list[str]:
    """Queue ids from the arguments; `-` stands for those on standard input. Each once, in order."""
    ids: dict[str, None] = {}
    for text in given:
        for queue_id in _from_lines(sys.stdin) if text == "-" else (text,):
            ids[read_id(queue_id)] = None
    return list(ids)


def _from_lines(lines: Iterable[str]) -> Iterator[str]:
    """The id of each line: alone, first in a line of `queue list`, or in one of `queue list --json`."""
    for line in lines:
        text = line.strip()
        if not text or text.startswith("ID\t"):
            continue
        yield _from_json(text) if text.startswith("{") else text.split()[0]


def _from_json(line: str) -> str:
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError):
        raise click.UsageError(f"{line[:60]} on standard input has no queue id.") from None


def read_id(text: str) -> str:
    """A queue id as it was typed; capitals make no difference. Raises click.UsageError."""
    queue_id = text.upper()
    if _ULID.fullmatch(queue_id) is None:
        raise click.UsageError(f"{text[:60]} is not a queue id. They have 26 letters and digits, see `queue list`.")
    return queue_id
