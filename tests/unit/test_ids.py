"""Queue ids sort by the time they were made, whatever the clock does."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mxqueue.ids import Ids, ids_before
from mxqueue.model import EPOCH, utc_now
from tests.fakes.clock import Clock

moments = st.integers(0, 10**15).map(lambda milliseconds: EPOCH + timedelta(milliseconds=milliseconds // 40))


@given(moments, moments)
def test_ids_sort_by_the_millisecond_they_were_made_in(one: datetime, other: datetime) -> None:
    earlier, later = sorted([one, other])
    clock = Clock(earlier)
    ids = Ids(clock)
    first = ids.new()
    clock.now = later + timedelta(milliseconds=1)

    assert first < ids.new()


@given(moments, st.integers(0, 999))
def test_the_bound_lies_behind_what_was_made_before_and_ahead_of_what_came_later(
    moment: datetime, microseconds: int
) -> None:
    at = moment + timedelta(microseconds=microseconds)
    made = Ids(lambda: at).new()

    assert made < ids_before(at)
    assert made < ids_before(at + timedelta(microseconds=1))
    assert not made < ids_before(at - timedelta(milliseconds=1))


def test_ids_of_one_millisecond_count_upward() -> None:
    ids = Ids(Clock())
    made = [ids.new() for _ in range(1000)]

    assert made == sorted(set(made))


def test_ids_are_26_characters_of_crockfords_alphabet() -> None:
    made = Ids(utc_now).new()

    assert len(made) == 26
    assert set(made) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_a_clock_before_1970_makes_ids_all_the_same() -> None:
    clock = Clock(datetime(1969, 1, 1, tzinfo=UTC))

    assert Ids(clock).new() < ids_before(datetime(1970, 1, 1, tzinfo=UTC))


def test_threads_never_make_the_same_id() -> None:
    ids = Ids(utc_now)
    made: list[str] = []

    def make() -> None:
        made.extend([ids.new() for _ in range(500)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 4000


def test_two_processes_never_make_the_same_id() -> None:
    clock = Clock()
    one, other = Ids(clock), Ids(clock)

    assert not {one.new() for _ in range(1000)} & {other.new() for _ in range(1000)}
