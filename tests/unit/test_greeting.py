"""The greeting that is delayed: when it is said, and to whom it is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.smtp.greeting import SPOKE_EARLY, Greeting


def test_without_a_delay_the_greeting_is_said_at_once_and_nobody_is_early() -> None:
    greeting = Greeting(0.0)
    assert greeting.opened(100.0) == 0.0
    assert greeting.early_input() == ""


def test_a_delayed_greeting_is_due_after_the_delay_and_once() -> None:
    greeting = Greeting(5.0)
    assert greeting.opened(100.0) == 5.0
    assert [greeting.due(now) for now in (104.9, 105.0, 106.0)] == [False, True, False]


def test_who_speaks_before_the_greeting_is_told_so_once_and_never_greeted() -> None:
    greeting = Greeting(5.0)
    greeting.opened(100.0)
    assert [greeting.early_input(), greeting.early_input()] == [SPOKE_EARLY, ""]
    assert not greeting.due(105.0)


def test_who_speaks_after_the_greeting_is_heard() -> None:
    greeting = Greeting(5.0)
    greeting.opened(100.0)
    greeting.due(105.0)
    assert greeting.early_input() == ""


def test_the_refusal_is_permanent_and_does_not_say_that_this_host_never_takes_mail() -> None:
    assert SPOKE_EARLY.startswith("554 5.")


@given(delay=st.floats(0, 30), steps=st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["input", "due"]))))
def test_a_client_is_greeted_or_refused_and_never_both(delay: float, steps: list[tuple[float, str]]) -> None:
    greeting, now = Greeting(delay), 0.0
    greeted = greeting.opened(now) == 0.0
    refused = False
    for wait, step in steps:
        now += wait
        if step == "input":
            refused = refused or greeting.early_input() != ""
        else:
            greeted = greeting.due(now) or greeted
        assert not (greeted and refused)
        assert not greeted or now >= delay
