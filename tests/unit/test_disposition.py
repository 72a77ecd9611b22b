from datetime import timedelta

import pytest

from fallback_mx.rules.disposition import (
    Delivery,
    Disposition,
    Lost,
    OnRefusal,
    RefusalPolicy,
    Reply,
    Result,
    Unfit,
    judge,
    was_served,
)

HOLD = RefusalPolicy(OnRefusal.HOLD, timedelta(minutes=15))
DISCARD = RefusalPolicy(OnRefusal.DISCARD, timedelta(minutes=15))
LONG_AGO = timedelta(days=3)
JUST_NOW = timedelta(minutes=15) - timedelta(microseconds=1)
SLOW = 30.0


@pytest.mark.parametrize("code", [200, 250, 251, 252, 299])
def test_a_2xx_is_delivered(code: int) -> None:
    assert judge(Reply(code, "ok"), LONG_AGO, HOLD) is Disposition.DELIVERED


@pytest.mark.parametrize("code", [400, 421, 450, 451, 452, 499])
@pytest.mark.parametrize("policy", [HOLD, DISCARD])
def test_a_4xx_is_deferred(code: int, policy: RefusalPolicy) -> None:
    assert judge(Reply(code, "later"), LONG_AGO, policy) is Disposition.DEFERRED


@pytest.mark.parametrize("code", [100, 354, 600, 999, 0])
def test_a_code_that_means_nothing_is_temporary(code: int) -> None:
    assert judge(Reply(code, "?"), LONG_AGO, DISCARD) is Disposition.DEFERRED


@pytest.mark.parametrize("ambiguous", [False, True])
def test_no_reply_is_temporary(ambiguous: bool) -> None:
    assert judge(Lost("timeout", ambiguous), LONG_AGO, DISCARD) is Disposition.DEFERRED


@pytest.mark.parametrize("code", [500, 550, 552, 554, 599])
def test_a_refusal_long_after_recovery_is_held_by_default(code: int) -> None:
    assert judge(Reply(code, "no"), LONG_AGO, HOLD) is Disposition.HELD


def test_a_refusal_long_after_recovery_fails_where_the_operator_wants_it() -> None:
    assert judge(Reply(550, "no"), LONG_AGO, DISCARD) is Disposition.FAILED


@pytest.mark.parametrize("policy", [HOLD, DISCARD])
@pytest.mark.parametrize("since", [timedelta(), JUST_NOW])
def test_a_refusal_within_the_recovery_guard_is_suspect(policy: RefusalPolicy, since: timedelta) -> None:
    assert judge(Reply(550, "no such user"), since, policy) is Disposition.SUSPECT


def test_the_recovery_guard_ends_on_time() -> None:
    assert judge(Reply(550, "no"), timedelta(minutes=15), DISCARD) is Disposition.FAILED


def test_a_primary_that_is_not_known_to_have_been_away_is_believed() -> None:
    assert judge(Reply(550, "no"), None, DISCARD) is Disposition.FAILED


def test_what_the_next_hop_would_mangle_is_held_whatever_the_policy() -> None:
    assert judge(Unfit("8-bit"), LONG_AGO, DISCARD) is Disposition.HELD


def served(*results: Result, since: timedelta = LONG_AGO, untouched: bool = False, seconds: float = 0) -> bool | None:
    dispositions = [judge(result, since, HOLD) for result in results]
    return was_served(Delivery(results, untouched, seconds), dispositions, SLOW)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((Reply(250, ""),), True),
        ((Reply(250, ""), Reply(452, "full")), True),
        ((Reply(550, "no"),), True),
        ((Reply(450, "later"),), False),
        ((Reply(450, "later"), Lost("gone")), False),
        ((Lost("gone"),), False),
        ((Unfit("8-bit"),), None),
    ],
)
def test_a_server_shows_strain_when_it_takes_nothing_and_asks_to_wait(
    results: tuple[Result, ...], expected: bool | None
) -> None:
    assert served(*results) is expected


def test_refusing_everybody_just_after_coming_back_is_strain() -> None:
    assert served(Reply(550, "no"), since=timedelta()) is False


def test_slowness_is_strain() -> None:
    assert served(Reply(250, ""), seconds=SLOW) is False


def test_an_idle_connection_that_was_closed_tells_nothing() -> None:
    assert served(Lost("closed"), untouched=True) is None


def test_an_idle_connection_that_was_closed_with_421_is_strain() -> None:
    assert served(Reply(421, "too busy"), untouched=True) is False


def test_a_reply_reads_as_it_was_sent() -> None:
    assert str(Reply(250, "2.0.0 Ok")) == "250 2.0.0 Ok"
    assert str(Reply(250, "")) == "250"
