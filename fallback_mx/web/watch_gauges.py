"""Gauges of how the primaries are watched: the last probe's steps, certificates, pace, and their other ports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from fallback_mx.rules.health import State
from fallback_mx.rules.watching import Watching


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fallback_mx_{name}", help_text, labels=labels)


def watch_gauges(watched: Mapping[str, Watching], *, is_cut_off: bool) -> Iterable[Metric]:
    """A certificate has a series only where the primary showed one, a port only once it was knocked at."""
    probes = _gauge("probe_duration_seconds", "How long each step of the last probe took.", "primary", "phase")
    ends = _gauge(
        "primary_certificate_end_timestamp_seconds", "When the primary's certificate is valid no more.", "primary"
    )
    slow = _gauge("primary_slow", "1 while the primary answers, and takes longer than slow_after.", "primary")
    ports = _gauge("primary_port_up", "1 while somebody answers at this other port.", "primary", "port")
    cut_off = _gauge("cut_off", "1 while no control answers: our own network is gone.")
    cut_off.add_metric([], float(is_cut_off))
    for primary, watching in watched.items():
        for phase, seconds in watching.phases:
            probes.add_metric([primary, phase], seconds)
        if watching.certificate_expires_at is not None:
            ends.add_metric([primary], watching.certificate_expires_at.timestamp())
        slow.add_metric([primary], float(watching.slow_since is not None))
        for port in watching.ports:
            if port.state is not State.UNKNOWN:
                ports.add_metric([primary, port.name], float(port.state is State.UP))
    return probes, ends, slow, ports, cut_off
