"""Who may have a way through to a primary, and from whom it is taken."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.rules.ways import NoWay, Stage, share_of, way_for

NOW, STALLED = 1000.0, 30.0


@dataclass(frozen=True)
class Way:
    network: str
    stage: Stage
    since: float = NOW


def choose(network: str, ways: list[Way], most: int) -> Way | None:
    return way_for(network, ways, most, NOW, STALLED)


def test_while_there_is_room_nobody_loses_anything() -> None:
    assert choose("a", [Way("b", Stage.RESTING)], 2) is None


def test_what_has_rested_longest_is_taken_first_and_what_is_leaving_before_it() -> None:
    resting = [Way("b", Stage.RESTING, 10), Way("c", Stage.RESTING, 5), Way("d", Stage.RESTING, 7)]
    assert choose("a", resting, 3) is resting[1]
    leaving = Way("e", Stage.LEAVING, 20)
    assert choose("a", [*resting, leaving], 4) is leaving


@pytest.mark.parametrize(("since", "is_taken"), [(NOW - 29, False), (NOW - 31, True)])
def test_a_sender_in_a_transaction_loses_its_way_only_when_it_stalls(since: float, is_taken: bool) -> None:
    way = Way("b", Stage.WAITING, since)
    if is_taken:
        assert choose("a", [way], 1) is way
    else:
        with pytest.raises(NoWay):
            choose("a", [way], 1)


def test_who_waits_for_the_primary_loses_nothing_however_long_it_takes() -> None:
    with pytest.raises(NoWay):
        choose("a", [Way("b", Stage.BUSY, 0)], 1)


def test_a_stalled_sender_is_spared_while_another_rests() -> None:
    resting = Way("c", Stage.RESTING, NOW)
    assert choose("a", [Way("b", Stage.WAITING, 0), resting], 2) is resting


@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (20, 10)])
def test_a_network_has_half_of_the_ways_and_one_at_least(most: int, share: int) -> None:
    assert share_of(most) == share
    ways: list[Way] = []
    for _ in range(share):
        assert choose("a", ways, most) is None
        ways.append(Way("a", Stage.BUSY))
    with pytest.raises(NoWay):
        choose("a", ways, most)


def test_a_network_that_has_its_share_gets_another_only_for_an_idle_one_of_its_own() -> None:
    own = Way("a", Stage.RESTING, 50)
    assert choose("a", [own, Way("a", Stage.BUSY), Way("b", Stage.RESTING, 0)], 4) is own
    with pytest.raises(NoWay):
        choose("a", [Way("a", Stage.BUSY), Way("a", Stage.BUSY), Way("b", Stage.RESTING, 0)], 4)


WAYS = st.builds(Way, st.sampled_from("abc"), st.sampled_from(Stage), st.floats(0, NOW))


@given(st.lists(WAYS, max_size=8), st.sampled_from("abc"), st.integers(1, 8))
def test_whatever_is_held_a_newcomer_takes_no_more_than_there_is_and_nothing_in_use(
    ways: list[Way], network: str, most: int
) -> None:
    try:
        taken = choose(network, ways, most)
    except NoWay:
        return
    own = sum(way.network == network and way.stage is not Stage.LEAVING for way in ways)
    if taken is None:
        assert len(ways) < most
        assert own < share_of(most)
    else:
        assert taken.stage is not Stage.BUSY
        assert taken.stage is not Stage.WAITING or NOW - taken.since > STALLED
        assert own < share_of(most) or taken.network == network
