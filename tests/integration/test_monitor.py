"""The monitor: what it decides, whom it tells, and what it leaves on record.

Most of it is played on a virtual clock, with a probe every ten seconds from second 0; the last part has a real server,
a real probe and a real queue.
"""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fallback_mx.monitor import LAST_WRITE_SECONDS, Monitor, MonitorSettings
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.schema import MIGRATIONS
from fallback_mx.rules.health import Observation, State
from fallback_mx.sla.intervals import Interval
from fallback_mx.smtp.dial import DialSettings, open_first
from fallback_mx.smtp.probe import probe
from fallback_mx.smtp.route import NextHop
from fallback_mx.smtp.sink import Sink
from fallback_mx.smtp.steps import Timeouts
from fallback_mx.smtp.tls_policy import TlsPolicy
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from tests.fakes.direct_database import DirectDatabase
from tests.fakes.watched import NOON, SETTINGS, World, play, second


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = DirectDatabase(tmp_path / "record.db", MIGRATIONS)
    yield World(database)
    database.close()


# Deciding -------------------------------------------------------------------------------------------------------


def test_nothing_is_known_before_the_first_probe(world: World) -> None:
    monitor = Monitor("main", SETTINGS, world.probe, world.log, world.changed, world.troubled, lambda: NOON)
    assert monitor.health.state is State.UNKNOWN


