"""One run: senders, the real service and a primary, and what befalls them; at its end, what they wrote down.

The schedule follows from the seed. What happens when, down to the octet, does not: processes and threads have a will of
their own. The same seed does the same things in the same order.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

from mxqueue import Queue
from mxqueue.errors import QueueError
from mxqueue.model import Filter
from mxqueue.views import ledger_rows
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
COPIES_A_LIFE = 30
SECONDS_A_LIFE = 8.0
DRAIN_SECONDS = 120.0


class Story:
    """`play` makes a history. The service is the real one, in processes of its own that are really killed."""

    def __init__(self, seed: int, connections: int) -> None:
        self._seed = seed
        self._chance = random.Random(f"{seed} misfortunes")
        self._connections = connections
        self._kills: list[float] = []
        self._told: list[str] = []

    @property
    def misfortunes(self) -> str:
        return ", ".join(f"{self._told.count(each)} {each}" for each in sorted(set(self._told))) or "none"

    def play(self, seconds: float) -> History:
        with Primary(random.Random(f"{self._seed} primary")) as server:
            settings = primary(
                server.port,
                when_up="accept",
                max_connections=self._connections,
                interval="1s",
                rise=1,
                tls="none",
            )
            with Relay(settings) as relay:
                relay.kill()
                queue = Queue.open(relay.url, node="operator")
                try:
                    self._live(relay, server, queue, seconds)
                    relay.start()
                    self._drain(relay, queue)
                    return self._history(server.sink, queue)
                finally:
                    queue.close()

    # What happens -----------------------------------------------------------------------------------------------------

    def _live(self, relay: Relay, server: Primary, queue: Queue, seconds: float) -> None:
        victim = Supervisor("tests.fakes.serving:serve", str(relay.config_file), str(relay.log_file))
        with victim as service, Senders(relay.port, self._seed) as self._senders:
            service.start()
            self._born(server)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(self._chance.uniform(0.02, 0.5))
                (what,) = self._chance.choices([*MISFORTUNES], [*MISFORTUNES.values()])
                self._befall(what, service, server, queue)
            self._senders.calm_down()
            server.sink.behaves = True
        # Leaving kills it, whatever it was about to do.
        self._kills.append(time.time())

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

    def _drain(self, relay: Relay, queue: Queue) -> None:
        """What waits for a retry need not wait for long here."""
        end = time.monotonic() + DRAIN_SECONDS
        while relay.queue_count() and time.monotonic() < end:
            _retry_all(queue)
            time.sleep(0.5)

    # What was written down --------------------------------------------------------------------------------------------

    def _history(self, server: WrittenDown, queue: Queue) -> History:
        tries = self._senders.tries
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


def _retry_all(queue: Queue) -> None:
    """Where the queue is busy it is tried again later."""
    with contextlib.suppress(QueueError):
        queue.retry(Filter(), "operator", "cannot wait").result(30)
