"""What a running service has to tell: the status, the record of 90 days, and a day of samples, read together.

The record is read again when a primary's state has changed, otherwise every ten seconds: of 90 days not much more
happens in between. One that takes long to read is good for longer, so that a page takes a small part of the time there
is. The reading blocks and belongs into a thread. Raises QueueError.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fallback_mx import status
from fallback_mx.orders.book import OrderBook
from fallback_mx.outages.log import OutageLog
from fallback_mx.published.past import Past, Windows, no_windows, read_past
from fallback_mx.published.samples import KEPT, Sample, SampleBook, slot_of
from fallback_mx.published.telling import Whole
from fallback_mx.published.terms import Terms
from fallback_mx.rules.health import State
from fallback_mx.settlement.book import SettlementBook
from fallback_mx.status import Live
from mxqueue import Queue

PAST_IS_GOOD_FOR = timedelta(seconds=10)
AT_MOST = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class _Read:
    """The past as it was read: when, on what terms, and how the primaries were."""

    at: datetime
    good_for: timedelta
    terms: Terms
    states: Mapping[str, State]
    past: Mapping[str, Past]

    def holds(self, now: datetime, terms: Terms, states: Mapping[str, State]) -> bool:
        is_fresh = self.at <= now < self.at + self.good_for
        return is_fresh and self.terms is terms and self.states == states


class Publication:
    """`terms` may be replaced at any time; `windows` is the record of maintenance, `latest` the sampler's last look."""

    def __init__(
        self, queue: Queue, log: OutageLog, latest: Callable[[], Mapping[str, Sample]], windows: Windows = no_windows
    ) -> None:
        self.terms = Terms()
        self._queue = queue
        self._log = log
        self._orders = OrderBook(queue.writer.submit, queue.read)
        self._settlements = SettlementBook(queue.writer.submit, queue.read)
        self._samples = SampleBook(queue.writer.submit, queue.read)
        self._latest = latest
        self._windows = windows
        self._lock = threading.Lock()
        self._read: _Read | None = None

    def read(self, live: Mapping[str, Live], gaps: Mapping[str, timedelta], now: datetime) -> Whole:
        """Everything, as of `now`; `live` and `gaps` are what the service knows of each primary."""
        on_record = status.read_status(self._queue, self._log, self._orders, gaps, now)
        whole = status.with_live(on_record, live)
        states = {primary.name: primary.state for primary in whole.primaries}
        samples = self._samples.since(slot_of(now) - KEPT).result()
        for name, sample in self._latest().items():
            own = samples.setdefault(name, {})
            own[slot_of(now)] = sample.merged(own.get(slot_of(now), sample))
        return Whole(whole, self._past(states, now), samples)

    def _past(self, states: Mapping[str, State], now: datetime) -> Mapping[str, Past]:
        with self._lock:
            terms = self.terms
            if self._read is None or not self._read.holds(now, terms, states):
                began = time.monotonic()
                past = read_past(self._log, self._settlements, self._windows, terms.primaries, now)
                took = timedelta(seconds=time.monotonic() - began)
                self._read = _Read(now, max(PAST_IS_GOOD_FOR, min(20 * took, AT_MOST)), terms, states, past)
            return self._read.past
