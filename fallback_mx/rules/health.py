"""The health of a primary: a state table, and the one function that walks it.

TRANSITIONS is total: every state answers every signal, so `step` cannot fail. Damping (`rise`, `fall`, HAProxy's
words) delays what is decided, never what is recorded: an outage starts at its first failed observation and ends at
the first good one of the run that made the primary UP again. No time in an event lies before the outage's start,
whatever the wall clock did meanwhile. The picture of the table is docs/health.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from fallback_mx.rules.observation import Observation

__all__ = [
    "TRANSITIONS",
    "Damping",
    "Event",
    "EventKind",
    "Health",
    "Observation",
    "Signal",
    "State",
    "Transition",
    "blinded",
    "resumed",
    "step",
    "unobserved",
]


class State(StrEnum):
    UP = "up"
    FALLING = "falling"
    DOWN = "down"
    RISING = "rising"
    UNKNOWN = "unknown"


class Signal(StrEnum):
    """What an observation means next to those before it: one more of its kind, or the one that makes enough."""

    GOOD = "good"
    RISEN = "risen"  # the `rise`th good one in a row, or a later one
    BAD = "bad"
    FALLEN = "fallen"  # the `fall`th bad one in a row, or a later one


class EventKind(StrEnum):
    """What happens to the span of an outage."""

    STARTED = "started"
    CONFIRMED = "confirmed"
    RECOVERING = "recovering"
    RELAPSED = "relapsed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Damping:
    """How many consecutive results decide; each is at least 1."""

    rise: int
    fall: int


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a primary.

    `streak` counts the results in a row that agree with the state: good ones in UP and RISING, bad ones in FALLING
    and DOWN. `since` is when the state was entered. `failing_since` is the start of the outage on record, confirmed or
    not; `recovering_since` the first good observation of a run that has not yet ended it.
    """

    state: State
    streak: int
    since: datetime
    failing_since: datetime | None = None
    recovering_since: datetime | None = None
    last: Observation | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the outage on record: when it counts from, and what was seen."""

    kind: EventKind
    at: datetime
    phase: str
    detail: str


@dataclass(frozen=True, slots=True)
class Transition:
    target: State
    events: tuple[EventKind, ...] = ()


_OPEN = (EventKind.STARTED,)
_OPEN_CONFIRMED = (EventKind.STARTED, EventKind.CONFIRMED)
_END = (EventKind.ENDED,)
_RELAPSE = (EventKind.RELAPSED,)

TRANSITIONS: dict[tuple[State, Signal], Transition] = {
    (State.UNKNOWN, Signal.GOOD): Transition(State.UP),
    (State.UNKNOWN, Signal.RISEN): Transition(State.UP),
    (State.UNKNOWN, Signal.BAD): Transition(State.FALLING, _OPEN),
    (State.UNKNOWN, Signal.FALLEN): Transition(State.DOWN, _OPEN_CONFIRMED),
    (State.UP, Signal.GOOD): Transition(State.UP),
    (State.UP, Signal.RISEN): Transition(State.UP),
    (State.UP, Signal.BAD): Transition(State.FALLING, _OPEN),
    (State.UP, Signal.FALLEN): Transition(State.DOWN, _OPEN_CONFIRMED),
    (State.FALLING, Signal.GOOD): Transition(State.UP, _END),
    (State.FALLING, Signal.RISEN): Transition(State.UP, _END),
    (State.FALLING, Signal.BAD): Transition(State.FALLING),
    (State.FALLING, Signal.FALLEN): Transition(State.DOWN, (EventKind.CONFIRMED,)),
    (State.DOWN, Signal.GOOD): Transition(State.RISING, (EventKind.RECOVERING,)),
    (State.DOWN, Signal.RISEN): Transition(State.UP, _END),
    (State.DOWN, Signal.BAD): Transition(State.DOWN),
    (State.DOWN, Signal.FALLEN): Transition(State.DOWN),
    (State.RISING, Signal.GOOD): Transition(State.RISING),
    (State.RISING, Signal.RISEN): Transition(State.UP, _END),
    (State.RISING, Signal.BAD): Transition(State.DOWN, _RELAPSE),
    (State.RISING, Signal.FALLEN): Transition(State.DOWN, _RELAPSE),
}

# Which results a state's streak counts. UNKNOWN counts none: the first result begins a streak.
_COUNTS_GOOD = {State.UP: True, State.RISING: True, State.FALLING: False, State.DOWN: False, State.UNKNOWN: None}


def unobserved(at: datetime) -> Health:
    """Nothing is known yet."""
    return Health(State.UNKNOWN, 0, at)


def resumed(failing_since: datetime, *, confirmed: bool) -> Health:
    """The health of a primary with an outage on record that nobody saw end: what a restart begins with.

    A run of good observations does not outlive a restart, for nobody knows what came in between.
    """
    state = State.DOWN if confirmed else State.FALLING
    return Health(state, 1, failing_since, failing_since=failing_since)


def blinded(health: Health, at: datetime) -> Health:
    """The health of a primary that nobody can see from here any more: our own network is gone, not the primary.

    What was UP is unknown, so that mail is taken. An outage on record stays open; results in a row begin anew.
    """
    if health.failing_since is not None:
        confirmed = health.state in (State.DOWN, State.RISING)
        state = State.DOWN if confirmed else State.FALLING
        since = health.since if state is health.state else at
        return replace(health, state=state, streak=0, since=since, recovering_since=None)
    return health if health.state is State.UNKNOWN else replace(unobserved(at), last=health.last)


def step(health: Health, observation: Observation, damping: Damping) -> tuple[Health, tuple[Event, ...]]:
    """The health after one more observation, and what it does to the outage on record, in order."""
    agrees = _COUNTS_GOOD[health.state] is observation.good
    streak = health.streak + 1 if agrees else 1
    transition = TRANSITIONS[health.state, _signal(observation.good, streak, damping)]
    at = _moment(observation, health.last)
    failing_since = health.failing_since or at
    # A clock that was set back must not end an outage before it started.
    in_outage = max(at, failing_since)
    recovering_since = health.recovering_since or in_outage
    events = tuple(
        Event(
            kind,
            {EventKind.STARTED: failing_since, EventKind.ENDED: recovering_since}.get(kind, in_outage),
            observation.phase,
            observation.detail,
        )
        for kind in transition.events
    )
    after = replace(
        health,
        state=transition.target,
        streak=streak,
        since=health.since if transition.target is health.state else at,
        failing_since=None if transition.target is State.UP else failing_since,
        recovering_since=recovering_since if transition.target is State.RISING else None,
        last=observation,
    )
    return after, events


def _signal(good: bool, streak: int, damping: Damping) -> Signal:
    if good:
        return Signal.RISEN if streak >= damping.rise else Signal.GOOD
    return Signal.FALLEN if streak >= damping.fall else Signal.BAD


def _moment(observation: Observation, last: Observation | None) -> datetime:
    """When an observation counts from: its beginning, or the latest thing that another saw while it went on."""
    if last is not None and observation.at < last.at <= observation.ended_at:
        return last.at
    return observation.at
