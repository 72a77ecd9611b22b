"""FAULTS 24 and 46 to 48 as far as they concern whoever watches: what nobody saw is unknown, and the parts add up."""

from __future__ import annotations

import os
import random
import signal
import smtplib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.outages.schema import MIGRATIONS
from fallback_mx.outages.spans import Span, Watch
from fallback_mx.sla.intervals import Interval
from tests.fakes.direct_database import DirectDatabase
from tests.fakes.primary import FakePrimary
from tests.fakes.raw_server import black_hole
from tests.fakes.relay import Relay, primary
from tests.fakes.watched import NOON, World, play, second

HOUR, TEN_YEARS = 3600, 315_576_000
# Longer than three intervals of half a second, and than what counts as standing still.
AWAY_SECONDS = 7.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(DirectDatabase(tmp_path / "record.db", MIGRATIONS))


# 24: clock steps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS])
@pytest.mark.parametrize("in_outage", [True, False])
def test_when_the_clock_is_set_looks_go_on_and_no_time_is_negative_or_longer_than_it_was(
    world: World, seconds: int, in_outage: bool
) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching():
            await world.until(5)
            world.is_up = not in_outage
            await world.until(55)
            world.clock_set_by = timedelta(seconds=seconds)
            await world.until(95)
            world.is_up = True
            await world.until(155)

    play(story)
    assert world.probed_at == [10 * look for look in range(16)]
    assert all(span.ended_at is not None and span.ended_at >= span.started_at for span in world.spans())
    up, down, unknown = world.figures(0, 150)
    assert up + down + unknown == 150
    assert min(up, down, unknown) >= 0
    assert down <= (100 if in_outage else 0)


def test_a_clock_that_was_ten_years_ahead_for_a_while_adds_nothing_to_the_outage(world: World) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(45)
            world.clock_set_by = timedelta(seconds=TEN_YEARS)
            await world.until(75)
            world.clock_set_by = timedelta(0)
            await world.until(105)
            world.is_up = True
            await world.until(155)

    play(story)
    assert world.figures(0, 150) == (50, 60, 40)
    assert world.unknown(0, 150) == [(40, 80, "clock")]


# 46: dead, stopped, cut off -------------------------------------------------------------------------------------


def unknown_causes(relay: Relay) -> list[str | None]:
    lines = relay.cli_json_lines("outage", "list")
    return [line["cause"] for line in lines if line["kind"] == "unknown" and line["duration_seconds"] > 3]


def is_in(relay: Relay, state: str) -> None:
    relay.wait_for(lambda: relay.primary_state() == state, f"the primary is {state}")


def test_a_monitor_that_was_killed_in_an_outage_leaves_unknown_time_and_one_outage() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port)) as relay:
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "down")
        relay.kill()
        time.sleep(AWAY_SECONDS)
        relay.start()
        is_in(relay, "down")
        fake.answer()
        is_in(relay, "up")
        (outage,) = relay.outages()
        assert "off" in unknown_causes(relay)
        uptime = next(line for line in relay.cli_json_lines("outage", "list") if line["kind"] == "uptime")
        assert uptime["down_seconds"] <= outage["duration_seconds"] - AWAY_SECONDS + 0.5


def test_a_service_that_was_stopped_and_goes_on_leaves_unknown_time_and_no_outage() -> None:
    with FakePrimary() as fake, Relay(primary(fake.port, fall=1)) as relay:
        is_in(relay, "up")
        os.kill(relay.pid, signal.SIGSTOP)
        time.sleep(AWAY_SECONDS)
        os.kill(relay.pid, signal.SIGCONT)
        relay.wait_for(lambda: "suspended" in unknown_causes(relay), "the time is on record as unknown")
        assert relay.outages() == []
        assert "event=stood_still" in relay.log_tail()


def test_while_we_are_cut_off_mail_is_taken_and_the_time_is_unknown_with_that_cause() -> None:
    with (
        black_hole() as one,
        black_hole() as other,
        FakePrimary() as fake,
        Relay(primary(fake.port, fall=1), monitor={"controls": [f"127.0.0.1:{one}", f"127.0.0.1:{other}"]}) as relay,
    ):
        is_in(relay, "up")
        fake.go_away()
        is_in(relay, "unknown")
        with smtplib.SMTP("127.0.0.1", relay.port) as client:
            client.sendmail("a@sender.test", ["u@example.test"], b"Subject: kept\r\n\r\nhere\r\n")
        assert relay.queue_count() == 1
        assert "this machine is cut off from the network" in relay.status()["sentence"]
        assert "fallback_mx_cut_off 1.0" in relay.http("/metrics")[1]
        time.sleep(4)
        fake.answer()
        is_in(relay, "up")
        relay.wait_for(lambda: relay.queue_count() == 0, "the mail went out")
        assert relay.outages() == []
        assert "cut_off" in unknown_causes(relay)
        assert "event=cut_off" in relay.log_tail(200)


# 47, 48: whatever happens, the parts add up ---------------------------------------------------------------------

