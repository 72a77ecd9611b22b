"""What a calendar changes on record: events that are new, that have changed, or that were cancelled there. Pure.

An event is known again by its UID. One that has changed is announced anew and its old announcement cancelled from now
on: what was announced for the past stays as it was. One that is the same is left alone, also where it was cancelled
here. An event that is missing from the calendar says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from fallback_mx.maintenance.announcement import Announcement, Cancellation, Entry
from fallback_mx.maintenance.calendar_in import Event
from fallback_mx.sla.windows import MaintenanceKind


@dataclass(frozen=True, slots=True)
class Terms:
    """What a calendar is read with: whose maintenance it is, and what holds where an event does not say."""

    primary: str
    kind: MaintenanceKind
    announced_at: datetime | None
    author: str
    now: datetime


@dataclass(slots=True)
class Changes:
    added: list[Announcement] = field(default_factory=list)
    cancelled: list[tuple[int, Cancellation]] = field(default_factory=list)
    changed: int = 0
    unchanged: int = 0
    outdated: list[str] = field(default_factory=list)
    """UIDs of which a newer version is on record."""


def changes(events: Iterable[Event], entries: Iterable[Entry], terms: Terms) -> Changes:
    known = {
        entry.announcement.uid: entry for entry in entries if entry.announcement.primary == terms.primary
    }  # the last one of each
    made = Changes()
    for event in events:
        before = known.get(event.uid)
        if event.is_cancelled:
            _cancel(made, event, before, terms)
        elif before is None:
            made.added.append(_announcement(event, terms))
        elif event.sequence < before.announcement.sequence:
            made.outdated.append(event.uid)
        elif _is_same(event, before.announcement, terms):
            made.unchanged += 1
        else:
            made.changed += 1
            made.cancelled.append((before.id, _cancellation("changed in the calendar", terms)))
            made.added.append(_announcement(event, terms))
    return made


def _cancel(made: Changes, event: Event, before: Entry | None, terms: Terms) -> None:
    if before is None or before.cancelled_since is not None:
        made.unchanged += 1
    elif event.sequence < before.announcement.sequence:
        made.outdated.append(event.uid)
    else:
        made.cancelled.append((before.id, _cancellation("cancelled in the calendar", terms)))


def _is_same(event: Event, before: Announcement, terms: Terms) -> bool:
    kind = event.kind or terms.kind
    return (event.times, event.reason, kind) == (before.times, before.reason, before.kind)


def _announcement(event: Event, terms: Terms) -> Announcement:
    announced_at = event.announced_at if event.announced_at is not None else terms.announced_at
    return Announcement(
        terms.primary,
        event.kind or terms.kind,
        event.times,
        announced_at,
        event.reason,
        terms.author,
        terms.now,
        event.uid,
        event.sequence,
    )


def _cancellation(reason: str, terms: Terms) -> Cancellation:
    return Cancellation(terms.now, None, reason, terms.author, terms.now)
