"""What a monitor makes of slowness, of other ports, of our own network, and of time that nobody saw."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.outages.schema import MIGRATIONS
from fallback_mx.outages.spans import Kind
from fallback_mx.rules.health import State
from tests.fakes.direct_database import DirectDatabase
from tests.fakes.watched import SETTINGS, World, play, second

SLOW_SETTINGS = replace(SETTINGS, slow_after=timedelta(seconds=2), slow_for=timedelta(seconds=30))
PORT_SETTINGS = replace(SETTINGS, ports=("993", "443"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = DirectDatabase(tmp_path / "record.db", MIGRATIONS)
    yield World(database)
    database.close()


# Evidence -------------------------------------------------------------------------------------------------------


def test_an_outage_keeps_its_first_and_last_failure_and_what_ended_it(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(55)
            world.is_up = True
            await world.until(75)

    play(story)
    (span,) = world.spans()
    assert (second(span.last_good_at), second(span.started_at), second(span.last_failed_at)) == (0, 10, 50)
    assert (span.failures, span.last_failed_phase, span.last_failed_detail) == (5, "ehlo", "no")
    assert (span.end_phase, span.end_detail) == ("ehlo", "250 hi")


def test_an_outage_keeps_how_much_mail_came_and_went_meanwhile(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(5)
            monitor.tally(accepted=9)  # before it
            world.is_up = False
            await world.until(15)
            monitor.tally(accepted=3)
            monitor.tally(accepted=1, delivered=2)
            world.is_up = True
            await world.until(55)
            monitor.tally(accepted=9)  # after it
            await world.until(65)

    play(story)
    (span,) = world.spans()
    assert (span.mail_accepted, span.mail_delivered) == (4, 2)


def test_the_mail_of_an_outage_is_counted_on_after_a_restart(world: World) -> None:
    async def story() -> None:
        world.is_up = False
        async with world.watching() as monitor:
            await world.until(5)
            monitor.tally(accepted=3)
        async with world.watching() as monitor:
            await world.until(10)
            monitor.tally(accepted=4)

    play(story)
    (span,) = world.spans()
    assert (span.mail_accepted, span.failures) == (7, 2)


# Slow -----------------------------------------------------------------------------------------------------------


def slow_for_a_while(world: World, *, until: float, fast_until: float) -> None:
    async def story() -> None:
        async with world.watching(SLOW_SETTINGS):
            await world.until(5)
            world.probe_seconds = 3
            await world.until(until)
            world.probe_seconds = 0
            await world.until(fast_until)

    play(story)


def test_a_primary_that_is_slow_for_long_enough_is_told_and_is_up_all_the_time(world: World) -> None:
    slow_for_a_while(world, until=55, fast_until=56)
    assert world.beside[-1] == (33, Kind.SLOW, "", State.DOWN)
    assert world.changes == [(0, State.UNKNOWN, State.UP)]
    assert world.spans() == []
    assert world.figures(0, 50) == (50, 0, 0)


def test_slow_time_is_a_span_of_its_own_from_the_first_slow_answer_to_the_first_fast_one(world: World) -> None:
    slow_for_a_while(world, until=55, fast_until=105)
    (span,) = world.spans(Kind.SLOW)
    assert (second(span.started_at), second(span.confirmed_at), second(span.ended_at)) == (10, 30, 60)
    assert (span.cause_phase, span.cause_detail, span.failures) == ("banner", "took 3 s, 3 s of it for banner", 5)


def test_a_few_slow_answers_leave_no_row(world: World) -> None:
    slow_for_a_while(world, until=25, fast_until=105)
    assert world.spans(Kind.SLOW) == []


def test_slow_time_ends_where_an_outage_begins(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 3
        async with world.watching(SLOW_SETTINGS) as monitor:
            await world.until(45)
            assert monitor.slow_since is not None
            world.is_up = False
            await world.until(75)
            assert monitor.slow_since is None

    play(story)
    (slow,), (outage,) = world.spans(Kind.SLOW), world.spans()
    assert second(slow.ended_at) == second(outage.started_at) == 50
    assert (slow.end_phase, slow.end_detail) == ("ehlo", "no")


def test_what_deliveries_see_says_nothing_of_the_pace(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 3
        async with world.watching(SLOW_SETTINGS) as monitor:
            for moment in range(1, 40):
                await world.until(moment)
                monitor.observe(world.seen(True))
            assert monitor.slow_since is not None

    play(story)


def test_without_a_limit_nothing_is_slow(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 9
        async with world.watching() as monitor:
            await world.until(1000)
            assert monitor.slow_since is None

    play(story)
    assert world.beside == []


def test_a_restart_goes_on_with_the_same_slow_time(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 3
        async with world.watching(SLOW_SETTINGS):
            await world.until(45)
        async with world.watching(SLOW_SETTINGS) as monitor:
            await world.until(50)
            assert second(monitor.slow_since) == 0
            world.probe_seconds = 0
            await world.until(105)

    play(story)
    (span,) = world.spans(Kind.SLOW)
    assert second(span.ended_at) == 55


def test_slow_time_ends_on_record_where_it_is_no_longer_watched_for(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 3
        async with world.watching(SLOW_SETTINGS):
            await world.until(45)
        async with world.watching():
            await world.until(55)

    play(story)
    (span,) = world.spans(Kind.SLOW)
    assert (second(span.ended_at), span.end_detail) == (43, "no longer watched")


# Other ports ----------------------------------------------------------------------------------------------------


def test_a_closed_port_that_only_alerts_is_told_and_recorded_and_the_primary_stays_up(world: World) -> None:
    async def story() -> None:
        world.ports = {"993": False, "443": False}
        async with world.watching(PORT_SETTINGS):
            await world.until(5)
            world.closed = {"993"}
            await world.until(45)
            world.closed = set()
            await world.until(65)

    play(story)
    (span,) = world.spans(Kind.PORT)
    assert (span.subject, second(span.started_at), second(span.ended_at)) == ("993", 10, 50)
    assert [(at, state) for at, _, port, state in world.beside if port == "993"] == [
        (0, State.UP),
        (10, State.FALLING),
        (30, State.DOWN),
        (50, State.RISING),
        (60, State.UP),
    ]
    assert world.spans() == []
    assert world.figures(0, 60) == (60, 0, 0)


def test_a_closed_port_that_decides_makes_the_primary_down(world: World) -> None:
    async def story() -> None:
        world.ports = {"993": True, "443": False}
        async with world.watching(PORT_SETTINGS) as monitor:
            await world.until(5)
            world.closed = {"993"}
            await world.until(35)
            assert monitor.health.state is State.DOWN
            world.closed = set()
            await world.until(65)

    play(story)
    (span,) = world.spans()
    assert (span.cause_phase, span.cause_detail) == ("port", "port 993: no")
    assert (second(span.started_at), second(span.ended_at)) == (10, 40)


def test_mail_that_goes_out_says_nothing_of_a_port_that_decides(world: World) -> None:
    async def story() -> None:
        world.ports = {"993": True}
        world.closed = {"993"}
        async with world.watching(PORT_SETTINGS) as monitor:
            await world.until(25)
            monitor.observe(world.seen(True))
            assert monitor.health.state is State.DOWN

    play(story)


# Our own network ------------------------------------------------------------------------------------------------


def cut_off_from_15_to_55(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching() as monitor:
            await world.until(15)
            world.is_up, world.cut_off = False, "no control answers"
            await world.until(25)
            assert second(monitor.cut_off_since) == 20
            await world.until(55)
            world.is_up, world.cut_off = True, None
            await world.until(75)
            assert monitor.cut_off_since is None

    play(story)


def test_while_we_are_cut_off_nobody_knows_how_the_primary_is(world: World) -> None:
    cut_off_from_15_to_55(world)
    assert world.changes == [
        (0, State.UNKNOWN, State.UP),
        (20, State.UP, State.UNKNOWN),
        (60, State.UNKNOWN, State.UP),
    ]


def test_the_time_in_which_we_are_cut_off_is_unknown_with_that_cause_and_no_outage(world: World) -> None:
    cut_off_from_15_to_55(world)
    assert world.spans() == []
    assert world.unknown(0, 70) == [(20, 60, "cut_off")]
    assert world.figures(0, 70) == (30, 0, 40)


def test_one_look_while_we_are_cut_off_is_unknown_too(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching():
            await world.until(15)
            world.is_up, world.cut_off = False, "no control answers"
            await world.until(25)
            world.is_up, world.cut_off = True, None
            await world.until(45)

    play(story)
    assert world.unknown(0, 40) == [(20, 30, "cut_off")]


def test_an_outage_goes_on_as_the_same_one_after_we_were_cut_off_in_it(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching() as monitor:
            await world.until(5)
            world.is_up = False
            await world.until(45)
            world.cut_off = "no control answers"
            await world.until(75)
            assert monitor.health.state is State.DOWN
            world.cut_off = None
            await world.until(95)
            world.is_up = True
            await world.until(115)

    play(story)
    (span,) = world.spans()
    assert (second(span.started_at), second(span.ended_at)) == (10, 100)
    assert world.unknown(0, 110) == [(50, 80, "cut_off")]
    assert world.figures(0, 110) == (20, 60, 30)


def test_a_recovery_does_not_go_on_over_a_time_in_which_we_were_cut_off(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching() as monitor:
            world.is_up = False
            await world.until(25)
            world.is_up = True
            await world.until(35)
            world.is_up, world.cut_off = False, "no control answers"
            await world.until(45)
            world.is_up, world.cut_off = True, None
            await world.until(55)
            assert monitor.health.state is State.RISING

    play(story)


def test_a_failed_delivery_is_held_against_our_own_network_too(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching() as monitor:
            await world.until(1)
            world.cut_off = "no control answers"
            for _ in range(5):
                monitor.observe(world.seen(False))
            await world.until(2)
            assert monitor.health.state is State.UNKNOWN
            world.cut_off = None
            for _ in range(3):
                monitor.observe(world.seen(False))
            await world.until(3)
            assert monitor.health.state is State.DOWN

    play(story)


def test_ports_elsewhere_that_do_not_answer_while_we_are_cut_off_are_not_closed(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        world.ports = {"993": False}
        async with world.watching(PORT_SETTINGS) as monitor:
            await world.until(5)
            world.closed, world.cut_off = {"993"}, "no control answers"
            await world.until(55)
            assert monitor.health.state is State.UP

    play(story)
    assert [state for _, _, _, state in world.beside] == [State.UP]


def test_failures_of_a_port_before_and_after_we_were_cut_off_are_not_in_a_row(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        world.ports = {"993": False}
        async with world.watching(PORT_SETTINGS):
            await world.until(5)
            world.closed = {"993"}
            await world.until(25)
            world.is_up, world.cut_off = False, "no control answers"
            await world.until(35)
            world.is_up, world.cut_off = True, None
            await world.until(55)
            assert world.beside[-1][3] is State.FALLING
            await world.until(65)
            assert world.beside[-1][3] is State.DOWN

    play(story)


def test_a_restart_while_we_are_cut_off_is_off_first_and_cut_off_then(world: World) -> None:
    async def story() -> None:
        world.has_controls = True
        async with world.watching():
            await world.until(15)
        await world.until(1000)
        world.is_up, world.cut_off = False, "no control answers"
        async with world.watching():
            await world.until(1025)
            world.is_up, world.cut_off = True, None
            await world.until(1045)

    play(story)
    assert world.unknown(0, 1040) == [(10, 1000, "off"), (1000, 1030, "cut_off")]


# Time that nobody saw -------------------------------------------------------------------------------------------


def test_a_monitor_that_was_off_leaves_unknown_time_that_says_so(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
        await world.until(7200)
        async with world.watching():
            await world.until(7215)

    play(story)
    assert world.unknown(0, 7210) == [(10, 7200, "off")]


def test_looks_that_our_machine_could_not_make_leave_unknown_time_that_says_so(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.cannot_probe = True
            await world.until(105)
            world.cannot_probe = False
            await world.until(115)

    play(story)
    assert world.unknown(0, 110) == [(0, 110, "ours")]


def test_time_before_anybody_ever_watched_is_unknown_without_a_cause(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)

    play(story)
    assert world.unknown(-100, 10) == [(-100, 0, None)]


@pytest.mark.parametrize("seconds", [15, 3600, 315_576_000])
def test_time_over_which_the_clock_was_put_forward_is_unknown_however_short(world: World, seconds: int) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching():
            await world.until(15)
            world.clock_set_by = timedelta(seconds=seconds)
            await world.until(35)

    play(story)
    assert world.unknown(0, 30 + seconds) == [(10, 20 + seconds, "clock")]


def test_a_clock_that_is_put_back_leaves_nothing_unknown(world: World) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching():
            await world.until(105)
            world.clock_set_by = timedelta(seconds=-60)
            await world.until(195)

    play(story)
    assert world.watches() == [(0, 130)]


def test_a_machine_that_slept_leaves_unknown_time_that_says_so(world: World) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching():
            await world.until(15)
            world.slept = 3600  # the loop's own clock stands still meanwhile
            await world.until(35)

    play(story)
    assert world.unknown(0, 3630) == [(10, 3620, "suspended")]


@pytest.mark.parametrize("good", [True, False])
def test_a_look_during_which_the_machine_slept_is_none(world: World, good: bool) -> None:
    async def story() -> None:
        world.has_pulse = True
        async with world.watching(replace(SETTINGS, fall=1)) as monitor:
            await world.until(15)
            world.probe_seconds, world.is_up = 5, good
            await world.until(22)
            world.slept = 3600
            await world.until(26)
            world.probe_seconds, world.is_up = 0, True
            await world.until(45)
            assert monitor.health.state is State.UP

    play(story)
    assert world.spans() == []
    assert world.unknown(0, 3640) == [(10, 3630, "suspended")]


# Many -----------------------------------------------------------------------------------------------------------


def test_the_first_looks_of_many_primaries_are_spread_and_so_are_the_next(world: World) -> None:
    async def story() -> None:
        settings = replace(SETTINGS, first_after=timedelta(seconds=2), sooner=0.3)
        async with world.watching(settings):
            await world.until(35)

    play(story)
    assert world.probed_at == pytest.approx([2, 9, 19, 29])