happenings = st.lists(
    st.tuples(
        st.sampled_from(["up", "down", "slow", "cut off", "seen", "ours", "able", "set", "sleep", "restart", "wait"]),
        st.integers(1, 120),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(happenings, st.integers(0, 1500), st.integers(-40, 40), st.booleans())
def test_whatever_happens_the_parts_of_any_period_add_up_and_unknown_time_is_told_whole(
    tmp_path_factory: pytest.TempPathFactory, happened: list[tuple[str, int]], cut: int, step: int, has_pulse: bool
) -> None:
    database = DirectDatabase(tmp_path_factory.mktemp("record") / "record.db", MIGRATIONS)
    world = World(database)
    world.has_controls, world.has_pulse = True, has_pulse

    async def story() -> None:
        at, runs = 0.0, True
        left = iter(happened)
        while runs:
            runs = False
            async with world.watching():
                for what, seconds in left:
                    at += seconds
                    await world.until(at)
                    if what == "restart":
                        runs = True
                        break
                    _happen(world, what, step)

    play(story)
    for span in world.spans():
        assert span.ended_at is None or span.ended_at >= span.started_at
        assert span.last_failed_at is None or span.last_failed_at >= span.started_at
    assert sum(span.is_open for span in world.spans()) <= 1
    assert all(start <= end for start, end in world.watches())
    whole, first, second_half = world.figures(0, 1500), world.figures(0, cut), world.figures(cut, 1500)
    assert sum(whole) == pytest.approx(1500)
    assert min(whole) >= 0
    assert [a + b for a, b in zip(first, second_half, strict=True)] == pytest.approx(list(whole))
    assert sum(end - start for start, end, _ in world.unknown(0, 1500)) == pytest.approx(whole[2])
    database.close()


def _happen(world: World, what: str, step: int) -> None:
    match what:
        case "up":
            world.is_up = True
        case "down":
            world.is_up = False
        case "slow":
            world.probe_seconds = 4.0 - world.probe_seconds
        case "cut off":
            world.is_up, world.cut_off = False, "no control answers"
        case "seen":
            world.cut_off = None
        case "ours":
            world.cannot_probe = True
        case "able":
            world.cannot_probe = False
        case "set":
            world.clock_set_by += timedelta(seconds=step)
        case "sleep":
            world.slept += abs(step)


@pytest.mark.parametrize(
    ("begins", "boundary"),
    [
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 28, 23, 59, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)),
        (datetime(2028, 2, 29, 23, 59, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        # Where clocks in Berlin are put forward, and back: ours know nothing of it.
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)),
        (datetime(2026, 10, 25, 0, 59, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ],
)
def test_an_outage_over_the_end_of_a_month_or_a_year_counts_in_both_as_long_as_it_was_in_each(
    world: World, begins: datetime, boundary: datetime
) -> None:
    async def story() -> None:
        world.clock_set_by = begins - NOON
        async with world.watching():
            await world.until(15)
            world.is_up = False
            await world.until(115)
            world.is_up = True
            await world.until(145)

    play(story)
    (span,) = world.spans()
    minute = timedelta(minutes=1)
    before = world.log.uptime("main", Interval(boundary - minute, boundary)).result()
    after = world.log.uptime("main", Interval(boundary, boundary + minute)).result()
    assert (before.up.seconds, before.down.seconds, before.unknown.seconds) == (20, 40, 0)
    assert (after.up.seconds, after.down.seconds, after.unknown.seconds) == (0, 60, 0)
    assert span.ended_at == boundary + minute
    assert second(span.started_at) > 0


def test_many_spans_and_watches_of_two_nodes_are_what_a_count_second_by_second_finds(world: World) -> None:
    chance = random.Random(48)

    def moment(number: float) -> datetime:
        return NOON + timedelta(seconds=number)

    for round_ in range(20):
        spans, watches = [], []
        for node in ("a", "b"):
            for _ in range(4):
                start, length = chance.randrange(0, 300), chance.randrange(0, 120)
                name = f"{round_}-{node}-{len(spans)}"
                end = moment(start + length)
                confirmed = moment(start) if chance.random() < 0.8 else None
                spans.append(Span(name, f"p{round_}", node, moment(start), "c", "", confirmed, ended_at=end))
                start, length = chance.randrange(0, 300), chance.randrange(0, 150)
                watches.append(Watch(name, f"p{round_}", node, moment(start), moment(start + length)))
        world.log.write(spans, watches).result()
        period = Interval(moment(50), moment(250))
        uptime = world.log.uptime(f"p{round_}", period).result()
        counted = [0, 0, 0]
        for number in range(50, 250):
            nodes = {one.node for one in watches if one.started_at <= moment(number) < one.ended_at}
            failing = {
                one.node
                for one in spans
                if one.confirmed_at is not None and one.started_at <= moment(number) < one.interval.end
            }
            counted[2 if not nodes else 1 if nodes & failing else 0] += 1
        assert [each.total_seconds() for each in (uptime.up, uptime.down, uptime.unknown)] == counted
