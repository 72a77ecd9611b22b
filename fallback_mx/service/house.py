"""One service, from the configuration to the last commit.

Start: database, sockets, then whatever acts on its own. Stop: no new connections, sessions finish or are told 421,
deliveries finish or give their leases back, the last observations are written, the database is closed. SIGTERM and
SIGINT stop; SIGHUP reads the configuration again, and a file that is not valid changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvloop

from fallback_mx import __version__, garbage, maillog, systemd
from fallback_mx.config import Config, ConfigError, Endpoint, load
from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
from fallback_mx.orders.schema import MIGRATIONS as ORDERS
from fallback_mx.outages.log import OutageLog
from fallback_mx.outages.schema import MIGRATIONS as OUTAGES
from fallback_mx.published.schema import MIGRATIONS as PUBLISHED
from fallback_mx.recipients.schema import MIGRATIONS as RECIPIENTS
from fallback_mx.rules.health import State
from fallback_mx.service.couriers import Couriers, couriers_size
from fallback_mx.service.crew import crew_size
from fallback_mx.service.front import Front
from fallback_mx.service.knowledge import Knowledge
from fallback_mx.service.primaries import Primaries
from fallback_mx.service.publishing import Publishing
from fallback_mx.service.reports import Reports
from fallback_mx.service.view import ServiceView
from fallback_mx.settlement.schema import MIGRATIONS as SETTLEMENT
from fallback_mx.smtp import tls
from fallback_mx.space import Space
from fallback_mx.web.app import make_app
from fallback_mx.web.metrics import Metrics
from fallback_mx.web.server import HttpServer
from mxqueue import Queue, QueueError
from mxqueue.migrate import QUEUE

GRACE_SECONDS = 15.0
HOUSEKEEPING_SECONDS = 60.0


def run(config_path: Path | str, overrides: Mapping[str, object]) -> int:
    """Serve until told to stop; the exit code. Raises ConfigError, QueueError, CannotListen, HttpListenError."""
    config = load(config_path, overrides)
    contexts = tls.server_context(config.server.tls_certificate, config.server.tls_key)
    _raise_descriptor_limit()
    queue = Queue.open(
        config.storage.url,
        node=config.server.hostname,
        exclusive=True,
        ledger_retention=config.storage.ledger_retention,
        migrations=(QUEUE, OUTAGES, RECIPIENTS, ORDERS, SETTLEMENT, MAINTENANCE, PUBLISHED),
    )
    try:
        return uvloop.run(House(config, config_path, overrides, queue, contexts).live())
    finally:
        queue.close()


def _raise_descriptor_limit() -> None:
    """Every connection is a descriptor: take as many as we may have."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class House:
    """Everything that runs, and the order in which it comes and goes."""

    def __init__(
        self,
        config: Config,
        config_path: Path | str,
        overrides: Mapping[str, object],
        queue: Queue,
        context: ssl.SSLContext | None,
    ) -> None:
        self._config = self._started_with = config
        self._config_path = config_path
        self._overrides = overrides
        self._queue = queue
        self._tls_context = context
        self._crashed = False
        self._has_started = False
        self._spool_directory = queue.directory or Path(tempfile.gettempdir())

    async def live(self) -> int:
        """Start, run until told to stop, stop. 1 where a part crashed, so that the manager starts us anew."""
        stop = asyncio.Event()
        self._build(stop)
        try:
            # First of all: a signal in the middle of a start ends in an ordered stop too.
            with self._signals(stop):
                await self._start()
                self._has_started = True
                maillog.service_started(
                    version=__version__,
                    node=self._config.server.hostname,
                    listen=[str(Endpoint(*address)) for address in self._front.addresses],
                    primaries=[primary.name for primary in self._config.primaries],
                )
                systemd.notify("READY=1", "STATUS=Taking mail.")
                await stop.wait()
        finally:
            await self._stop()
        return 1 if self._crashed else 0

    def _on_crash(self, stop: asyncio.Event) -> None:
        self._crashed = True
        stop.set()

    def _on_state(self) -> None:
        self._front.tell_states()

    def _on_refusing(self) -> None:
        self._front.tell_refusing()

    def _build(self, stop: asyncio.Event) -> None:
        config = self._config
        self._metrics = Metrics(__version__, [primary.name for primary in config.primaries])
        self._log = OutageLog(self._queue.writer.submit, self._queue.read, config.server.hostname)
        self._space = Space(self._spool_directory, config.storage.min_free_space)
        self._knowledge = Knowledge(
            self._queue,
            lambda name: self._primaries.states().get(name, State.UNKNOWN),
            lambda: self._on_crash(stop),
            self._on_refusing,
        )
        self._reports = Reports(config, self._queue, self._metrics, lambda: self._on_crash(stop))
        self._primaries = Primaries(
            self._queue,
            self._log,
            self._metrics,
            lambda: self._on_crash(stop),
            self._on_state,
            self._knowledge,
            self._reports,
            self._couriers(),
        )
        self._front = Front(
            config,
            self._tls_context,
            self._spool_directory,
            self._queue,
            self._metrics,
            self._space,
            states=self._primaries.states,
            mail_came=self._primaries.mail_came,
            look=self._primaries.look,
            knows=self._knowledge,
            callers=self._primaries.callers,
            size_limits=self._primaries.size_limits,
            ask=self._primaries.ask,
        )
        self._publishing = Publishing(config, self._queue, self._log)
        view = ServiceView(
            self._queue,
            self._log,
            self._front,
            self._space,
            self._primaries.live,
            self._primaries.gaps,
            self._publishing.publication,
            self._primaries.upkeeps,
            lambda: self._primaries.is_cut_off,
        )
        where = config.http.listen
        app = make_app(view, self._metrics, maillog.crashed)
        self._http = HttpServer(app, where.host, where.port) if where is not None else None
        self._chores: list[asyncio.Task[None]] = []

    def _couriers(self) -> Couriers | None:
        """None where everything is done in one process, or the database has servers of its own."""
        size, reader = couriers_size(crew_size(self._config.server.workers)), self._queue.reader
        return Couriers(size, reader) if size > 0 and reader is not None else None

    async def _start(self) -> None:
        # Both ports are had before anything acts, and nobody is told of primaries that are not there yet.
        if self._http is not None:
            await self._http.open()
        await self._front.start()
        self._knowledge.configure(self._config)
        await self._primaries.start(self._config)
        self._reports.start()
        if self._http is not None:
            await self._http.start()
        garbage.settle()
        chores = (self._keep_house(), self._show_life(), self._publishing.run())
        self._chores = [asyncio.create_task(chore) for chore in chores]

    @contextlib.contextmanager
    def _signals(self, stop: asyncio.Event) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def on_stop(name: str) -> None:
            if not stop.is_set():
                maillog.service_stopping(name)
                stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        # They stay until the process ends: a signal in the middle of a stop must not kill it.
        yield

    def _reload(self) -> None:
        """Read the configuration again; on any error everything stays as it is."""
        systemd.reloading()
        try:
            config = load(self._config_path, self._overrides)
            context = tls.server_context(config.server.tls_certificate, config.server.tls_key)
        except (ConfigError, tls.BadCertificate) as error:
            maillog.config_rejected(str(self._config_path), str(error).splitlines())
        else:
            for key in _needs_restart(self._started_with, config):
                maillog.trouble("reload", f"{key} has changed", "It takes effect when the service is restarted.")
            self._config, self._tls_context = config, context
            self._front.configure(config, context)
            self._space.floor_octets = config.storage.min_free_space
            self._metrics.add_primaries(primary.name for primary in config.primaries)
            self._knowledge.configure(config)
            self._reports.configure(config)
            self._primaries.configure(config)
            self._publishing.configure(config)
            maillog.config_reloaded(str(self._config_path))
        systemd.notify("READY=1")

    async def _stop(self) -> None:
        began = time.monotonic()
        systemd.notify("STOPPING=1")
        for chore in self._chores:
            chore.cancel()
        # Sessions and deliveries end side by side: the grace time is for both together.
        await asyncio.gather(self._front.stop(GRACE_SECONDS), self._primaries.stop(GRACE_SECONDS), self._reports.stop())
        # Sessions asked it, deliveries taught it: it goes after both.
        await self._knowledge.stop()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._publishing.stop()
        if self._http is not None:
            await self._http.stop()
        if self._has_started:
            maillog.service_stopped(seconds=round(time.monotonic() - began, 3))

    async def _keep_house(self) -> None:
        troubled = False
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                # A piece at a time: mail that waits for the writer goes in between.
                while await asyncio.wrap_future(self._queue.housekeep()) > 0:
                    pass
            except QueueError as error:
                if not troubled:
                    maillog.trouble("housekeeping", str(error), error.advice)
                troubled = True
            else:
                troubled = False

    async def _show_life(self) -> None:
        """Tell the manager that the event loop turns."""
        seconds = systemd.watchdog_seconds()
        while seconds is not None:
            systemd.notify("WATCHDOG=1")
            await asyncio.sleep(seconds)


def _needs_restart(before: Config, after: Config) -> list[str]:
    """The keys that changed and are only read at the start."""
    pairs = {
        "server.listen": (before.server.listen, after.server.listen),
        "server.workers": (before.server.workers, after.server.workers),
        "storage.url": (before.storage.url, after.storage.url),
        "storage.ledger_retention": (before.storage.ledger_retention, after.storage.ledger_retention),
        "http.listen": (before.http.listen, after.http.listen),
    }
    return [key for key, (old, new) in pairs.items() if old != new]
