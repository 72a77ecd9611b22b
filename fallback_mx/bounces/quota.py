"""How many reports may go to one address, and into one domain, in a while.

A domain's signature on a message stays good when somebody else sends that message again, and again; and a broken list
may bring thousands of refusals at once. However well a sender is vouched for, nobody wants so many reports. What was
counted is kept in memory alone, of so many senders: whoever is forgotten begins anew.
"""

from __future__ import annotations

from collections.abc import Callable

from fallback_mx.rules.bouncing import domain_of
from fallback_mx.rules.bucket import Bucket

ADDRESS_BURST = 20.0
DOMAIN_BURST = 200.0
FULL_AGAIN_SECONDS = 3600.0
MOST_SENDERS = 10_000


class Quota:
    """`now` is a clock in seconds that only goes forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: dict[str, Bucket] = {}

    def refusal(self, reverse_path: str) -> str:
        """Why no report may go there now, "" where one may: it is counted then."""
        now = self._now()
        taken: dict[str, Bucket] = {}
        for key, burst in ((reverse_path.lower(), ADDRESS_BURST), (f"@{domain_of(reverse_path)}", DOMAIN_BURST)):
            bucket = self._buckets.get(key) or Bucket.full(burst / FULL_AGAIN_SECONDS, burst, now)
            taken[key], wait = bucket.take(now)
            if wait > 0:
                return f"{burst:.0f} reports went to {key.removeprefix('@')} within an hour, no more go there for now"
        for key, bucket in taken.items():
            # The one that is looked at stands last: the first has not been for the longest time.
            self._buckets.pop(key, None)
            self._buckets[key] = bucket
        while len(self._buckets) > MOST_SENDERS:
            del self._buckets[next(iter(self._buckets))]
        return ""
