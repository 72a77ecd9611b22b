"""What Prometheus may ask: counters that the parts count up, and gauges read off the queue at each scrape.

Every name begins with `fallback_mx_` and is in base units. The registry is this object's own: nothing of another
library gets in. Counting cannot fail and does not wait. When the queue cannot be read its gauges are left out and
`fallback_mx_queue_readable` is 0: an absent series raises an alarm, a stale number would not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fallback_mx.rules.draining import DrainStatus
from fallback_mx.rules.orders import Standing
from fallback_mx.rules.watching import Watching
from fallback_mx.web.drain_gauges import drain_gauges, order_gauges
from fallback_mx.web.watch_gauges import watch_gauges
from mxqueue.model import LIVE_STATES, RecipientState, RouteCount

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GRACE = "grace"
PRIMARY_STATES = ("up", "falling", "down", "rising", "unknown")


@dataclass(frozen=True, slots=True)
class Figures:
    """What is true at the moment of a scrape. `counts` is None where the queue could not be read.

    `states` has the health state of every configured primary, in the words of PRIMARY_STATES; `drains` and `orders`
    say how the delivery of each goes, and what an operator has ordered of it; `watched` what else is seen of it.
    """

    at: datetime
    states: Mapping[str, str]
    counts: Sequence[RouteCount] | None
    drains: Mapping[str, DrainStatus] = field(default_factory=dict)
    orders: Mapping[str, Standing] = field(default_factory=dict)
    under_maintenance: Collection[str] = ()
    watched: Mapping[str, Watching] = field(default_factory=dict)
    is_cut_off: bool = False

    @property
    def pending(self) -> Mapping[str, int] | None:
        """How many messages wait for each primary that any wait for; None where that could not be read."""
        if self.counts is None:
            return None
        return {each.route: each.messages for each in self.counts if each.state is RecipientState.PENDING}


class Metrics:
    """The counters of one service. The counting methods are handed to the parts as callables, all on one loop."""

    def __init__(self, version: str, primaries: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter that nobody asks for
        self.registry = CollectorRegistry()
        self._gauges = _QueueGauges()
        self.registry.register(self._gauges)
        ProcessCollector(namespace="fallback_mx", registry=self.registry)
        build = Gauge("fallback_mx_build_info", "The version that runs.", ["version"], registry=self.registry)
        build.labels(version).set(1)
        self._accepted = self._counter("accepted_messages", "Messages committed and answered with 250.", "primary")
        self._octets = self._counter("accepted_octets", "Octets of content accepted.", "primary")
        self._proxied = self._counter("proxied_messages", "Messages played through that the primary took.", "primary")
        self._proxy_failures = self._counter(
            "proxy_failures", "Transactions that the primary failed while they were played through.", "primary"
        )
        self._refused = self._counter("refused", "Commands, recipients and messages refused.", "reason")
        self._let_in = Counter(
            "fallback_mx_let_in_recipients",
            "Recipients taken though their primary is up and guards its door, by what let them in.",
            ["primary", "reason"],
            registry=self.registry,
        )
        self._delivered = self._counter("delivered_recipients", "Recipients the primary has taken.", "primary")
        self._deferred = self._counter("deferred", "Attempts that failed for now, by recipient.", "primary")
        self._connections = Counter(
            "fallback_mx_connections", "Connections that senders opened.", registry=self.registry
        )
        self._sessions = Gauge("fallback_mx_sessions", "Senders connected now.", registry=self.registry)
        self.add_primaries(primaries)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"fallback_mx_{name}", text, [label], registry=self.registry)

    def add_primaries(self, names: Iterable[str]) -> None:
        """Let their counters stand at 0 from the start, so that the first increase can be seen."""
        for name in names:
            for counter in (
                *(self._accepted, self._octets, self._delivered, self._deferred),
                *(self._proxied, self._proxy_failures),
            ):
                counter.labels(name)
            self._let_in.labels(name, GRACE)

    def accepted(self, primary: str, messages: int, octets: int) -> None:
        """So many messages were committed, with so many octets of content."""
        self._accepted.labels(primary).inc(messages)
        self._octets.labels(primary).inc(octets)

    def proxied(self, primary: str, times: int = 1) -> None:
        """A message was played through, and the primary took it."""
        self._proxied.labels(primary).inc(times)

    def proxy_failed(self, primary: str, times: int = 1) -> None:
        """The primary failed while a transaction was played through to it."""
        self._proxy_failures.labels(primary).inc(times)

    def refused(self, reason: str, times: int = 1) -> None:
        """Something was answered with 4xx or 5xx. `reason` is one of a fixed set of words, never a reply's text."""
        self._refused.labels(reason).inc(times)

    def let_in(self, primary: str, reason: str, times: int = 1) -> None:
        """A recipient was taken that would have been sent to the primary. `reason` is one of a fixed set of words."""
        self._let_in.labels(primary, reason).inc(times)

    def delivered(self, primary: str, recipients: int = 1) -> None:
        """The primary answered 2xx for so many recipients."""
        self._delivered.labels(primary).inc(recipients)

    def deferred(self, primary: str, recipients: int = 1) -> None:
        """An attempt failed for now for so many recipients."""
        self._deferred.labels(primary).inc(recipients)

    def session_opened(self) -> None:
        """A sender connected."""
        self.count_sessions(1, 0)

    def session_closed(self) -> None:
        """A sender went away."""
        self.count_sessions(0, 1)

    def count_sessions(self, opened: int, closed: int) -> None:
        """So many senders have connected, and so many gone away."""
        self._connections.inc(opened)
        self._sessions.inc(opened - closed)

    def render(self, figures: Figures) -> bytes:
        """The whole page, in Prometheus's text format 0.0.4."""
        self._gauges.figures = figures
        return generate_latest(self.registry)


