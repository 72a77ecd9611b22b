"""All processes that carry mail for one drain, while it has much to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from fallback_mx.redelivery.post import Delegate, Drainer, Post


class Place(Protocol):
    """One process; see service/couriers.py."""

    def join(self, on_frame: Callable[[Any], None], on_end: Callable[[], None]) -> Membership:
        """What it says to this drain is told to `on_frame`, its end to `on_end`."""


class Membership(Protocol):
    def send(self, frame: object) -> None: ...
    def leave(self) -> None: ...


class Elsewhere(Protocol):
    """The processes that there are for all drains. They are started when one of them has much to do."""

    @property
    def places(self) -> Sequence[Place]:
        """Those that are ready."""

    def want(self, then: Callable[[], None]) -> None:
        """Have them started where they are not there; `then` is called when one has become ready."""


Way = Callable[[], Awaitable[object]]
"""What a process needs to know to connect; raises NoConnection where it cannot be said."""


class Posts:
    """Those of one drain. `on_ready` hears when there are more."""

    def __init__(self, elsewhere: Elsewhere, way: Way, drainer: Drainer, on_ready: Callable[[], None]) -> None:
        self._elsewhere = elsewhere
        self._way = way
        self._drainer = drainer
        self._on_ready = on_ready
        self._posts: dict[Place, tuple[Post, Membership]] = {}

    def call(self) -> None:
        """There is much to do: join the processes that there are, and have them started where they are not."""
        self._elsewhere.want(self._on_ready)
        for place in self._elsewhere.places:
            if place not in self._posts:
                self._join(place)

    def _join(self, place: Place) -> None:
        def on_end() -> None:
            post, _ = self._posts.pop(place)
            post.on_end()

        post = Post(self._way, self._drainer)
        membership = place.join(post.on_frame, on_end)
        post.send = membership.send
        self._posts[place] = post, membership

    @property
    def given(self) -> int:
        return sum(post.given for post, _ in self._posts.values())

    def __len__(self) -> int:
        return len(self._posts)

    def engage(self) -> Delegate:
        """One connection more, in the process that has the fewest."""
        posts = [post for post, _ in self._posts.values()]
        return min(posts, key=lambda post: post.connections).engage()

    def give(self) -> None:
        for post, _ in self._posts.values():
            post.give()

    def shut(self) -> None:
        """Nothing is to be begun that is not under way."""
        for post, _ in self._posts.values():
            post.shut()

    def leave(self) -> None:
        """The drain is over."""
        for post, membership in list(self._posts.values()):
            membership.leave()
            post.leave()
        self._posts.clear()
