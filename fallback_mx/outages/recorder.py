"""What must still be written of one primary's record, and the writing of it.

Observations are noted in memory at once; `flush` writes what has changed since. When a write fails, or nobody learns
what became of it, everything it held is kept and goes with the next one: nothing noted is lost while the process lives,
and at most the time since the last write is unknown when it dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from fallback_mx.outages import spans
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.rules.health import Event, EventKind, Observation
from mxqueue.ids import Ids
from mxqueue.model import utc_now

V = TypeVar("V", Span, Watch)


class Recorder:
    """Keeps one primary's record. `span` is the outage in hand, or the last one that this process saw end."""

    def __init__(self, primary: str, log: OutageLog, max_gap: timedelta) -> None:
        self.span: Span | None = None
        self._primary = primary
        self._log = log
        self._max_gap = max_gap
        self._ids = Ids(utc_now)
        self._watch: Watch | None = None
        self._unwritten_spans: dict[str, Span] = {}
        self._unwritten_watches: dict[str, Watch] = {}

    async def resume(self, now: datetime) -> Span | None:
        """Take up the record where it was left. The outage that is still open, if any. Raises QueueError."""
        latest = await asyncio.wrap_future(self._log.latest(self._primary, now))
        self._watch = latest.watch
        self.span = latest.span
        return latest.span

    def note(self, observation: Observation, events: Sequence[Event]) -> None:
        """Take down an observation, and what it did to the outage in hand."""
        for event in events:
            if event.kind is EventKind.STARTED:
                self.span = spans.started(self._ids.new(), self._primary, self._log.node, event)
            assert self.span is not None
            self.span = self.span.after(event)
            self._unwritten_spans[self.span.id] = self.span
        if self._watch is None or not self._watch.reaches(observation.at, self._max_gap):
            self._watch = Watch(self._ids.new(), self._primary, self._log.node, observation.at, observation.ended_at)
        else:
            self._watch = self._watch.extended(observation)
        self._unwritten_watches[self._watch.id] = self._watch

    async def flush(self) -> None:
        """Write what has changed. Raises QueueError where that failed, and keeps it for the next time."""
        changed = tuple(self._unwritten_spans.values())
        watches = tuple(self._unwritten_watches.values())
        if not changed and not watches:
            return
        await asyncio.wrap_future(self._log.write(changed, watches))
        _forget(self._unwritten_spans, changed)
        _forget(self._unwritten_watches, watches)


def _forget(unwritten: dict[str, V], written: Iterable[V]) -> None:
    for value in written:
        # A newer version may have come while this one was being written.
        if unwritten.get(value.id) is value:
            del unwritten[value.id]
