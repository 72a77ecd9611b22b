"""What /metrics says of drains and orders."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.rules.orders import NO_ORDERS, Order, Standing, What
from fallback_mx.web.metrics import Figures, Metrics
from mxqueue import RecipientState, RouteCount

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SLOWED = DrainStatus(Phase.SLOWED, "421 busy", True, 1, 2, 5, 3, 10, 11, 4.0, "421 busy", 0.0)
IDLE = DrainStatus(Phase.IDLE, "", False, 0, 5, 5, 0, 0, 0, 0.0, "", 0.0)


def samples(figures: Figures) -> dict[tuple[str, str], float]:
    """By name, and by phase or state where there is one."""
    page = Metrics("9.9.9", ["main"]).render(figures).decode()
    return {
        (
            sample.name.removeprefix("fallback_mx_"),
            sample.labels.get("phase", sample.labels.get("state", "")),
        ): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def figures(drain: DrainStatus, orders: Standing = NO_ORDERS, pending: int = 12) -> Figures:
    counts = [RouteCount("main", RecipientState.PENDING, pending, pending, NOW)]
    return Figures(NOW, {"main": "up"}, counts, {"main": drain}, {"main": orders})


def test_a_drain_has_its_phase_its_connections_its_rate_and_the_time_left() -> None:
    found = samples(figures(SLOWED))
    phases = {key[1]: value for key, value in found.items() if key[0] == "drain_phase"}
    assert phases == {phase.value: float(phase is Phase.SLOWED) for phase in Phase}
    names = ("connections", "allowed_connections", "max_connections", "messages_per_second", "left_seconds")
    assert [found[f"drain_{name}", ""] for name in names] == [1, 2, 5, 4, 3]


def test_where_nothing_moves_there_is_no_time_left() -> None:
    assert ("drain_left_seconds", "") not in samples(figures(IDLE))


def test_orders_are_ones() -> None:
    force = Order("main", What.FORCE_DOWN, NOW, NOW, "root", "")
    pause = Order("main", What.PAUSE, NOW, None, "root", "")
    found = samples(figures(IDLE, Standing(pause, force)))
    assert found["primary_paused", ""] == 1
    assert (found["primary_forced", "up"], found["primary_forced", "down"]) == (0, 1)
    found = samples(figures(IDLE))
    assert found["primary_paused", ""] == 0
    assert (found["primary_forced", "up"], found["primary_forced", "down"]) == (0, 0)
