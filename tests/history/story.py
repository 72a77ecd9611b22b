"""One run: senders, the real service and a primary, and what befalls them; at its end, what they wrote down.

The schedule follows from the seed. What happens when, down to the octet, does not: processes and threads have a will of
their own. The same seed does the same things in the same order.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from mxqueue import Queue
from mxqueue.errors import QueueError
from mxqueue.model import Filter
from mxqueue.past import ledger_rows
from tests.fakes.relay import Relay, family, primary
from tests.fakes.supervisor import Supervisor
from tests.history.primary import Primary, WrittenDown
from tests.history.record import Entry, History
from tests.history.senders import Senders

# What befalls them, and how often in comparison.
MISFORTUNES = {
    "kill": 4,
    "stop": 3,
    "cut_one": 8,
    "silence_one": 3,
    "stall": 4,
    "go_away": 2,
    "retry": 6,  # no misfortune: an operator who cannot wait
}
# A life in which nothing arrived shows little: so many copies, or so many seconds, come before the next kill.
COPIES_A_LIFE = 10
SECONDS_A_LIFE = 8.0
START_SECONDS = 30.0
FEWEST_ANSWERED = 20
DRAIN_SECONDS = 120.0


class Story:
    """`play` makes a history. The service is the real one, in processes of its own that are really killed."""

    def __init__(self, seed: int, connections: int, when_up: str) -> None:
        self._seed = seed
        self._chance = random.Random(f"{seed} misfortunes")
        self._connections = connections
        self._when_up = when_up
        self._kills: list[float] = []
        self._told: list[str] = []
        self._history = History()

    @property
    def misfortunes(self) -> str:
        return ", ".join(f"{self._told.count(each)} {each}" for each in sorted(set(self._told))) or "none"

    def play(self, seconds: float) -> History:
        with Primary(random.Random(f"{self._seed} primary")) as server:
            settings = primary(
                server.port,
                when_up=self._when_up,
                max_connections=self._connections,
                interval="1s",
                rise=1,
                tls="none",
            )
            relay = Relay(settings)
            try:
                self._play(relay, server, seconds)
                return self._history
            except BaseException as error:
                error.add_note(f"the service's log ends:\n{relay.log_tail()}")
                raise
            finally:
                shutil.rmtree(relay.directory)

    # What happens -----------------------------------------------------------------------------------------------------

    def _play(self, relay: Relay, server: Primary, seconds: float) -> None:
        with Supervisor(relay.bear) as service:
            service.start()
            self._born(server)
            _wait_for(relay.log_file, "event=service_started")
            queue = Queue.open(relay.url, node="operator")
            try:
                with Senders(relay.port, self._seed) as senders:
                    end = time.monotonic() + seconds
                    while time.monotonic() < end + self._more_seconds(senders):
                        time.sleep(self._chance.uniform(0.02, 0.3))
                        (what,) = self._chance.choices([*MISFORTUNES], [*MISFORTUNES.values()])
                        self._befall(what, service, server, queue)
                    senders.calm_down()
                server.sink.behaves = True
                _drain(queue)
                self._history = self._written_down(senders, server.sink, queue)
            finally:
                queue.close()

    @staticmethod
    def _more_seconds(senders: Senders) -> float:
        """On a machine that is busy a short story has hardly begun when it should end."""
        return 0 if sum(each.is_answered for each in senders.tries) >= FEWEST_ANSWERED else START_SECONDS

    def _born(self, server: Primary) -> None:
        self._life = time.monotonic(), len(server.sink.copies)

    def _befall(self, what: str, service: Supervisor, server: Primary, queue: Queue) -> None:
        if what == "retry":
            _retry_all(queue)
        elif what == "kill":
            since, copies = self._life
            if len(server.sink.copies) < copies + COPIES_A_LIFE and time.monotonic() < since + SECONDS_A_LIFE:
                return
            status = service.kill()
            assert status == -signal.SIGKILL, f"the service ended by itself: {status}"
            self._kills.append(time.time())
            time.sleep(self._chance.choice([0, self._chance.uniform(0, 0.5)]))
            service.start()
            self._born(server)
        elif what == "stop":
            self._stop_one(family(service.pid))
        else:
            misfortune: Callable[[WrittenDown], object] = getattr(WrittenDown, what)
            server.suffer(misfortune)
        self._told.append(what)

    def _stop_one(self, processes: list[int]) -> None:
        """The one that keeps the queue, or one that holds sessions, gets no time for a while."""
        pid = self._chance.choice(processes)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._chance.uniform(0.05, 1.0))
            os.kill(pid, signal.SIGCONT)

    # What was written down --------------------------------------------------------------------------------------------

    def _written_down(self, senders: Senders, server: WrittenDown, queue: Queue) -> History:
        tries = senders.tries
        ids = sorted({each.queue_id for each in tries if each.queue_id} | {copy.queue_id for copy in server.copies})
        rows = queue.read(lambda connection: [row for each in ids for row in ledger_rows(connection, each)]).result()
        waiting = frozenset(
            (message.id, recipient.forward_path)
            for message in queue.list(Filter()).result()
            for recipient in message.recipients
            if recipient.state.is_live
        )
        return History(
            tries=tries,
            copies=server.copies,
            openings=server.openings,
            offers=server.offers,
            cuts=server.cuts,
            kills=self._kills,
            ledger=[Entry(row.at.timestamp(), row.message_id, row.forward_path, row.event.value) for row in rows],
            waiting=waiting,
            connections=self._connections,
        )


def _wait_for(log: Path, words: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not log.exists() or words not in log.read_text(errors="replace"):
        assert time.monotonic() < end, f"not within {START_SECONDS} s: {words}"
        time.sleep(0.05)


def _drain(queue: Queue) -> None:
    """What waits for a retry need not wait for long here. What is left after a while is left."""
    end = time.monotonic() + DRAIN_SECONDS
    while queue.count().result() and time.monotonic() < end:
        _retry_all(queue)
        time.sleep(0.3)


def _retry_all(queue: Queue) -> None:
    """Where the queue is busy it is tried again later."""
    with contextlib.suppress(QueueError):
        queue.retry(Filter(), "operator", "cannot wait").result(30)
