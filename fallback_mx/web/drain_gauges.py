"""Gauges of how the drains go and of what operators have ordered, a series for each phase and state there can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.rules.health import State
from fallback_mx.rules.orders import Standing


def _gauge(name: str, help_text: str, *more: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fallback_mx_{name}", help_text, labels=["primary", *more])


def drain_gauges(drains: Mapping[str, DrainStatus], pending: Mapping[str, int] | None) -> Iterable[Metric]:
    """`pending` is how many messages wait for each primary, None where that is not known: no time left is said then."""
    phases = _gauge("drain_phase", "1 for what the delivery to the primary is at.", "phase")
    open_now = _gauge("drain_connections", "Connections to the primary.")
    allowed = _gauge("drain_allowed_connections", "Connections that the primary is trusted with now.")
    cap = _gauge("drain_max_connections", "Connections that the configuration allows.")
    rate = _gauge("drain_messages_per_second", "Messages delivered in a second, over the last minute of the drain.")
    left = _gauge("drain_left_seconds", "How long what waits takes at this rate.")
    put_off = _gauge("drain_put_off_seconds", "How long the primary is still left alone after a failure.")
    for primary, drain in drains.items():
        for phase in Phase:
            phases.add_metric([primary, phase.value], float(phase is drain.phase))
        open_now.add_metric([primary], drain.connections)
        allowed.add_metric([primary], drain.allowed_connections)
        cap.add_metric([primary], drain.max_connections)
        rate.add_metric([primary], drain.messages_per_second)
        put_off.add_metric([primary], drain.put_off_seconds)
        time_left = None if pending is None else drain.time_left(pending.get(primary, 0))
        if time_left is not None:
            left.add_metric([primary], time_left.total_seconds())
    return phases, open_now, allowed, cap, rate, left, put_off


def order_gauges(orders: Mapping[str, Standing]) -> Iterable[Metric]:
    paused = _gauge("primary_paused", "1 while an operator has paused deliveries.")
    forced = _gauge("primary_forced", "1 for the state that an operator has forced.", "state")
    for primary, standing in orders.items():
        paused.add_metric([primary], float(standing.pause is not None))
        state = None if standing.force is None else standing.force.forced_state
        for possible in (State.UP, State.DOWN):
            forced.add_metric([primary, possible.value], float(possible is state))
    return paused, forced
