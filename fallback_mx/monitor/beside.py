"""What is watched of a primary beside whether it is up: how fast it answers, and who answers at its other ports.

Each walks the table of `rules.health` by itself, with a damping of its own. None of it decides anything: it is told and
put on record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from fallback_mx.monitor.settings import MonitorSettings
from fallback_mx.outages.recorder import Recorder, Track
from fallback_mx.outages.spans import Kind, Span
from fallback_mx.rules.health import Damping, Health, Observation, State, blinded, resumed, step, unobserved
from fallback_mx.rules.pace import of_pace

OnBeside = Callable[[str, Kind, str, Health, Health], None]
"""The primary's name, what kind of thing it is, which port, its health before and after."""

SLOW: Track = (Kind.SLOW, "")


@dataclass(frozen=True, slots=True)
class PortHealth:
    name: str
    health: Health


class Beside:
    """`on_beside` is called when the state of one of them changes."""

    def __init__(self, name: str, settings: MonitorSettings, recorder: Recorder, on_beside: OnBeside) -> None:
        self._name = name
        self._settings = settings
        self._recorder = recorder
        self._on_beside = on_beside
        self._tracks: dict[Track, Health] = {}

    @property
    def slow_since(self) -> datetime | None:
        """Since when it has been slow; None while it is not."""
        pace = self._tracks.get(SLOW)
        return pace.failing_since if pace is not None and pace.state in (State.DOWN, State.RISING) else None

    @property
    def ports(self) -> tuple[PortHealth, ...]:
        return tuple(PortHealth(port, health) for (kind, port), health in self._tracks.items() if kind is Kind.PORT)

    def resume(self, spans: Iterable[Span], now: datetime) -> None:
        """Go on with what is open on record; what is not watched any more ends."""
        wanted = {(Kind.PORT, name) for name in self._settings.ports}
        if self._settings.slow_after is not None:
            wanted.add(SLOW)
        for span in spans:
            track = (span.kind, span.subject)
            if track in wanted:
                self._tracks[track] = resumed(span.started_at, confirmed=True)
            else:
                self._recorder.end(track, now, "", "no longer watched")

    def take(self, observation: Observation) -> None:
        """Take what a look says of them."""
        limit = self._settings.slow_after
        if limit is not None and observation.is_probe:
            if observation.good:
                self._step(SLOW, of_pace(observation, limit), self._settings.slow_damping)
            else:
                self._end_slowness(observation)
        for port in observation.ports:
            seen = Observation(port.good, observation.at, "port", port.detail)
            self._step((Kind.PORT, port.name), seen, self._settings.damping)

    def blind(self, at: datetime) -> None:
        """Nobody can see any of them."""
        for track, before in list(self._tracks.items()):
            self._change(track, before, blinded(before, at))

    def _step(self, track: Track, seen: Observation, damping: Damping) -> None:
        before = self._tracks.get(track) or unobserved(seen.at)
        after, events = step(before, seen, damping)
        self._recorder.note_beside(track, seen, events)
        self._change(track, before, after)

    def _end_slowness(self, observation: Observation) -> None:
        """It does not answer at all: that is something else."""
        before = self._tracks.get(SLOW)
        if before is not None and before.failing_since is not None:
            self._recorder.end(SLOW, before.recovering_since or observation.at, observation.phase, observation.detail)
            self._change(SLOW, before, unobserved(observation.at))

    def _change(self, track: Track, before: Health, after: Health) -> None:
        self._tracks[track] = after
        if after.state is not before.state:
            self._on_beside(self._name, *track, before, after)
