"""What tests of more than one folder need: the two databases, and queues on them.

PostgreSQL is a real one, started when the first test asks for it and stopped at the end.

Tests run several at a time. The ones with services and misfortunes wait most of their time, the others calculate: they
are dealt out evenly among each other, so that the machine is not idle while the last of them wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import pytest

from mxqueue import Queue
from tests.fakes.clock import Clock
from tests.fakes.postgres import PostgresServer, SharedQueueDatabase
from tests.fakes.tables import lay

WAITING = {"e2e", "faults", "history"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = [list(of_one) for _, of_one in groupby(items, key=lambda item: item.path)]
    waiting = [each for each in files if each[0].path.parent.name in WAITING]
    others = [each for each in files if each[0].path.parent.name not in WAITING]
    places = [number * len(others) // len(waiting) for number in range(len(waiting))]
    for place, file in zip(reversed(places), reversed(waiting), strict=True):
        others.insert(place, file)
    items[:] = chain.from_iterable(others)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database of this test's own."""
    return postgres_server.url(postgres_server.create_database())


@pytest.fixture(scope="session")
def shared_queue_database(postgres_server: PostgresServer) -> SharedQueueDatabase:
    return SharedQueueDatabase(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def queue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty queue may be opened, exclusively at first. A test that takes this runs on both databases."""
    if request.param == "sqlite":
        return lay(tmp_path / "queue.db")
    shared: SharedQueueDatabase = request.getfixturevalue("shared_queue_database")
    shared.empty()
    return shared.url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_queue(queue_url: str, clock: Clock) -> Iterator[Callable[..., Queue]]:
    """Opens queues on `queue_url` by `clock`, and closes what the test has left open."""
    opened: list[Queue] = []

    def open_one(**options: Any) -> Queue:
        given: dict[str, Any] = {"node": "mx2", "clock": clock, **options}
        opened.append(Queue.open(queue_url, **given))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def queue(open_queue: Callable[..., Queue]) -> Queue:
    """An empty queue, opened as a service opens it."""
    return open_queue(exclusive=True)
