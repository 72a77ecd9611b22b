"""Whether a primary that answers does so in good time: the same look, in terms of speed."""

from __future__ import annotations

from datetime import timedelta

from fallback_mx.rules.observation import Observation


def of_pace(seen: Observation, limit: timedelta) -> Observation:
    """A good look, as one that is good if it took no longer than `limit`. It names the step that took most of it."""
    seconds = seen.duration_seconds or 0.0
    if seconds <= limit.total_seconds():
        return Observation(True, seen.at, seen.phase, f"answered in {seconds:.3g} s", seconds)
    phase, most = max(seen.phases, key=lambda each: each[1], default=(seen.phase, seconds))
    return Observation(False, seen.at, phase, f"took {seconds:.3g} s, {most:.3g} s of it for {phase}", seconds)
