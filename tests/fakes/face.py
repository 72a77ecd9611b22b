"""The web face on a port of its own, with a house behind it that answers as a test wants it to."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from fallback_mx.published.telling import Whole
from fallback_mx.published.terms import Terms
from fallback_mx.web.app import Check, make_app
from fallback_mx.web.fresh import UNHURRIED, Pace
from fallback_mx.web.metrics import Figures, Metrics
from fallback_mx.web.server import HttpServer
from mxqueue import QueueUnavailable, RouteCount
from tests.fakes.told import Told

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class House:
    """What a service would show. Each answer can be replaced, by an error too."""

    def __init__(self) -> None:
        self.checks: Sequence[Check] | Exception = [Check("database", True), Check("listener", True)]
        self.counts: Sequence[RouteCount] | None = []
        self.states = {"main": "up"}
        self.answer: dict[str, Any] | Exception = {"sentence": "main is up."}
        self.hangs = False
        self.asked = 0
        self.told = Told(Terms(), QueueUnavailable("nothing is told here"))
        self.node, self.version = self.told.node, self.told.version

    @property
    def terms(self) -> Terms:
        return self.told.terms

    async def whole(self) -> Whole:
        return await self.told.whole()

    async def ready(self) -> Sequence[Check]:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if isinstance(self.checks, Exception):
            raise self.checks
        return self.checks

    async def figures(self) -> Figures:
        return Figures(NOW, self.states, self.counts)

    async def status(self) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Face:
    """The web face on a port of its own, its event loop in a thread. `furnish` puts a new house behind it."""

    def __init__(self, house: House | None = None, *, pace: Pace = UNHURRIED, patience_seconds: float = 10.0) -> None:
        self.furnish(house or House(), pace)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.server = HttpServer(self._serve, "127.0.0.1", 0, patience_seconds)

    def furnish(self, house: House, pace: Pace = UNHURRIED) -> None:
        self.house = house
        self.metrics = Metrics("9.9.9", ["main"])
        failures: list[tuple[str, BaseException]] = []
        self.failures = failures
        self._app = make_app(house, self.metrics, lambda part, error: failures.append((part, error)), pace)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def __enter__(self) -> Face:
        self._thread.start()
        self._call(self.server.start)
        return self

    def __exit__(self, *exception: object) -> None:
        self._call(self.server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()

    def _call(self, coroutine: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine(), self._loop).result(30)

    def request(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def json(self, path: str) -> tuple[int, Any]:
        status, headers, body = self.request(path)
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(body)

    def json_of(self, path: str) -> Any:
        return json.loads(self.request(path)[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
