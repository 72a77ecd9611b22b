"""The values of the record: Span, a time in which something failed, and Watch, a time in which it was watched.

Both are frozen and carry an id made where they were made, so that writing one twice is writing it once. A span's times
never lie before its start: `rules.health` sees to that, and `Span.interval` holds it against anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from fallback_mx.rules.health import Event, EventKind, Observation, State
from fallback_mx.sla.intervals import Interval, IntervalSet, intersection, union
from fallback_mx.visible import visible

MAX_DETAIL = 500
_FOREVER = datetime.max.replace(tzinfo=UTC)
_EVER = datetime.min.replace(tzinfo=UTC)


class Kind(StrEnum):
    """What a span is of. Only an OUTAGE is ever down."""

    OUTAGE = "outage"
    SLOW = "slow"  # it answers, and takes longer than `slow_after`
    PORT = "port"  # nobody answers at one of its other ports


@dataclass(frozen=True, slots=True)
class Span:
    """A run of failures of one primary, as one node saw it.

    `confirmed_at` is None while fewer than `fall` observations in a row were bad; a span that ended so is a blip: kept,
    and never counted as down. `recovering_since` is the first good observation of a run that has not yet ended it.
    `cause_*` is the first failure, `last_failed_*` the latest of `failures`; `end_*` is what was seen when the end was
    decided. `last_good_at` is the last good observation before it, None where nobody knows of any. `mail_accepted` (in
    messages) and `mail_delivered` (in recipients) count from its start to its end. `subject` is the port of a PORT.
    """

    id: str
    primary: str
    node: str
    started_at: datetime
    cause_phase: str
    cause_detail: str
    confirmed_at: datetime | None = None
    recovering_since: datetime | None = None
    ended_at: datetime | None = None
    end_detail: str = ""
    kind: Kind = Kind.OUTAGE
    subject: str = ""
    last_good_at: datetime | None = None
    failures: int = 1
    last_failed_at: datetime | None = None
    last_failed_phase: str = ""
    last_failed_detail: str = ""
    end_phase: str = ""
    mail_accepted: int = 0
    mail_delivered: int = 0

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    @property
    def is_blip(self) -> bool:
        """Over before it was confirmed."""
        return self.ended_at is not None and self.confirmed_at is None

    @property
    def interval(self) -> Interval:
        """The time it covers; an open span has no end in sight."""
        end = _FOREVER if self.ended_at is None else self.ended_at
        return Interval(self.started_at, max(self.started_at, end))

    def after(self, event: Event) -> Span:
        """This span, once `event` has happened to it."""
        match event.kind:
            case EventKind.STARTED:
                return self
            case EventKind.CONFIRMED:
                return replace(self, confirmed_at=event.at)
            case EventKind.RECOVERING:
                return replace(self, recovering_since=event.at)
            case EventKind.RELAPSED:
                return replace(self, recovering_since=None)
            case EventKind.ENDED:
                return replace(
                    self,
                    recovering_since=None,
                    ended_at=event.at,
                    end_phase=event.phase,
                    end_detail=storable(event.detail),
                )

    def failed_again(self, observation: Observation) -> Span:
        """This span, once one more observation of its kind has failed."""
        return replace(
            self,
            failures=self.failures + 1,
            last_failed_at=max(observation.at, self.started_at),
            last_failed_phase=observation.phase,
            last_failed_detail=storable(observation.detail),
        )

    def with_mail(self, accepted: int, delivered: int) -> Span:
        """This span, once so much mail more came in and went out."""
        return replace(
            self, mail_accepted=self.mail_accepted + accepted, mail_delivered=self.mail_delivered + delivered
        )


def started(
    span_id: str,
    primary: str,
    node: str,
    event: Event,
    kind: Kind = Kind.OUTAGE,
    subject: str = "",
    last_good_at: datetime | None = None,
) -> Span:
    """A span that begins with the failure `event` tells of."""
    detail = storable(event.detail)
    return Span(
        span_id,
        primary,
        node,
        event.at,
        event.phase,
        detail,
        kind=kind,
        subject=subject,
        last_good_at=last_good_at,
        last_failed_at=event.at,
        last_failed_phase=event.phase,
        last_failed_detail=detail,
    )


@dataclass(frozen=True, slots=True)
class Watch:
    """A time in which one node watched a primary without a gap."""

    id: str
    primary: str
    node: str
    started_at: datetime
    ended_at: datetime

    @property
    def interval(self) -> Interval:
        return Interval(self.started_at, max(self.started_at, self.ended_at))

    def reaches(self, at: datetime, max_gap: timedelta) -> bool:
        """Whether an observation at `at` belongs to this watch. One that the clock took far back does not."""
        return abs(at - self.ended_at) <= max_gap or self.started_at <= at <= self.ended_at

    def extended(self, observation: Observation) -> Watch:
        return replace(self, ended_at=max(self.ended_at, observation.ended_at))


def watched(watches: Iterable[Watch]) -> IntervalSet:
    """The time in which any node was watching."""
    return union(watch.interval for watch in watches)


def decided(spans: Iterable[Span], watched: IntervalSet) -> IntervalSet:
    """The watched time of which it is known whether the primary was up: not that since a failure which fewer than
    `fall` observations have confirmed so far."""
    undecided = [span.started_at for span in spans if span.is_open and span.confirmed_at is None]
    if not undecided:
        return watched
    return intersection(watched, [Interval(_EVER, min(undecided))])


def down(spans: Iterable[Span], watches: Iterable[Watch]) -> IntervalSet:
    """The time in which a node that was watching had a confirmed outage on record.

    A span counts only where its own node watched: one that a dead node left open says nothing of the time since.
    """
    confirmed = [span for span in spans if span.confirmed_at is not None]
    watches = list(watches)
    nodes = {span.node for span in confirmed}
    return union(
        *(
            intersection(
                (span.interval for span in confirmed if span.node == node),
                (watch.interval for watch in watches if watch.node == node),
            )
            for node in nodes
        )
    )


def state_on_record(span: Span | None, watch: Watch | None, now: datetime, max_gap: timedelta) -> State:
    """A primary's state as its record tells it, from the span that is open and the latest watch, if any."""
    if watch is None or not watch.reaches(now, max_gap):
        return State.UNKNOWN
    if span is None:
        return State.UP
    if span.confirmed_at is None:
        return State.FALLING
    return State.DOWN if span.recovering_since is None else State.RISING


def storable(detail: str) -> str:
    """The text as every database takes it, and no longer than anybody reads."""
    # What a primary said may hold NUL and lone surrogates, which PostgreSQL takes in no text.
    return visible(detail[:MAX_DETAIL])
