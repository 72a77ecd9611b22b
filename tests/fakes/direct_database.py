"""A database without threads: what is submitted is done before `submit` returns, unless the script says otherwise.

It runs the same statements on the same SQLite as the queue's writer, one transaction each. `away` fails every call as
an unreachable database would, before or after the commit; `stalled` leaves them unanswered until `answer`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from mxqueue import QueueUnavailable
from mxqueue.engine import create_private_file, make_engine
from mxqueue.migrate import Migrations, upgrade

T = TypeVar("T")


class DirectDatabase:
    def __init__(self, path: Path, migrations: Migrations) -> None:
        create_private_file(path)
        self._engine = make_engine(f"sqlite:///{path}", writes=True)
        upgrade(self._engine, migrations)
        self.away = False
        self.loses_answers = False
        self.stalled = False
        self.writes = 0
        self._waiting: list[Callable[[], None]] = []

    def submit(self, op: Callable[[Connection], T]) -> Future[T]:
        self.writes += 1
        return self._run(op)

    def read(self, op: Callable[[Connection], T]) -> Future[T]:
        return self._run(op)

    def answer(self) -> None:
        """Do what was left waiting, in its order."""
        self.stalled = False
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, op: Callable[[Connection], T]) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            if self.away:
                future.set_exception(QueueUnavailable("the database is away"))
                return
            try:
                with self._engine.begin() as connection:
                    result = op(connection)
            except Exception as error:
                future.set_exception(error)
                return
            if self.loses_answers:
                future.set_exception(QueueUnavailable("the answer was lost"))
            else:
                future.set_result(result)

        if self.stalled:
            self._waiting.append(work)
        else:
            work()
        return future
