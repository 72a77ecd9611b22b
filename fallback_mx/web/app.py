"""The HTTP face of a running service: /livez, /readyz, /metrics and /status.json, named at /; pages.py has the pages.

`/livez` says that the event loop turns and touches nothing else. `/readyz` says whether mail can be taken: 200 while
every check holds, 503 otherwise; a primary that is down is no reason to be unready, it is what this service is for.
An answer is asked of the service at most once a second and waited for at most five, however many ask, so
that nobody can make the queue's disk work through this door. Only GET and HEAD are known; there are no redirects and
nothing is built from the Host header. No page carries anybody's address or the text of an exception.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fallback_mx.web.fresh import UNHURRIED, Fresh, Pace
from fallback_mx.web.metrics import CONTENT_TYPE, Figures, Metrics
from fallback_mx.web.pages import Pages, Publisher
from mxqueue.errors import QueueError

SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)

INDEX = """\
Fallback MX, a second mail exchanger.

/status           how the primaries are and what waits, for people
/status/TOKEN     a customer's own, with a feed.atom below it
/status.json      the same for programs, with hosts and replies
/feed.atom        outages and maintenance, to subscribe to
/badge/NAME.svg   a primary's state, as a picture for other pages
/health           whether mail can be taken, as application/health+json
/metrics          counters and gauges for Prometheus
/livez            the process turns
/readyz           mail can be taken
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold for mail to be taken ("database", "space", "listener"), and what is the matter."""

    name: str
    ok: bool
    detail: str = ""


class View(Publisher, Protocol):
    """What the service lets this face see. Any of these may raise or hang: the face answers 503 then."""

    async def ready(self) -> Sequence[Check]:
        """Whether mail can be taken: a write to the database, space, listeners."""
        ...

    async def figures(self) -> Figures:
        """The queue's counts and the primaries' states; counts are None where the queue cannot be read."""
        ...

    async def status(self) -> dict[str, Any]:
        """What /status.json shows; see fallback_mx.status."""
        ...


class _SecurityHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # An answer that has a policy of its own means it.
                own = {name for name, _ in message["headers"]}
                usual = [header for header in SECURITY_HEADERS if header[0] not in own]
                message["headers"] = [*message["headers"], *usual]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def make_app(
    view: View, metrics: Metrics, failed: Callable[[str, BaseException], None], pace: Pace = UNHURRIED
) -> Starlette:
    """The application. `failed(part, error)` hears of every error that nobody foresaw."""
    ready, figures, status = Fresh(view.ready, pace), Fresh(view.figures, pace), Fresh(view.status, pace)

    async def index(request: Request) -> Response:
        return PlainTextResponse(INDEX)

    async def livez(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        try:
            checks = await ready.get()
        except TimeoutError:
            checks = [Check("service", False, f"no answer within {pace.answer_seconds:g} s")]
        ok = all(check.ok for check in checks)
        body = {"ready": ok, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]}
        return _json(body, 200 if ok else 503)

    async def metrics_page(request: Request) -> Response:
        return Response(metrics.render(await figures.get()), media_type=CONTENT_TYPE)

    async def status_json(request: Request) -> Response:
        return _json(await status.get())

    async def on_error(path: str, error: Exception) -> Response:
        # Never let it through: the server would write its traceback, the client would see a closed connection.
        failed(f"http {path}", error)
        return _unavailable()

    endpoints: dict[str, _Endpoint] = {
        "/": index,
        "/livez": livez,
        "/readyz": readyz,
        "/metrics": metrics_page,
        "/status.json": status_json,
    }
    pages = Pages(view, ready.get, pace)
    app = Starlette(
        routes=[
            Route(path, _guarded(path, endpoint, on_error))
            for path, endpoint in (endpoints | pages.endpoints()).items()
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    app.add_middleware(_SecurityHeaders)
    return app


_Endpoint = Callable[[Request], Awaitable[Response]]


def _guarded(path: str, endpoint: _Endpoint, on_error: Callable[[str, Exception], Awaitable[Response]]) -> _Endpoint:
    """`path` is as it stands here: in the one that is asked for there may be a token."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (QueueError, TimeoutError):
            # Known already: /readyz says why, and the log has it from whoever met it first.
            return _unavailable()
        except Exception as error:
            return await on_error(path, error)

    return answer


def _unavailable() -> Response:
    return _json({"error": "not available now"}, 503)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail.lower()}, error.status_code, error.headers)


def _json(body: object, status_code: int = 200, headers: Any = None) -> Response:
    # ASCII alone, so that nothing in a name or a reply reaches a terminal as a control character.
    return Response(json.dumps(body) + "\n", status_code, headers, media_type="application/json")
