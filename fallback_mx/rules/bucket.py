"""A token bucket: so many at once, then so many a second."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` is what it held at `at` (seconds of a clock that only goes forward); it may be in debt."""

    per_second: float
    burst: float
    tokens: float
    at: float

    @classmethod
    def full(cls, per_second: float, burst: float, now: float) -> Bucket:
        return cls(per_second, burst, burst, now)

    def take(self, now: float) -> tuple[Bucket, float]:
        """Take a token, and how many seconds to wait before using it. Those who come later wait longer."""
        elapsed = max(0.0, now - self.at)
        tokens = min(self.burst, self.tokens + elapsed * self.per_second) - 1
        wait = max(0.0, -tokens / self.per_second)
        return replace(self, tokens=tokens, at=max(self.at, now)), wait
