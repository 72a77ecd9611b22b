"""Grace and greylisting with their memory: who gets in, when, and from where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.doors import Doors, Note
from fallback_mx.smtp.tries import Bounds

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GRACE = 10 * MINUTE
SENDER, RECIPIENT = "alice@example.net", "bob@example.org"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def doors(clock: Clock) -> Doors:
    return Doors(clock)


def test_who_comes_again_after_ten_minutes_from_the_same_network_has_grace(doors: Doors, clock: Clock) -> None:
    assert not doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += GRACE
    assert doors.has_grace("192.0.2.200", SENDER, RECIPIENT, GRACE)


def test_who_comes_too_soon_does_not_begin_anew(doors: Doors, clock: Clock) -> None:
    seen = []
    for _ in range(6):
        seen.append(doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE))
        clock.now += 2 * MINUTE
    assert seen == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("client", "sender", "recipient"),
    [
        ("192.0.3.1", SENDER, RECIPIENT),
        ("2001:db8::1", SENDER, RECIPIENT),
        ("192.0.2.1", "mallory@example.net", RECIPIENT),
        ("192.0.2.1", "", RECIPIENT),
        ("192.0.2.1", SENDER, "carol@example.org"),
    ],
)
def test_another_network_reverse_path_or_recipient_has_no_part_in_it(
    doors: Doors, clock: Clock, client: str, sender: str, recipient: str
) -> None:
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += HOUR
    assert not doors.has_grace(client, sender, recipient, GRACE)


def test_grace_lasts_until_a_day_after_the_first_try_and_then_begins_anew(doors: Doors, clock: Clock) -> None:
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += DAY - 1
    assert doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += 1
    assert not doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += GRACE
    assert doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)


def test_without_grace_nobody_has_it(doors: Doors, clock: Clock) -> None:
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, None)
    clock.now += HOUR
    assert not doors.has_grace("192.0.2.1", SENDER, RECIPIENT, None)


def test_a_bounce_that_comes_again_has_grace_too(doors: Doors, clock: Clock) -> None:
    assert not doors.has_grace("192.0.2.1", "", RECIPIENT, GRACE)
    clock.now += GRACE
    assert doors.has_grace("192.0.2.1", "", RECIPIENT, GRACE)


def test_bounces_from_everywhere_do_not_push_out_the_rest(clock: Clock) -> None:
    few = Bounds(keys=10, keys_of_one=10, seconds=DAY)
    doors = Doors(clock, tries=few, bounces=few)
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    for number in range(100):
        doors.has_grace(f"10.0.{number}.1", "", RECIPIENT, GRACE)
    clock.now += GRACE
    assert doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)


def test_one_site_with_many_ipv6_networks_does_not_push_out_the_rest(clock: Clock) -> None:
    doors = Doors(clock, tries=Bounds(keys=20, keys_of_one=10, seconds=DAY))
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    for number in range(1, 200):
        doors.has_grace(f"2001:db8:0:{number:x}::1", f"s{number}@example.com", RECIPIENT, GRACE)
    clock.now += GRACE
    assert doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)


@given(st.lists(st.tuples(st.floats(0, 8000), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_grace_is_given_to_nobody_whose_first_try_was_not_long_enough_ago(
    tries: list[tuple[float, int, int]],
) -> None:
    clock = Clock()
    doors = Doors(clock, tries=Bounds(keys=6, keys_of_one=3, seconds=DAY))
    first: dict[tuple[int, int], float] = {}
    for wait, network, sender in tries:
        clock.now += wait
        began = first.setdefault((network, sender), clock.now)
        if doors.has_grace(f"10.0.{network}.1", f"{sender}@example.net", RECIPIENT, GRACE):
            assert clock.now - began >= GRACE


# Several processes ----------------------------------------------------------------------------------------------


def _processes(clock: Clock) -> list[Doors]:
    """Three, each of which tells the others at once."""
    every: list[Doors] = []

    def make(number: int) -> Doors:
        def tell(note: Note) -> None:
            for at, one in enumerate(every):
                if at != number:
                    one.learn([note])

        return Doors(clock, tell)

    every.extend(make(number) for number in range(3))
    return every


def test_a_sender_may_come_back_to_another_process(clock: Clock) -> None:
    first, second, third = _processes(clock)
    first.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += GRACE
    assert second.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    assert not third.must_come_back("192.0.2.1", SENDER, "carol@example.org", GRACE)


@given(st.lists(st.tuples(st.floats(0, 2000), st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=40))
def test_processes_that_tell_each_other_decide_as_one_would(tries: list[tuple[float, int, int, bool]]) -> None:
    clock = Clock()
    alone, crew = Doors(clock), _processes(clock)
    for wait, process, network, is_up in tries:
        clock.now += wait
        for reverse_path in ("", SENDER):
            asked = (f"10.0.{network}.1", reverse_path, RECIPIENT, GRACE)
            if is_up:
                assert crew[process].has_grace(*asked) is alone.has_grace(*asked)
            else:
                assert crew[process].must_come_back(*asked) is alone.must_come_back(*asked)


def test_what_is_learnt_late_does_not_put_off_what_is_known(clock: Clock) -> None:
    told: list[Note] = []
    other = Doors(clock, told.append)
    doors = Doors(clock)
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += GRACE / 2
    other.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    doors.learn(told)
    clock.now += GRACE / 2
    assert doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)


# Greylisting ----------------------------------------------------------------------------------------------------


def test_an_unknown_recipient_is_taken_from_a_network_that_came_back(doors: Doors, clock: Clock) -> None:
    assert doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, 5 * MINUTE)
    clock.now += 4 * MINUTE
    assert doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, 5 * MINUTE)
    clock.now += 1 * MINUTE
    assert not doors.must_come_back("192.0.2.9", "other@example.net", RECIPIENT, 5 * MINUTE)


def test_to_try_other_names_is_not_to_come_back(doors: Doors, clock: Clock) -> None:
    for number in range(10):
        assert doors.must_come_back("192.0.2.1", SENDER, f"guess{number}@example.org", 5 * MINUTE)
        clock.now += 5 * MINUTE


def test_a_network_that_came_back_is_known_for_a_week_whomever_it_writes_to(doors: Doors, clock: Clock) -> None:
    doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, 5 * MINUTE)
    clock.now += HOUR
    doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, 5 * MINUTE)
    clock.now += 6 * DAY
    assert not doors.must_come_back("192.0.2.1", SENDER, "carol@example.org", 5 * MINUTE)
    assert doors.must_come_back("192.0.3.1", SENDER, "carol@example.org", 5 * MINUTE)
    clock.now += 1 * DAY
    assert doors.must_come_back("192.0.2.1", SENDER, "carol@example.org", 5 * MINUTE)


def test_who_was_sent_to_the_primary_before_the_outage_has_come_back(doors: Doors, clock: Clock) -> None:
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += 6 * MINUTE
    assert not doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, 5 * MINUTE)


def test_who_had_grace_is_known(doors: Doors, clock: Clock) -> None:
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    clock.now += GRACE
    doors.has_grace("192.0.2.1", SENDER, RECIPIENT, GRACE)
    assert not doors.must_come_back("192.0.2.1", SENDER, "carol@example.org", 5 * MINUTE)


def test_without_greylisting_nobody_must_come_back(doors: Doors) -> None:
    assert not doors.must_come_back("192.0.2.1", SENDER, RECIPIENT, None)
