"""Who is measured: this relay and Postfix as a backup MX, each with a primary that is away until told otherwise.

Both keep their queue under the same temporary directory, so on the same disk. Neither writes a log: ours runs as it
is shipped but for its output, which goes to a file; Postfix logs to a syslog that need not be there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from tests.bench.tools import Taker
from tests.fakes.postfix import Postfix
from tests.fakes.relay import DOMAIN, Relay, primary

MAX_MESSAGE_SIZE = "60MB"  # what Postfix is given too
REST_SECONDS = 3.0
CONNECTIONS = 20  # Postfix's default_destination_concurrency_limit


class Contestant(Protocol):
    port: int
    primary: Taker

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def pid(self) -> int:
        """The process that all others of it descend from."""

    def settle(self) -> None:
        """Returns when nothing is left to do about the mail that was accepted but to wait for the primary."""

    def prepare_drain(self) -> None:
        """What the clock does not count."""

    def drain(self) -> None:
        """Go."""

    def is_empty(self) -> bool: ...


class Ours:
    """This relay. Its drain needs no order: `drain` only lets the primary answer, noticing that is in the time."""

    def __init__(
        self,
        taker: Taker,
        *,
        connections: int = CONNECTIONS,
        interval: str = "100ms",
        server: Mapping[str, object] | None = None,
    ) -> None:
        self.primary = taker
        # One good probe is enough: the drain is measured here, the damping in a leg of its own.
        self.relay = Relay(
            primary(taker.port, interval=interval, rise=1, max_connections=connections),
            server={"max_message_size": MAX_MESSAGE_SIZE, **(server or {})},
            from_scratch=True,
        )
        self.port = self.relay.port

    def __enter__(self) -> Self:
        self.primary.__enter__()
        try:
            self.relay.__enter__()
            self.relay.wait_for(lambda: self.relay.primary_state() == "down", "the primary is seen to be away")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.relay.__exit__(kind, error, trace)
        finally:
            self.primary.__exit__(kind, error, trace)

    @property
    def pid(self) -> int:
        return self.relay.pid

    def settle(self) -> None:
        """SQLite moves its log into the database after the mail is committed."""
        time.sleep(REST_SECONDS)

    def prepare_drain(self) -> None:
        return

    def drain(self) -> None:
        self.primary.start()

    def is_empty(self) -> bool:
        return self.relay.queue_count() == 0


class Theirs:
    """Postfix. Its outage is `defer_transports`; go is `postqueue -f`, after a reload that the clock does not count."""

    def __init__(self, taker: Taker, *, connections: int = CONNECTIONS) -> None:
        self.primary = taker
        self.postfix = Postfix.backup_exchanger(DOMAIN, taker.port)
        self.postfix.settings["default_destination_concurrency_limit"] = str(connections)
        self.port = self.postfix.port

    def __enter__(self) -> Self:
        self.primary.__enter__()
        try:
            self.postfix.__enter__()
        except BaseException:
            self.primary.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.postfix.__exit__(kind, error, trace)
        finally:
            self.primary.__exit__(kind, error, trace)

    @property
    def pid(self) -> int:
        return self.postfix.pid

    def settle(self) -> None:
        """Postfix first looks at each message and then defers it."""
        while any(self.postfix.queued("incoming", "active")):
            time.sleep(0.02)

    def prepare_drain(self) -> None:
        self.primary.start()
        self.postfix.end_of_outage()
        time.sleep(0.5)

    def drain(self) -> None:
        self.postfix.command("postqueue", "-f")

    def is_empty(self) -> bool:
        return not any(self.postfix.queued())
