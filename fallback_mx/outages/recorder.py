"""What must still be written of one primary's record, and the writing of it.

Observations are noted in memory at once; `flush` writes what has changed since. When a write fails, or nobody learns
what became of it, everything it held is kept and goes with the next one: nothing noted is lost while the process lives,
and at most the time since the last write is unknown when it dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from fallback_mx.outages import spans
from fallback_mx.outages.gaps import Cause, Gap, gap
from fallback_mx.outages.log import Latest, OutageLog
from fallback_mx.outages.spans import Kind, Span, Watch
from fallback_mx.rules.health import Event, EventKind, Observation
from fallback_mx.sla.intervals import Interval
from mxqueue.ids import Ids
from mxqueue.model import utc_now

V = TypeVar("V", Span, Watch, Gap)
Track = tuple[Kind, str]
OUTAGE: Track = (Kind.OUTAGE, "")


class Recorder:
    """Keeps one primary's record: a span for each track, and when it was watched."""

    def __init__(self, primary: str, log: OutageLog, max_gap: timedelta) -> None:
        self._primary = primary
        self._log = log
        self._max_gap = max_gap
        self._ids = Ids(utc_now)
        self._spans: dict[Track, Span] = {}
        self._good_at: dict[Track, datetime] = {}
        self._watch: Watch | None = None
        self._gap: Gap | None = None
        self._is_cut = False
        self._begins = False
        self._unwritten_spans: dict[str, Span] = {}
        self._unwritten_watches: dict[str, Watch] = {}
        self._unwritten_gaps: dict[str, Gap] = {}

    @property
    def span(self) -> Span | None:
        """The outage in hand, or the last one that this process saw end."""
        return self._spans.get(OUTAGE)

    async def resume(self, now: datetime) -> Latest:
        """Take up the record where it was left. Raises QueueError."""
        latest = await asyncio.wrap_future(self._log.latest(self._primary, now))
        self._watch = latest.watch
        self._spans = {(span.kind, span.subject): span for span in latest.beside}
        if latest.span is not None:
            self._spans[OUTAGE] = latest.span
        return latest

    # Spans ------------------------------------------------------------------------------------------------------

    def note(self, observation: Observation, events: Sequence[Event], absence: Cause = Cause.SUSPENDED) -> None:
        """Take down an observation, and what it did to the outage in hand. `absence` is why nobody looked before it, if
        that was too long ago."""
        self.note_beside(OUTAGE, observation, events)
        self._see(observation, absence)

    def note_beside(self, track: Track, observation: Observation, events: Sequence[Event]) -> None:
        """Take down what an observation says of one track, and what it did to the span in hand there."""
        span, is_new = self._spans.get(track), False
        for event in events:
            if event.kind is EventKind.STARTED:
                last_good_at, is_new = self._good_at.get(track), True
                span = spans.started(
                    self._ids.new(), self._primary, self._log.node, event, *track, last_good_at=last_good_at
                )
            assert span is not None
            span = span.after(event)
        if observation.good:
            self._good_at[track] = observation.at
        elif span is not None and span.is_open and not is_new:
            span = span.failed_again(observation)
        if span is not None and span is not self._spans.get(track):
            self._keep(track, span)

    def end(self, track: Track, at: datetime, phase: str, detail: str) -> None:
        """End the span in hand there, if there is one: what it told of is over, or nobody watches it any more."""
        span = self._spans.pop(track, None)
        if span is not None and span.is_open:
            ended = span.after(Event(EventKind.ENDED, max(at, span.started_at), phase, detail))
            self._unwritten_spans.pop(span.id, None)
            if _is_for_the_record(ended):
                self._unwritten_spans[ended.id] = ended

    def tally(self, accepted: int, delivered: int) -> None:
        """Count mail that came in or went out to whatever is going on. It is written with the next observation."""
        for track, span in self._spans.items():
            if span.is_open:
                self._keep(track, span.with_mail(accepted, delivered))

    def _keep(self, track: Track, span: Span) -> None:
        self._spans[track] = span
        if _is_for_the_record(span):
            self._unwritten_spans[span.id] = span

    # Watched time -----------------------------------------------------------------------------------------------

    def absent(self, at: datetime, until: datetime, cause: Cause, detail: str, absence: Cause) -> None:
        """A look from `at` to `until` was none, for this reason. When we were cut off the time is unknown from `at` on,
        however short it is; what our own machine could not do is forgiven if it can soon."""
        watch = self._watch
        if self._gap is not None and self._gap.cause is not cause:
            self._put_gap(self._gap.until(at))
            self._gap = None
            start = at
        elif watch is None or self._is_cut:
            start = at
        elif watch.reaches(at, self._max_gap):
            if cause is Cause.CUT_OFF:
                self._put_watch(replace(watch, ended_at=max(watch.ended_at, at)))
                start = at
            else:
                start = min(watch.ended_at, at)
        else:
            start = at
            if self._gap is None:
                self._fill(watch.ended_at, at, absence)
        if self._gap is None:
            period = Interval(start, max(start, until))
            self._gap = gap(self._ids.new(), self._primary, self._log.node, period, cause, detail)
        self._put_gap(self._gap.until(until))
        self._gap = self._unwritten_gaps[self._gap.id]
        self._is_cut = self._is_cut or cause is Cause.CUT_OFF

    def cut(self) -> None:
        """Whatever comes next, the time before it was not watched: the clock has made it up."""
        self._is_cut = True

    def _see(self, observation: Observation, absence: Cause) -> None:
        watch, is_cut = self._watch, self._is_cut
        if watch is not None and is_cut and self._gap is None and observation.at <= watch.ended_at:
            is_cut = False
        if watch is not None and not is_cut and watch.reaches(observation.at, self._max_gap):
            self._put_watch(watch.extended(observation))
        else:
            if self._gap is not None:
                self._put_gap(self._gap.until(observation.at))
            elif watch is not None:
                self._fill(watch.ended_at, observation.at, absence)
            self._put_watch(Watch(self._ids.new(), self._primary, self._log.node, observation.at, observation.ended_at))
            self._begins = True
        self._gap, self._is_cut = None, False

    def _fill(self, start: datetime, end: datetime, cause: Cause) -> None:
        if start < end:
            self._put_gap(gap(self._ids.new(), self._primary, self._log.node, Interval(start, end), cause))

    def _put_watch(self, watch: Watch) -> None:
        self._watch = watch
        self._unwritten_watches[watch.id] = watch

    def _put_gap(self, one: Gap) -> None:
        self._unwritten_gaps[one.id] = one

    # Writing ----------------------------------------------------------------------------------------------------

    @property
    def is_urgent(self) -> bool:
        """Whether there is more to write than that somebody still watches."""
        return bool(self._unwritten_spans or self._unwritten_gaps or self._begins)

    async def flush(self) -> None:
        """Write what has changed. Raises QueueError where that failed, and keeps it for the next time."""
        changed = tuple(self._unwritten_spans.values())
        watches = tuple(self._unwritten_watches.values())
        gaps = tuple(self._unwritten_gaps.values())
        if not changed and not watches and not gaps:
            return
        await asyncio.wrap_future(self._log.write(changed, watches, gaps))
        self._begins = False
        _forget(self._unwritten_spans, changed)
        _forget(self._unwritten_watches, watches)
        _forget(self._unwritten_gaps, gaps)


def _is_for_the_record(span: Span) -> bool:
    """A single slow look, or a port that missed once, is no row: there may be thousands."""
    return span.kind is Kind.OUTAGE or span.confirmed_at is not None


def _forget(unwritten: dict[str, V], written: Iterable[V]) -> None:
    for value in written:
        # A newer version may have come while this one was being written.
        if unwritten.get(value.id) is value:
            del unwritten[value.id]
