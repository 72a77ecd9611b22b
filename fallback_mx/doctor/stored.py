"""Is the database there and of this version, and are the lists of recipients in it fresh?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from fallback_mx.doctor.finding import Finding, error, ok, warning
from fallback_mx.doctor.patient import Ward
from fallback_mx.recipients import listed
from fallback_mx.recipients.listed import ListState
from fallback_mx.spoken import counted, duration
from mxqueue import Queue, QueueError

DATABASE, RECIPIENTS = "database", "recipients"

Opening = Callable[[], AbstractContextManager[Queue]]
"""Opens the queue as it is; nothing is made or migrated. Raises QueueError."""


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """The lists by their primary; `trouble` is why the database could not be read, `advice` what to do then."""

    lists: Mapping[str, ListState] = field(default_factory=dict)
    trouble: str = ""
    advice: str = ""


def gather(opening: Opening) -> StoredFacts:
    """Read it, blocking."""
    try:
        with opening() as queue:
            found = queue.read(listed.list_states).result()
    except QueueError as failure:
        return StoredFacts(trouble=str(failure), advice=failure.advice)
    return StoredFacts({each.primary: each for each in found})


def judge(facts: StoredFacts, wards: Sequence[Ward], now: datetime) -> list[Finding]:
    if facts.trouble:
        return [error(DATABASE, "the queue", facts.trouble, facts.advice)]
    found = [ok(DATABASE, "the queue", "the database is there, and of this version")]
    return [*found, *(_of_list(ward, facts.lists.get(ward.name), now) for ward in wards)]


def _of_list(ward: Ward, state: ListState | None, now: datetime) -> Finding:
    name = ward.name
    if not ward.has_list and state is None:
        if ward.unknown_recipients == "refuse":
            reason = (
                f"{name} has no list of recipients, and unknown recipients are refused: so is all mail in an outage"
            )
            return error(RECIPIENTS, name, reason, "Configure a list (recipients_file and its like), or import one.")
        return ok(
            RECIPIENTS, name, f"{name} has no list: unknown recipients are answered with {ward.unknown_recipients}"
        )
    again = f"Look at the log; `fallback-mx recipients list --lists`, `recipients import --primary {name} FILE`."
    if state is None:
        return error(RECIPIENTS, name, f"the list of {name} has not been read yet", again)
    age = now - state.confirmed_at
    if age >= ward.stale_after:
        reason = f"the list of {name} was last read {duration(age)} ago: it refuses nobody any more"
        return error(RECIPIENTS, name, reason, again)
    size = counted(state.addresses, "address", "addresses")
    if age >= ward.stale_after / 2:
        left = duration(ward.stale_after - age)
        reason = f"the list of {name} ({size}) was last read {duration(age)} ago, and counts no more in {left}"
        return warning(RECIPIENTS, name, reason, again)
    return ok(RECIPIENTS, name, f"the list of {name} ({size}) was read {duration(age)} ago")