class _QueueGauges(Collector):
    """Gauges of the figures that were set last, each with a series for every primary and state there can be."""

    figures: Figures | None = None

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        figures = self.figures
        if figures is None:
            return
        yield from _state_gauges(figures.states)
        readable = GaugeMetricFamily("fallback_mx_queue_readable", "Whether the queue could be read just now.")
        readable.add_metric([], float(figures.counts is not None))
        yield readable
        yield from drain_gauges(figures.drains, figures.pending)
        yield from order_gauges(figures.orders)
        yield _maintenance_gauge(figures.states, figures.under_maintenance)
        yield from watch_gauges(figures.watched, is_cut_off=figures.is_cut_off)
        if figures.counts is not None:
            yield from _count_gauges(figures.counts, figures.states, figures.at)


def _state_gauges(states: Mapping[str, str]) -> Iterable[Metric]:
    up = GaugeMetricFamily("fallback_mx_primary_up", "1 while the primary is up.", labels=["primary"])
    each = GaugeMetricFamily(
        "fallback_mx_primary_state", "1 for the state the primary is in.", labels=["primary", "state"]
    )
    for primary, state in states.items():
        up.add_metric([primary], float(state == "up"))
        for possible in PRIMARY_STATES:
            each.add_metric([primary, possible], float(state == possible))
    return up, each


def _maintenance_gauge(primaries: Iterable[str], under_maintenance: Collection[str]) -> Metric:
    gauge = GaugeMetricFamily(
        "fallback_mx_primary_maintenance", "1 while a window of maintenance is on.", labels=["primary"]
    )
    for primary in primaries:
        gauge.add_metric([primary], float(primary in under_maintenance))
    return gauge


def _count_gauges(counts: Sequence[RouteCount], primaries: Iterable[str], now: datetime) -> Iterable[Metric]:
    messages = GaugeMetricFamily(
        "fallback_mx_queue_messages", "Messages with a recipient in this state.", labels=["primary", "state"]
    )
    recipients = GaugeMetricFamily(
        "fallback_mx_queue_recipients", "Recipients in this state.", labels=["primary", "state"]
    )
    age = GaugeMetricFamily(
        "fallback_mx_queue_oldest_age_seconds", "Age of the oldest message that waits.", labels=["primary"]
    )
    found = {(count.route, count.state): count for count in counts}
    for primary in dict.fromkeys([*primaries, *(count.route for count in counts)]):
        oldest = now
        for state in sorted(LIVE_STATES):
            count = found.get((primary, state))
            messages.add_metric([primary, state.value], count.messages if count else 0)
            recipients.add_metric([primary, state.value], count.recipients if count else 0)
            if count is not None and count.oldest_arrived_at is not None:
                oldest = min(oldest, count.oldest_arrived_at)
        age.add_metric([primary], (now - oldest).total_seconds())
    return messages, recipients, age
