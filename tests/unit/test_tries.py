"""The memory of tries against a model of it: it remembers, it forgets, and nobody pushes out the rest."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fallback_mx.smtp.tries import Bounds, Tries, key_of

OWNERS = st.sampled_from(["quiet", "loud", "other"])
NAMES = st.integers(0, 12)


def _key(owner: str, name: int) -> bytes:
    return key_of(owner, str(name))


class MemoryOfTries(RuleBasedStateMachine):
    """The model keeps every key in a plain list, the oldest first, and looks through all of it each time."""

    @initialize(keys=st.integers(1, 8), keys_of_one=st.integers(1, 8), seconds=st.floats(1, 100))
    def begin(self, keys: int, keys_of_one: int, seconds: float) -> None:
        self.bounds = Bounds(keys, keys_of_one, seconds)
        self.tries = Tries(self.bounds)
        self.model: list[tuple[float, str, bytes]] = []
        self.now = 0.0

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(owner=OWNERS, name=NAMES)
    def note(self, owner: str, name: int) -> None:
        key = _key(owner, name)
        self.tries.note(owner, key, self.now)
        kept = [one for one in self.model if one[2] != key and self.now - one[0] < self.bounds.seconds]
        own = [one for one in kept if one[1] == owner]
        if len(own) >= self.bounds.keys_of_one:
            kept.remove(own[0])
        elif len(kept) >= self.bounds.keys:
            kept.pop(0)
        self.model = [*kept, (self.now, owner, key)]

    @rule(owner=OWNERS, name=NAMES)
    def recall(self, owner: str, name: int) -> None:
        key = _key(owner, name)
        expected = [at for at, _, known in self.model if known == key and self.now - at < self.bounds.seconds]
        assert self.tries.recall(key, self.now) == (expected[0] if expected else None)

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.tries) == len(self.model) <= self.bounds.keys


TestMemoryOfTries = MemoryOfTries.TestCase
TestMemoryOfTries.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(flood=st.lists(st.integers(), unique=True, min_size=1, max_size=300))
def test_one_owner_cannot_push_out_another_while_there_is_room_for_both_shares(flood: list[int]) -> None:
    tries = Tries(Bounds(keys=20, keys_of_one=10, seconds=100.0))
    quiet = [_key("quiet", name) for name in range(10)]
    for key in quiet:
        tries.note("quiet", key, 1.0)
    for name in flood:
        tries.note("loud", _key("loud", name), 2.0)
    assert [tries.recall(key, 3.0) for key in quiet] == [1.0] * 10


def test_of_an_owner_at_its_bound_the_oldest_key_goes() -> None:
    tries = Tries(Bounds(keys=100, keys_of_one=2, seconds=100.0))
    for moment in (1, 2, 3):
        tries.note("loud", _key("loud", moment), float(moment))
    assert [tries.recall(_key("loud", moment), 4.0) for moment in (1, 2, 3)] == [None, 2.0, 3.0]


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    tries = Tries(Bounds(keys=1000, keys_of_one=1000, seconds=10.0))
    for number in range(500):
        tries.note(f"owner {number}", _key("any", number), 0.0)
    tries.note("late", _key("late", 1), 20.0)
    assert (len(tries), len(tries._keys_of)) == (1, 1)


def test_a_key_depends_on_each_part_and_on_where_it_ends_but_not_on_capitals() -> None:
    assert key_of("a", "bc") != key_of("ab", "c") != key_of("abc")
    assert key_of("net", "", "Bob@Example.org") == key_of("NET", "", "bob@example.org")
