"""Where senders come in: a listener in this process, or a crew of accepting processes (`[server] workers`).

The ports are opened here, once, before anything else is started: one that cannot be had ends the start.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from fallback_mx import maillog
from fallback_mx.accepting.inbound import Inbound
from fallback_mx.accepting.words import Setup, States
from fallback_mx.config import Config, Primary, Server
from fallback_mx.rules.admission import WhenUp
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import UnknownRecipients
from fallback_mx.service.crew import Crew, crew_size
from fallback_mx.service.limits import with_limits
from fallback_mx.service.lists import has_list
from fallback_mx.service.member import CannotAccept
from fallback_mx.service.next_hops import destination_of, dial_settings
from fallback_mx.smtp import ports
from fallback_mx.smtp.acquaintances import Knows
from fallback_mx.smtp.commits import QueueCommits
from fallback_mx.smtp.etrn import Ask, Callers
from fallback_mx.smtp.listener import Listener
from fallback_mx.smtp.passage import Look, PassageSettings
from fallback_mx.smtp.terms import ListenerSettings, Route
from fallback_mx.smtp.through import TIMEOUTS
from fallback_mx.space import Space
from fallback_mx.web.metrics import Metrics
from mxqueue import Envelope, Queue
from mxqueue.model import utc_now


class CannotListen(Exception):
    """An SMTP address cannot be listened on. `advice` tells the operator what to do."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


def listener_settings(
    config: Config, spool_directory: Path, context: ssl.SSLContext | None, processes: int = 1
) -> ListenerSettings:
    """As each of so many accepting processes has them."""
    settings = ListenerSettings(
        hostname=config.server.hostname,
        routes={
            domain: route
            for primary, route in ((primary, _listener_route(primary)) for primary in config.primaries)
            for domain in primary.domains
        },
        spool_directory=spool_directory,
        tls_context=context,
        passages={
            primary.name: _passage_settings(primary, config.server, processes)
            for primary in config.primaries
            if WhenUp(primary.when_up) is WhenUp.PROXY
        },
    )
    return with_limits(settings, config.server)


def _listener_route(primary: Primary) -> Route:
    unknown = UnknownRecipients(primary.unknown_recipients)
    asks = has_list(primary) or primary.call_ahead_per_minute > 0 or primary.greylist is not None
    return Route(
        primary.name,
        WhenUp(primary.when_up),
        takes_routing_characters=primary.routing_characters == "accept",
        grace_after_seconds=_seconds(primary.grace_after),
        greylist_seconds=_seconds(primary.greylist),
        unknown_recipients=unknown,
        asks_of_recipients=asks or unknown is not UnknownRecipients.ACCEPT,
        calls_ahead=primary.call_ahead_per_minute > 0,
    )


def _seconds(interval: timedelta | None) -> float | None:
    return None if interval is None else interval.total_seconds()


def _passage_settings(primary: Primary, server: Server, processes: int) -> PassageSettings:
    return PassageSettings(
        dial=dial_settings(primary, server, TIMEOUTS),
        destination=destination_of(primary, server),
        max_connections=max(1, primary.max_connections // processes),
    )


class Front:
    """Built in a running event loop. `states` gives the primaries' states, `mail_came(name, messages)` hears of mail
    for one, `callers` gives the clients that may ask for it, `ask` hears when they do."""

    def __init__(
        self,
        config: Config,
        context: ssl.SSLContext | None,
        spool_directory: Path,
        queue: Queue,
        metrics: Metrics,
        space: Space,
        states: Callable[[], Mapping[str, State]],
        mail_came: Callable[[str, int], None],
        look: Look,
        knows: Knows,
        callers: Callable[[], Callers],
        size_limits: Callable[[], Mapping[str, int]],
        ask: Ask,
    ) -> None:
        self._config = config
        self._spool_directory = spool_directory
        self._metrics = metrics
        self._mail_came = mail_came
        self._callers = callers
        self._size_limits = size_limits
        self._processes = crew_size(config.server.workers)
        commits = QueueCommits(queue, self._on_accepted)
        self._door: Listener | Crew
        if self._processes > 1:
            self._door = Crew(
                self._processes,
                self._setup(),
                commits,
                metrics,
                lambda: States(dict(states()), callers(), dict(size_limits())),
                look,
                ask,
                knows,
            )
        else:
            self._door = Listener(
                self._settings(context),
                commits,
                state_of=lambda name: states().get(name, State.UNKNOWN),
                has_room=space.has_room,
                events=Inbound(metrics),
                clock=utc_now,
                look=look,
                knows=knows,
                ask=ask,
            )

    def _settings(self, context: ssl.SSLContext | None) -> ListenerSettings:
        return listener_settings(self._config, self._spool_directory, context, self._processes)

    def _setup(self) -> Setup:
        server = self._config.server
        level, as_json = maillog.form()
        return Setup(
            listener=self._settings(None),
            tls_certificate=server.tls_certificate,
            tls_key=server.tls_key,
            min_free_space=self._config.storage.min_free_space,
            log_level=level,
            log_as_json=as_json,
        )

    async def start(self) -> None:
        """Raises CannotListen."""
        opened: list[list[socket.socket]] = []
        try:
            for endpoint in self._config.server.listen:
                try:
                    opened += ports.open_ports(endpoint.host, endpoint.port, self._processes)
                except OSError as error:
                    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                    raise CannotListen(f"server.listen {endpoint}: {reason}", _listen_advice(error)) from None
            try:
                if isinstance(self._door, Crew):
                    await self._door.start(opened)
                else:
                    await self._door.start([one for sockets in opened for one in sockets])
            except CannotAccept as error:
                raise CannotListen(str(error), "The log above says why; server.workers = 1 does without it.") from None
        except BaseException:
            for one in (one for sockets in opened for one in sockets):
                one.close()
            raise

    def configure(self, config: Config, context: ssl.SSLContext | None) -> None:
        """Take a new configuration: sessions see it at their next command."""
        self._config = config
        if isinstance(self._door, Crew):
            self._door.configure(self._setup())
        else:
            self._door.configure(self._settings(context))

    def tell_states(self) -> None:
        """A primary's state has changed, who may ask for its mail, or how large a message it takes."""
        if isinstance(self._door, Crew):
            self._door.tell_states()
        else:
            self._door.learn(self._callers(), self._size_limits())

    def tell_refusing(self) -> None:
        """It has changed of which primaries bad recipients are known."""
        if isinstance(self._door, Crew):
            self._door.tell_refusing()

    def _on_accepted(self, committed: Sequence[tuple[Envelope, int]]) -> None:
        sizes: dict[str, list[int]] = {}
        with maillog.together():
            for envelope, size in committed:
                sizes.setdefault(envelope.route, []).append(size)
                maillog.accepted(
                    envelope.id,
                    primary=envelope.route,
                    client_address=envelope.client_address,
                    reverse_path=envelope.reverse_path,
                    forward_paths=envelope.forward_paths,
                    size=size,
                )
        for route, each in sizes.items():
            self._metrics.accepted(route, len(each), sum(each))
            self._mail_came(route, len(each))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return self._door.addresses

    @property
    def listening(self) -> bool:
        return self._door.listening

    async def stop(self, grace_seconds: float) -> None:
        await self._door.stop(grace_seconds)


def _listen_advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "Choose a port above 1023, or give the service CAP_NET_BIND_SERVICE."
    if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
        return "This machine has no such address: write another, or leave it out."
    return "Stop what listens there (ss -ltnp shows it), or write another address."
