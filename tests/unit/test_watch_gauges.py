"""What /metrics and /status.json say of how primaries are watched."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from fallback_mx.rules.health import State
from fallback_mx.rules.watching import NOTHING, PortState, Watching
from fallback_mx.web.metrics import Figures, Metrics

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SEEN = Watching(
    phases=(("connect", 0.001), ("banner", 0.5)),
    certificate_expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    slow_since=NOW,
    ports=(PortState("993", State.UP), PortState("443", State.FALLING), PortState("995", State.UNKNOWN)),
)


def samples(watching: Watching, *, is_cut_off: bool = False) -> dict[tuple[str, str], float]:
    """By name, and by phase or port where there is one."""
    figures = Figures(NOW, {"main": "up"}, [], watched={"main": watching}, is_cut_off=is_cut_off)
    page = Metrics("9.9.9", ["main"]).render(figures).decode()
    return {
        (sample.name.removeprefix("fallback_mx_"), sample.labels.get("phase", sample.labels.get("port", ""))): (
            sample.value
        )
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_the_steps_of_the_last_probe_have_their_seconds() -> None:
    found = samples(SEEN)
    assert (found["probe_duration_seconds", "connect"], found["probe_duration_seconds", "banner"]) == (0.001, 0.5)


def test_the_certificate_has_its_end_and_none_where_none_was_shown() -> None:
    name = ("primary_certificate_end_timestamp_seconds", "")
    assert samples(SEEN)[name] == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert name not in samples(NOTHING)


def test_slow_is_one_while_it_lasts_and_else_zero() -> None:
    assert (samples(SEEN)["primary_slow", ""], samples(NOTHING)["primary_slow", ""]) == (1, 0)


def test_a_port_is_up_down_or_not_yet_known() -> None:
    ports = {port: value for (name, port), value in samples(SEEN).items() if name == "primary_port_up"}
    assert ports == {"993": 1, "443": 0}


def test_cut_off_is_of_this_machine_and_no_primary() -> None:
    assert samples(NOTHING)["cut_off", ""] == 0
    assert samples(NOTHING, is_cut_off=True)["cut_off", ""] == 1
