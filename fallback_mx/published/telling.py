"""From everything that is known to the facts that one audience may have. No clock, no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fallback_mx.published.discretion import cause_of, discreet
from fallback_mx.published.facts import Drain, Facts, Outage, Primary
from fallback_mx.published.past import Past
from fallback_mx.published.samples import KEPT, SLOT, Sample, Slots, slot_of
from fallback_mx.published.terms import Listed, Terms
from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.sentence import sentence
from fallback_mx.status import Primary as Seen
from fallback_mx.status import Status
from fallback_mx.visible import impersonal, visible

_NOTHING = Past((), (), None, ())

_WORDS = {
    Phase.PAUSED: "Deliveries are paused.",
    Phase.WAITING: "Mail is kept safe until the server is back.",
    Phase.BEHIND: "Deliveries wait until outcomes can be written down.",
    Phase.PUT_OFF: "The server is left alone for a moment after a failure.",
    Phase.CANARY: "One message goes first, to see that the server really works.",
    Phase.AT_CAP: "Mail is being delivered.",
    Phase.SLOWED: "Mail is being delivered, slowly to spare the server.",
    Phase.RAMPING: "Mail is being delivered, faster and faster.",
}


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything that is known, of all primaries, whoever may know it. `samples` and `past` are by primary."""

    status: Status
    past: Mapping[str, Past]
    samples: Mapping[str, Slots] = field(default_factory=dict)


def facts(whole: Whole, terms: Terms, customer: str | None) -> Facts:
    """What this customer may know; None is everybody."""
    listed = terms.listed(customer)
    status = discreet(whole.status, listed, shows_hosts=terms.shows_hosts)
    now = status.as_of
    return Facts(
        now,
        _sentence(status) if listed else "There is nothing to show here.",
        tuple(
            _primary(seen, whole.past.get(one.name, _NOTHING), whole.samples.get(one.name, {}), now)
            for one, seen in zip(listed, status.primaries, strict=True)
        ),
        _outages(whole.past, listed, shows_hosts=terms.shows_hosts),
        _together([whole.samples.get(one.name, {}) for one in listed], now),
        visible(customer or ""),
    )


def _sentence(status: Status) -> str:
    """Without how deliveries go in detail: what is told of each primary has that, in plainer words."""
    # The reason of a maintenance is in it, which somebody wrote.
    return visible(sentence(replace(status, primaries=tuple(replace(one, drain=None) for one in status.primaries))))


def _primary(seen: Seen, past: Past, samples: Slots, now: datetime) -> Primary:
    queued = seen.queued
    return Primary(
        seen.name,
        seen.state,
        seen.since,
        seen.cause,
        queued.pending_messages,
        queued.held_messages,
        _oldest_age(seen, samples, now) if queued.pending_messages else None,
        _drain(seen, samples, now) if queued.pending_messages and seen.drain is not None else None,
        past.days,
        past.uptime,
        tuple(replace(one, why=visible(impersonal(one.why))) for one in past.maintenance),
    )


def _oldest_age(seen: Seen, samples: Slots, now: datetime) -> timedelta | None:
    """Where mail is held too, the oldest of all may be of that: then what was sampled is said."""
    if not seen.queued.held_messages and seen.queued.oldest_arrived_at is not None:
        return max(timedelta(0), now - seen.queued.oldest_arrived_at)
    latest = samples.get(slot_of(now))
    return None if latest is None else timedelta(seconds=latest.oldest_age_seconds)


def _drain(seen: Seen, samples: Slots, now: datetime) -> Drain | None:
    drain, waiting = seen.drain, seen.queued.pending_messages
    assert isinstance(drain, DrainStatus)
    words = _WORDS.get(drain.phase, "")
    if not words:
        return None
    total = max(waiting, *(sample.messages for sample in _since_empty(samples, now)), waiting)
    return Drain(words, total - waiting, total, drain.messages_per_second, seen.time_left)


def _since_empty(samples: Slots, now: datetime) -> Sequence[Sample]:
    """The samples since nothing waited, the latest first."""
    found = []
    for at in sorted((at for at in samples if at <= now), reverse=True):
        if samples[at].messages == 0:
            break
        found.append(samples[at])
    return found or [Sample()]


def _outages(past: Mapping[str, Past], listed: Sequence[Listed], *, shows_hosts: bool) -> tuple[Outage, ...]:
    """Each as one node saw it; of several nodes that saw the same, the first to see it stands for all."""
    found = []
    for one in listed:
        until: datetime | None = None
        for span in sorted(past.get(one.name, _NOTHING).spans, key=lambda span: (span.started_at, span.id)):
            if until is not None and span.interval.end <= until:
                continue
            until = span.interval.end
            cause = cause_of(span, shows_hosts=shows_hosts)
            found.append(Outage(span.id, visible(one.title), span.started_at, span.ended_at, cause))
    return tuple(sorted(found, key=lambda each: (each.started_at, each.key), reverse=True))


def _together(of_primaries: Sequence[Slots], now: datetime) -> tuple[tuple[datetime, Sample | None], ...]:
    """A day of slots: what waited for all of them together, and the oldest of it."""
    last = slot_of(now)
    slots = [last - SLOT * back for back in range(KEPT // SLOT, -1, -1)]
    together: list[tuple[datetime, Sample | None]] = []
    for at in slots:
        known = [samples[at] for samples in of_primaries if at in samples]
        total = Sample(sum(one.messages for one in known), max((one.oldest_age_seconds for one in known), default=0))
        together.append((at, total if known else None))
    return tuple(together)