def test_an_outage_is_decided_by_fall_and_rise(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(55)
            world.is_up = True
            await world.until(75)

    play(story)
    assert world.changes == [
        (0, State.UNKNOWN, State.UP),
        (10, State.UP, State.FALLING),
        (30, State.FALLING, State.DOWN),
        (60, State.DOWN, State.RISING),
        (70, State.RISING, State.UP),
    ]


def test_an_outage_is_on_record_from_its_first_bad_to_its_first_good_probe(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(55)
            world.is_up = True
            await world.until(75)

    play(story)
    (span,) = world.spans()
    assert (second(span.started_at), second(span.confirmed_at), second(span.ended_at)) == (10, 30, 60)
    assert (span.primary, span.node, span.cause_phase, span.cause_detail) == ("main", "mx2", "ehlo", "no")
    assert span.end_detail == "250 hi"


def test_an_outage_is_on_record_while_it_goes_on(world: World) -> None:
    async def story() -> None:
        world.is_up = False
        async with world.watching():
            for until, confirmed in ((5, False), (25, True)):
                await world.until(until)
                (span,) = world.spans()
                assert span.is_open
                assert (span.confirmed_at is not None) is confirmed

    play(story)


def test_a_recovery_is_on_record_until_it_relapses(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            world.is_up = False
            await world.until(25)
            world.is_up = True
            await world.until(35)
            assert second(world.spans()[0].recovering_since) == 30
            world.is_up = False
            await world.until(45)
            assert world.spans()[0].recovering_since is None

    play(story)


def test_a_blip_is_on_record_unconfirmed(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(15)
            world.is_up = True
            await world.until(25)

    play(story)
    assert [(second(span.started_at), second(span.ended_at), span.is_blip) for span in world.spans()] == [
        (10, 20, True)
    ]


def test_whoever_is_told_finds_the_outage_in_hand(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            world.is_up = False
            await world.until(25)
            world.is_up = True
            await world.until(45)

    play(story)
    confirmed, ended = world.spans_when_told[1], world.spans_when_told[-1]
    assert confirmed is not None
    assert ended is not None
    assert (second(confirmed.started_at), second(confirmed.confirmed_at), confirmed.is_open) == (0, 20, True)
    assert second(ended.ended_at) == 30


# Pace -----------------------------------------------------------------------------------------------------------


def test_a_probe_starts_an_interval_after_the_one_before_it_started(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 3
        async with world.watching():
            await world.until(45)

    play(story)
    assert world.probed_at == [0, 10, 20, 30, 40]


def test_probes_never_overlap(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 25
        async with world.watching():
            await world.until(80)

    play(story)
    assert world.probed_at == [0, 25, 50, 75]
    assert world.most_at_once == 1


def test_who_has_reason_to_think_that_it_is_back_has_it_looked_at_at_once(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 2
        async with world.watching() as monitor:
            await world.until(5)
            monitor.look_now()
            await world.until(16)
            monitor.look_now()  # while it is being looked at
            await world.until(30)

    play(story)
    assert world.probed_at == [0, 5, 15, 17, 27]
    assert world.most_at_once == 1


def test_a_reason_that_a_stranger_gave_has_it_looked_at_at_once_and_the_next_one_a_while_later(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(2)
            for _ in range(20):
                monitor.look_soon()
                await world.until(2.1)
            await world.until(3)
            for moment in (4, 5, 6):
                monitor.look_soon()
                await world.until(moment)
            await world.until(11)
            monitor.look_soon()
            await world.until(30)

    play(story)
    assert world.probed_at == [0, 2, 7, 12, 22]


def test_a_reason_to_look_that_a_stranger_gave_is_no_observation(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(1)
            for _ in range(50):
                monitor.look_soon()
            await world.until(9)
            assert monitor.health.state is State.UP
            assert world.spans() == []

    play(story)


# Deliveries -----------------------------------------------------------------------------------------------------


def test_what_deliveries_see_counts_like_a_probe(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            for moment in (1, 2, 3):
                await world.until(moment)
                monitor.observe(world.seen(False))
            assert monitor.health.state is State.DOWN
            await world.until(4)
            assert second(world.spans()[0].started_at) == 1

    play(story)


def test_many_good_deliveries_are_not_as_many_writes(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(1)
            before = world.database.writes
            for _ in range(1000):
                monitor.observe(world.seen(True))
                await asyncio.sleep(0)
            assert world.database.writes == before
            await world.until(15)
            assert world.watches() == [(0, 10)]

    play(story)


def test_nothing_is_decided_before_the_record_was_taken_up(world: World) -> None:
    async def story() -> None:
        world.database.stalled = True
        async with world.watching() as monitor:
            await world.until(1)
            monitor.observe(world.seen(False))
            assert monitor.health.state is State.UNKNOWN
            world.database.answer()
            await world.until(2)
            assert monitor.health.state is State.UP
            assert world.spans() == []

    play(story)


# A database that fails ------------------------------------------------------------------------------------------


def test_a_recovery_is_told_while_the_database_does_not_answer(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            world.is_up = False
            await world.until(25)
            world.database.stalled = True
            world.is_up = True
            await world.until(45)
            assert world.changes[-1] == (40, State.RISING, State.UP)
            world.database.answer()
            await world.until(55)
            assert second(world.spans()[0].ended_at) == 30

    play(story)


def test_an_outage_that_could_not_be_written_is_written_later_with_its_true_times(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.database.away = True
            world.is_up = False
            await world.until(45)
            world.is_up = True
            await world.until(65)
            world.database.away = False
            await world.until(75)
            (span,) = world.spans()
            assert (second(span.started_at), second(span.ended_at)) == (10, 50)
            assert world.watches() == [(0, 70)]

    play(story)


def test_two_outages_that_could_not_be_written_are_both_written_later(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.database.away = True
            for down, up in ((15, 45), (75, 105)):
                await world.until(down)
                world.is_up = False
                await world.until(up)
                world.is_up = True
            await world.until(125)
            world.is_up = False
            world.database.away = False
            await world.until(155)
            spans = world.spans()
            assert [second(span.started_at) for span in spans] == [20, 80, 130]
            assert [span.is_open for span in spans] == [False, False, True]

    play(story)


def test_a_write_whose_answer_was_lost_makes_one_outage(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.database.loses_answers = True
            world.is_up = False
            await world.until(25)
            world.database.loses_answers = False
            await world.until(45)
            assert len(world.spans()) == 1

    play(story)


def test_trouble_with_the_record_is_told_once_and_so_is_its_end(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.database.away = True
            await world.until(45)
            assert world.troubles == ["the database is away"]
            world.database.away = False
            await world.until(55)
            assert world.troubles == ["the database is away", None]

    play(story)


def test_a_record_that_cannot_be_read_is_read_later(world: World) -> None:
    async def story() -> None:
        world.database.away = True
        async with world.watching() as monitor:
            await world.until(15)
            assert (monitor.health.state, world.probed_at) == (State.UNKNOWN, [])
            world.database.away = False
            await world.until(25)
            assert monitor.health.state is State.UP
            assert world.troubles == ["the database is away", None]

    play(story)


def test_what_is_not_yet_written_is_written_at_the_end(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(5)
            monitor.observe(world.seen(True))
            assert world.watches() == [(0, 0)]
        assert world.watches() == [(0, 5)]

    play(story)


def test_a_write_that_hangs_at_the_end_is_made_again_if_the_database_comes_back(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.database.stalled = True
            world.is_up = False
            await world.until(15)
            asyncio.get_running_loop().call_later(1, world.database.answer)
        assert second(world.spans()[0].started_at) == 10

    play(story)


def test_the_end_does_not_wait_for_a_database_that_never_answers(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
            world.database.stalled = True
            await world.until(25)
        assert asyncio.get_running_loop().time() == 25 + LAST_WRITE_SECONDS

    play(story)


# Unwatched time -------------------------------------------------------------------------------------------------


def test_the_record_says_when_somebody_was_watching(world: World) -> None:
    async def story() -> None:
        world.probe_seconds = 2
        async with world.watching():
            await world.until(35)

    play(story)
    assert world.watches() == [(0, 32)]


def test_a_probe_that_could_not_be_made_is_no_observation(world: World) -> None:
    async def story() -> None:
        async with world.watching() as monitor:
            await world.until(5)
            world.cannot_probe = True
            await world.until(105)
            assert monitor.health.state is State.UP
            assert world.troubles == ["too many open files"]
            world.cannot_probe = False
            await world.until(115)
            assert world.troubles == ["too many open files", None]

    play(story)
    assert world.watches() == [(0, 0), (110, 110)]


def test_a_short_stop_is_watched_time(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
        await world.until(39)
        async with world.watching():
            await world.until(55)

    play(story)
    assert world.watches() == [(0, 49)]


def test_a_stop_of_more_than_three_intervals_is_unknown_time(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
        await world.until(41)
        async with world.watching():
            await world.until(55)

    play(story)
    assert world.watches() == [(0, 10), (41, 51)]


def test_a_long_stop_is_unknown_time(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
        await world.until(7200)
        async with world.watching():
            await world.until(7215)

    play(story)
    assert world.watches() == [(0, 10), (7200, 7210)]


# A restart in an outage -----------------------------------------------------------------------------------------


async def two_hours_without_a_monitor_in_an_outage(world: World) -> None:
    world.is_up = False
    async with world.watching():
        await world.until(35)
    await world.until(7200)
    async with world.watching() as monitor:
        await world.until(7205)
        assert monitor.health.state is State.DOWN
        world.is_up = True
        await world.until(7225)


def test_a_restart_in_an_outage_goes_on_with_the_same_one(world: World) -> None:
    play(lambda: two_hours_without_a_monitor_in_an_outage(world))
    (span,) = world.spans()
    assert (second(span.started_at), second(span.confirmed_at), second(span.ended_at)) == (0, 20, 7210)


def test_the_unwatched_time_of_a_restart_in_an_outage_is_neither_up_nor_down(world: World) -> None:
    play(lambda: two_hours_without_a_monitor_in_an_outage(world))
    uptime = world.log.uptime("main", Interval(NOON, NOON + timedelta(seconds=7220))).result()
    assert (uptime.up.seconds, uptime.down.seconds, uptime.unknown.seconds) == (10, 40, 7170)


def test_a_restart_while_falling_goes_on_falling(world: World) -> None:
    async def story() -> None:
        world.is_up = False
        async with world.watching():
            await world.until(5)
        async with world.watching() as monitor:
            await world.until(10)
            assert monitor.health.state is State.FALLING
            await world.until(20)
            assert monitor.health.state is State.DOWN

    play(story)
    (span,) = world.spans()
    assert second(span.started_at) == 0


def test_a_restart_while_rising_begins_the_rise_anew(world: World) -> None:
    async def story() -> None:
        world.is_up = False
        async with world.watching():
            await world.until(25)
            world.is_up = True
            await world.until(35)
        async with world.watching() as monitor:
            await world.until(36)
            assert monitor.health.state is State.RISING
            await world.until(46)

    play(story)
    (span,) = world.spans()
    assert second(span.ended_at) == 35


def test_the_state_a_restart_begins_with_is_no_change(world: World) -> None:
    async def story() -> None:
        world.is_up = False
        async with world.watching():
            await world.until(25)
            world.changes.clear()
        async with world.watching():
            await world.until(45)

    play(story)
    assert world.changes == []


# Clock steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1, -1, 87_660, -87_660])
def test_a_clock_that_is_set_in_an_outage_makes_one_outage_of_no_negative_length(world: World, hours: int) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(5)
            world.is_up = False
            await world.until(45)
            world.clock_set_by = timedelta(hours=hours)
            await world.until(65)
            world.is_up = True
            await world.until(105)

    play(story)
    (span,) = world.spans()
    assert span.ended_at is not None
    assert span.ended_at >= span.started_at


def test_the_hour_over_which_a_clock_was_put_forward_is_unknown(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(15)
            world.is_up = False
            world.clock_set_by = timedelta(hours=1)
            await world.until(65)

    play(story)
    assert world.watches() == [(0, 10), (3620, 3660)]


def test_a_clock_put_back_within_the_watched_time_watches_nothing_twice(world: World) -> None:
    async def story() -> None:
        async with world.watching():
            await world.until(105)
            world.clock_set_by = timedelta(seconds=-60)
            await world.until(135)

    play(story)
    assert world.watches() == [(0, 100)]


def test_after_a_clock_that_ran_ahead_the_record_goes_on_at_the_true_time(world: World) -> None:
    async def story() -> None:
        world.clock_set_by = timedelta(days=7)
        async with world.watching():
            await world.until(15)
            world.clock_set_by = timedelta(0)
            await world.until(35)
        async with world.watching():
            await world.until(50)

    play(story)
    assert world.watches() == [(20, 45), (604_800, 604_810)]


# With a real server, a real probe and a real queue --------------------------------------------------------------


def test_a_real_outage_is_seen_told_and_recorded(tmp_path: Path) -> None:
    async def main(queue: Queue) -> list[State]:
        states: list[State] = []
        sink = Sink()
        await sink.start()
        port = sink.port

        async def look() -> Observation:
            dial = DialSettings("mx2.test", tls=TlsPolicy.NONE, timeouts=Timeouts(connect=20))
            return await probe(lambda: open_first([NextHop("127.0.0.1", port)], dial))

        log = OutageLog(queue.writer.submit, queue.read, "mx2")
        monitor = Monitor(
            "main",
            MonitorSettings(timedelta(milliseconds=20), rise=2, fall=2),
            look,
            log,
            on_change=lambda name, before, after: states.append(after.state),
            on_trouble=lambda name, error: pytest.fail(str(error)),
        )

        async def reach(state: State) -> None:
            async with asyncio.timeout(60):
                while monitor.health.state is not state:
                    await asyncio.sleep(0.005)

        running = asyncio.create_task(monitor.run())
        await reach(State.UP)
        await sink.stop()
        await reach(State.DOWN)
        await sink.start(port=port)
        await reach(State.UP)
        running.cancel()
        await asyncio.wait([running])
        await sink.stop()
        return states

    queue = Queue.open(f"sqlite:///{tmp_path}/queue.db", node="mx2", exclusive=True, migrations=(QUEUE, MIGRATIONS))
    try:
        states = asyncio.run(main(queue))
        (span,) = OutageLog(queue.writer.submit, queue.read, "mx2").list_spans().result()
    finally:
        queue.close()
    assert states == [State.UP, State.FALLING, State.DOWN, State.RISING, State.UP]
    assert span.cause_phase in {"connect", "banner", "ehlo"}
    assert span.ended_at is not None
    assert span.confirmed_at is not None
    assert span.started_at <= span.confirmed_at <= span.ended_at
