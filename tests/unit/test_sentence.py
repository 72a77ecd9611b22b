"""The sentence of a status, and what the running service adds to the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fallback_mx.maintenance.windows import Upkeep
from fallback_mx.rules.draining import DrainStatus, Phase
from fallback_mx.rules.health import Observation, State
from fallback_mx.rules.orders import NO_ORDERS, Order, Standing, What
from fallback_mx.rules.watching import PortState, Watching
from fallback_mx.sentence import sentence
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import Window
from fallback_mx.status import Live, Primary, Queued, Status, as_json, with_live, with_upkeeps

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def _ago(minutes: int) -> datetime:
    return NOW - timedelta(minutes=minutes)


def _status(*primaries: Primary) -> Status:
    return Status(NOW, primaries, (), {})


def _queued(pending: int = 0, held: int = 0, oldest_minutes: int = 13) -> Queued:
    return Queued(pending, held, pending + held, _ago(oldest_minutes) if pending or held else None)


UP = Primary("main", State.UP, _ago(60))
DOWN = Primary("main", State.DOWN, _ago(14), "connection refused")
FALLING = Primary("b", State.FALLING, _ago(1), "timed out")
RISING = Primary("c", State.RISING, _ago(1))
UNKNOWN = Primary("d", State.UNKNOWN, None)


SLOW = Watching(slow_since=_ago(12))
CUT_OFF = Watching(cut_off_since=_ago(3))


@pytest.mark.parametrize(
    ("primaries", "said"),
    [
        ((replace(UP, watching=SLOW),), "main is up; main is slow for 12 min; no message waits."),
        (
            (replace(UP, watching=Watching(ports=(PortState("993", State.DOWN), PortState("443", State.UP)))),),
            "main is up; nobody answers at port 993 of main; no message waits.",
        ),
        (
            (replace(DOWN, watching=Watching(ports=(PortState("993", State.DOWN, decides=True),))),),
            "main is down for 14 min (connection refused); no message waits.",
        ),
        (
            (replace(UNKNOWN, watching=CUT_OFF), UP),
            "this machine is cut off from the network for 3 min, and takes mail; no message waits.",
        ),
        (
            (replace(UNKNOWN, watching=CUT_OFF), FALLING),
            "b has failed for 1 min (timed out), the service has not been watching d; no message waits.",
        ),
    ],
)
def test_what_is_the_matter_beside_outages_is_told(primaries: tuple[Primary, ...], said: str) -> None:
    assert sentence(_status(*primaries)) == said


def test_reports_to_senders_are_told_apart_from_mail() -> None:
    reports = Queued(pending_messages=2, held_messages=1, recipients=3)
    assert sentence(replace(_status(UP), reports=reports)) == (
        "main is up; no message waits; 3 reports to senders, 1 of them held."
    )


@pytest.mark.parametrize(
    ("primaries", "said"),
    [
        ((UP,), "main is up; no message waits."),
        ((UP, Primary("b", State.UP, NOW)), "all 2 primaries are up; no message waits."),
        ((DOWN,), "main is down for 14 min (connection refused); no message waits."),
        ((UP, FALLING), "b has failed for 1 min (timed out); no message waits."),
        ((RISING,), "c answers again for 1 min; no message waits."),
        ((UNKNOWN,), "the service has not been watching d; no message waits."),
        (
            (Primary("d", State.UNKNOWN, _ago(120)),),
            "the service has not been watching d for 2 h; no message waits.",
        ),
        ((UNKNOWN, Primary("e", State.UNKNOWN, NOW)), "the service is not watching its primaries; no message waits."),
        (
            (UNKNOWN, RISING, FALLING, DOWN),
            "main is down for 14 min (connection refused), b has failed for 1 min (timed out),"
            " c answers again for 1 min, 1 more are not up; no message waits.",
        ),
    ],
    ids=["up", "all up", "down", "falling", "rising", "unwatched", "left alone", "no service", "worst first"],
)
def test_the_primaries_are_told_worst_first(primaries: tuple[Primary, ...], said: str) -> None:
    assert sentence(_status(*primaries)) == said


@pytest.mark.parametrize(
    ("primaries", "said"),
    [
        ((UNKNOWN,), "the service is not running; no message waits."),
        (
            (UNKNOWN, Primary("e", State.UNKNOWN, _ago(5)), Primary("f", State.UNKNOWN, _ago(9))),
            "the service is not running; its primaries were last watched 5 min ago; no message waits.",
        ),
    ],
)
def test_a_stopped_service_is_told_before_anything_else(primaries: tuple[Primary, ...], said: str) -> None:
    assert sentence(replace(_status(*primaries), is_running=False)) == said


@pytest.mark.parametrize(
    ("state", "queued", "said"),
    [
        (State.DOWN, _queued(212), "212 messages are safe; oldest 13 min."),
        (State.DOWN, _queued(1), "1 message is safe; oldest 13 min."),
        (State.UP, _queued(2), "2 messages are being delivered; oldest 13 min."),
        (State.UP, _queued(0, 3), "3 messages are held; oldest 13 min."),
        (State.DOWN, _queued(2, 1), "2 messages are safe; 1 message is held; oldest 13 min."),
    ],
)
def test_the_mail_is_told_with_its_oldest(state: State, queued: Queued, said: str) -> None:
    text = sentence(_status(Primary("main", state, NOW, queued=queued)))
    assert text.split("; ", 1)[1] == said


def test_mail_that_waits_for_one_that_is_down_is_safe_whatever_the_others_do() -> None:
    down = Primary("b", State.DOWN, _ago(1), "x", queued=_queued(1))
    assert "1 message is safe" in sentence(_status(UP, down))


def test_mail_for_a_primary_that_is_gone_from_the_configuration_is_told() -> None:
    gone = Primary("old", State.UNKNOWN, None, queued=_queued(5), is_configured=False)
    assert sentence(_status(UP, gone)) == (
        "main is up; oldest 13 min; 5 messages for old, which is not in the configuration."
    )


def _drain(phase: Phase = Phase.IDLE, reason: str = "", *, rate: float = 0.0, allowed: int = 2) -> DrainStatus:
    return DrainStatus(
        phase=phase,
        reason=reason,
        is_draining=phase.moves,
        connections=1,
        allowed_connections=allowed,
        max_connections=5,
        in_hand=0,
        delivered=0,
        attempted=0,
        messages_per_second=rate,
        last_failure="",
        put_off_seconds=12.3 if phase is Phase.PUT_OFF else 0.0,
    )


def _live(state: State, *, good: bool = False, detail: str = "timed out") -> Live:
    return Live(state, _ago(2), Observation(good, NOW, "banner", detail), _drain())


@pytest.mark.parametrize(
    ("drain", "said"),
    [
        (_drain(Phase.CANARY), "main gets one message first"),
        (_drain(Phase.CANARY, "421 busy"), "main gets one message first (421 busy)"),
        (_drain(Phase.RAMPING, rate=4.0), "main gets more and more, 2 of 5 connections at 4 messages/s, 3 s left"),
        (
            _drain(Phase.SLOWED, "451 <bob@example.org> later", rate=0.1),
            "main gets 2 of 5 connections (451 <…@example.org> later) at 0.1 messages/s, 2 min left",
        ),
        (_drain(Phase.AT_CAP, rate=12.0, allowed=5), "main gets all 5 connections at 12 messages/s, 1 s left"),
        (_drain(Phase.PUT_OFF, "connect: refused"), "main is left alone for 12 s (connect: refused)"),
        (_drain(Phase.BEHIND), "main gets nothing new: outcomes cannot be written down"),
        (_drain(Phase.WAITING), ""),
        (_drain(Phase.IDLE), ""),
    ],
    ids=lambda value: value.phase.name if isinstance(value, DrainStatus) else "",
)
def test_how_a_drain_goes_is_told_with_its_reason_and_the_time_left(drain: DrainStatus, said: str) -> None:
    text = sentence(_status(replace(UP, queued=_queued(12), drain=drain)))
    assert text.split("oldest 13 min", 1)[1] == (f"; {said}." if said else ".")


def test_of_a_drain_with_nothing_to_do_nothing_is_told() -> None:
    assert sentence(_status(replace(UP, drain=_drain(Phase.CANARY)))) == "main is up; no message waits."


def _order(what: What, minutes: int | None, reason: str = "") -> Order:
    return Order("main", what, NOW, None if minutes is None else NOW + timedelta(minutes=minutes), "root", reason)


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        (Standing(pause=_order(What.PAUSE, None)), "main is up; main is paused until it is resumed; 1 message is safe"),
        (
            Standing(pause=_order(What.PAUSE, 119, "disks")),
            "main is up; main is paused for 1 h 59 min more (disks); 1 message is safe",
        ),
        (
            Standing(force=_order(What.FORCE_DOWN, 60)),
            "main is up; main is forced down for 1 h more; 1 message is safe",
        ),
        (
            Standing(force=_order(What.FORCE_UP, 60)),
            "main is up; main is forced up for 1 h more; 1 message is being delivered",
        ),
    ],
    ids=["paused", "for a while", "down", "up"],
)
def test_what_an_operator_has_ordered_is_told(orders: Standing, said: str) -> None:
    assert sentence(_status(replace(UP, queued=_queued(1), orders=orders))) == f"{said}; oldest 13 min."


def test_what_the_service_knows_goes_before_the_record() -> None:
    (primary,) = with_live(_status(UNKNOWN), {"d": _live(State.DOWN)}).primaries
    assert (primary.state, primary.since, primary.cause) == (State.DOWN, _ago(2), "timed out")
    assert (primary.drain, primary.orders) == (_drain(), NO_ORDERS)


def test_the_services_status_has_the_figures_of_its_drain_and_the_record_has_none() -> None:
    on_record = _status(DOWN)
    live = with_live(on_record, {"main": _live(State.DOWN)})
    told = [as_json(one, "")["primaries"][0]["drain"] for one in (on_record, live)]
    assert told[0] is None
    assert (told[1]["phase"], told[1]["allowed_connections"], told[1]["seconds_left"]) == ("idle", 2, None)


def test_an_outage_counts_from_its_first_failure_even_where_the_service_decided_later() -> None:
    (primary,) = with_live(_status(DOWN), {"main": _live(State.DOWN)}).primaries
    assert (primary.since, primary.cause) == (_ago(14), "connection refused")


def test_a_primary_that_is_up_again_has_no_cause() -> None:
    (primary,) = with_live(_status(DOWN), {"main": _live(State.UP, good=True)}).primaries
    assert (primary.state, primary.since, primary.cause) == (State.UP, _ago(2), "")


def test_a_primary_that_the_service_says_nothing_of_stays_as_on_record() -> None:
    assert with_live(_status(DOWN), {}).primaries == (DOWN,)


def test_no_address_in_an_observation_is_shown() -> None:
    enlivened = with_live(_status(UNKNOWN), {"d": _live(State.DOWN, detail="550 bob@example.org")})
    shown = as_json(enlivened, sentence(enlivened))
    assert shown["primaries"][0]["last_observation"]["detail"] == "550 …@example.org"
    assert "bob" not in str(shown)


def _window(start_minutes: int, end_minutes: int, reason: str = "") -> Window:
    return Window(Interval(_ago(-start_minutes), _ago(-end_minutes)), "scheduled", None, reason, "root")


def test_maintenance_that_is_on_is_told_with_its_end_and_one_within_a_day_with_its_start() -> None:
    on = _window(-10, 25, "disks of carol@example.org")
    status = with_upkeeps(_status(DOWN), {"main": Upkeep(on, on.interval.end, _window(120, 180))})
    assert sentence(status) == (
        "main is down for 14 min (connection refused); main is under maintenance for 25 min more "
        "(disks of …@example.org); maintenance of main begins in 2 h, for 1 h; no message waits."
    )
    told = as_json(status, "")["primaries"][0]["maintenance"]
    assert (told["until"], told["next"]["start"]) == ("2026-11-24T12:25:00.000000Z", "2026-11-24T14:00:00.000000Z")


def test_maintenance_that_is_days_away_is_not_in_the_sentence() -> None:
    status = with_upkeeps(_status(UP), {"main": Upkeep(next=_window(24 * 60, 25 * 60))})
    assert sentence(status) == "main is up; no message waits."
