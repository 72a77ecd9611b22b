"""How much the next hop is given now, and when it is left alone: the moving parts around rules/ramp.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from fallback_mx.redelivery.terms import DrainSettings
from fallback_mx.rules import ramp
from fallback_mx.rules.backoff import Backoff, wait

# Mail for nobody often waits ahead of good mail: so many refusals in a row do not keep the next canary waiting.
CANARIES_AT_ONCE = 10


class Pace:
    """`connections` stand now, at `served_at` the next hop last served a message. `now` is a
    monotonic clock in seconds."""

    def __init__(self, settings: DrainSettings, chance: Callable[[], float], now: Callable[[], float]) -> None:
        self.connections = 0
        self.served_at = float("-inf")
        self.last_failure = ""
        self._trouble = ""
        self._settings = settings
        self._chance = chance
        self._now = now
        self._ramp = ramp.CANARY
        self._failures = 0
        self._answered = 0  # canaries on end that were refused, and by a server that answers
        self._put_off_until = now()

    @property
    def allowed(self) -> int:
        return min(self._ramp.connections, self._settings.max_connections)

    @property
    def is_canary(self) -> bool:
        return self._ramp.is_canary

    @property
    def trouble(self) -> str:
        """What has made it less than the configuration allows, "" where nothing has."""
        return self._trouble if self.is_canary or self.allowed < self._settings.max_connections else ""

    @property
    def put_off_seconds(self) -> float:
        """How long the next hop is still left alone."""
        return max(0.0, self._put_off_until - self._now())

    def begin_again(self) -> None:
        """The primary has come back: whatever was learned before, a canary goes first, and at once."""
        self._ramp = ramp.CANARY
        self._failures = self._answered = 0
        self._trouble = ""
        self._put_off_until = self._now()

    def on_served(self, was_served: bool | None, strain: str = "", *, was_answered: bool = False) -> None:
        """One message is through; see `was_served`, `strain` and `was_answered` in rules/disposition.py."""
        if was_served:
            self.served_at = self._now()
            self._failures = self._answered = 0
            self._ramp = ramp.succeeded(self._ramp, self._settings.max_connections)
            if self.allowed == self._settings.max_connections:
                self._trouble = ""
        elif was_served is False:
            self._trouble = strain
            self._ramp = ramp.troubled(self._ramp)
            self._answered = self._answered + 1 if was_answered else CANARIES_AT_ONCE
            if self.is_canary and self._answered >= CANARIES_AT_ONCE:
                self._answered = 0
                self._put_off(self._settings.canary_backoff)

    def on_no_connection(self, reason: str) -> bool:
        """A connection was not to be had. Whether that says something about the next hop as a whole."""
        self.last_failure = self._trouble = reason
        if self.connections:
            self._ramp = ramp.crowded(self._ramp, self.connections)
            return False
        self._ramp = ramp.disconnected(self._ramp)
        self._put_off(self._settings.connection_backoff)
        return True

    def leave_if_too_many(self) -> bool:
        """Whether one of the connections should end, since fewer are allowed now. It is counted out at once."""
        if self.connections <= self.allowed:
            return False
        self.connections -= 1
        return True

    def _put_off(self, backoff: Backoff) -> None:
        self._failures += 1
        delay = wait(self._failures, timedelta(), self._chance(), backoff)
        assert delay is not None
        self._put_off_until = self._now() + delay.total_seconds()
