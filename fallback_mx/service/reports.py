"""Reports to senders: who writes them, and the drain that brings them to their senders' own exchangers.

They wait on a route of their own and have no primary: nobody watches where they go, and there is no outage to end. A
report is never reported on. One that is refused, or cannot be delivered in five days, is held: with it goes the only
copy of what became of somebody's mail.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import timedelta

import dns.asyncresolver

from fallback_mx import maillog
from fallback_mx.bounces.quota import Quota
from fallback_mx.bounces.reporter import Reporter, ReporterSettings
from fallback_mx.bounces.vouching import Voucher, system_resolver
from fallback_mx.config import Config
from fallback_mx.redelivery import Courier, Drain, DrainSettings
from fallback_mx.rules.backoff import Backoff
from fallback_mx.rules.bouncing import REPORTS
from fallback_mx.service.outbound import NoLessons, Outbound
from fallback_mx.smtp.dial import DialSettings, connect_first
from fallback_mx.smtp.ourselves import Ourselves
from fallback_mx.smtp.postman import Postman
from fallback_mx.smtp.route import MxRoute, NextHop
from fallback_mx.web.metrics import Metrics
from mxqueue import Queue
from mxqueue.model import utc_now

SETTINGS = DrainSettings(
    max_connections=4,
    lifetime=timedelta(days=5),
    recovery_guard=timedelta(0),
    first_wait=timedelta(minutes=5),
    grace_seconds=10.0,
    # Where each goes is another server: one that is busy says nothing about the next.
    canary_backoff=Backoff(timedelta(milliseconds=1), longest=timedelta(milliseconds=1), lifetime=None),
)


def reporter_settings(config: Config) -> ReporterSettings:
    primaries = {domain: primary.name for primary in config.primaries for domain in primary.domains}
    return ReporterSettings(config.server.hostname, primaries)


class Reports:
    """`reporter` is for whoever gives up mail. Made in a running event loop."""

    def __init__(
        self,
        config: Config,
        queue: Queue,
        metrics: Metrics,
        on_crash: Callable[[], None],
        resolver: dns.asyncresolver.Resolver | None = None,
    ) -> None:
        self._config = config
        self._on_crash = on_crash
        self._resolver = resolver or system_resolver()
        voucher = Voucher(self._resolver)
        self.reporter = Reporter(reporter_settings(config), voucher, queue.new_id, utc_now, Quota(time.monotonic))
        metrics.add_primaries([REPORTS])
        self._drain = Drain(
            REPORTS,
            queue,
            SETTINGS,
            connect=self._connect,
            may_deliver=lambda: True,
            recovered_at=lambda: None,
            observe=lambda observation: None,
            events=Outbound(REPORTS, "the senders' exchangers", metrics, NoLessons(), lambda route: None),
            clock=utc_now,
            chance=random.random,
        )
        self._draining: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._draining = asyncio.create_task(self._drain.run())
        self._draining.add_done_callback(self._on_end)

    def configure(self, config: Config) -> None:
        """What is under way is not touched."""
        self._config = config
        self.reporter.settings = reporter_settings(config)

    def wake(self) -> None:
        """A report was queued."""
        self._drain.wake()

    async def stop(self) -> None:
        if self._draining is not None:
            self._drain.stop()
            await asyncio.wait([self._draining])

    async def _connect(self) -> Courier:
        server, smarthost = self._config.server, self._config.bounces.smarthost
        settings = DialSettings(hello_name=server.hostname)
        if smarthost is not None:
            return await connect_first([NextHop(smarthost.host, smarthost.port)], settings)
        listen = tuple((each.host, each.port) for each in server.listen)
        ourselves = Ourselves(frozenset({server.hostname}), listen=listen)
        return Postman(lambda domain: MxRoute(domain, ourselves, self._resolver, random.random), settings)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            maillog.crashed(REPORTS, error)
            self._on_crash()
