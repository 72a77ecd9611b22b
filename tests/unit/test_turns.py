"""Domains take turns: the rule by which a claim chooses."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from mxqueue.turns import Row, in_turn

# Each message is for one domain; ids are unique, as in a queue.
queues = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 9)), max_size=60).map(
    lambda rows: {
        domain: sorted((at, f"{number:03}") for number, (each, at) in enumerate(rows) if each == domain)
        for domain in dict(rows)
    }
)


def domain_of(waiting: dict[str, list[Row]]) -> dict[str, str]:
    return {message_id: domain for domain, rows in waiting.items() for _, message_id in rows}


@given(queues, st.integers(1, 80))
def test_as_much_is_taken_as_there_is_up_to_the_limit_and_nothing_twice(
    waiting: dict[str, list[Row]], limit: int
) -> None:
    taken = in_turn(waiting, limit)
    assert len(taken) == len(set(taken)) == min(limit, sum(map(len, waiting.values())))


@given(queues, st.integers(1, 80))
def test_a_domain_gets_one_more_than_another_at_most_unless_the_other_has_no_more(
    waiting: dict[str, list[Row]], limit: int
) -> None:
    got = Counter(domain_of(waiting)[each] for each in in_turn(waiting, limit))
    for one in waiting:
        for other in waiting:
            assert got[one] <= got[other] + 1 or got[other] == len(waiting[other])


@given(queues, st.integers(1, 80))
def test_within_a_domain_the_oldest_goes_first(waiting: dict[str, list[Row]], limit: int) -> None:
    domains = domain_of(waiting)
    taken = in_turn(waiting, limit)
    for domain, rows in waiting.items():
        mine = [each for each in taken if domains[each] == domain]
        assert mine == [message_id for _, message_id in rows][: len(mine)]


@given(queues)
def test_the_first_of_all_is_the_oldest(waiting: dict[str, list[Row]]) -> None:
    assert in_turn(waiting, 1) == [message_id for _, message_id in sorted(chain.from_iterable(waiting.values()))[:1]]


@given(queues, st.integers(1, 80))
def test_one_domain_alone_is_served_in_order(waiting: dict[str, list[Row]], limit: int) -> None:
    for domain, rows in waiting.items():
        assert in_turn({domain: rows}, limit) == [message_id for _, message_id in rows][:limit]
