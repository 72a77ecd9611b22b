"""The paths for people, and for what they subscribe to: the status page, each customer's, the feed, badges, /health.

What is told to whom follows from the terms of the moment: a token that was taken out, or a page that was closed, is 403
at once. A wrong token is answered like a path that is closed. Facts and pages are found and made once a second at most
for each audience, in a thread, however many ask. No path with a token in it is told to anybody, the log included.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from fallback_mx.published.facts import Facts
from fallback_mx.published.telling import Whole, facts
from fallback_mx.published.terms import Terms
from fallback_mx.web import page
from fallback_mx.web.badge import badge
from fallback_mx.web.checkup import MEDIA_TYPE as HEALTH
from fallback_mx.web.checkup import checkup
from fallback_mx.web.feed import MEDIA_TYPE as ATOM
from fallback_mx.web.feed import feed
from fallback_mx.web.fresh import Fresh, Pace
from mxqueue.errors import QueueError

PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# A database of a hundred primaries may take a second to tell of them: then it is asked less often.
REST = 10.0
# Whoever stands between us and the crowd may keep it as long as we do.
_SHORTLY = "public, max-age=1"
_FOR_ONE = "private, no-store"
_HTML = "text/html; charset=utf-8"
_SVG = "image/svg+xml"

Endpoint = Callable[[Request], Awaitable[Response]]


class Publisher(Protocol):
    """What the service tells the pages; `whole` may raise or hang."""

    @property
    def terms(self) -> Terms: ...

    @property
    def node(self) -> str: ...

    @property
    def version(self) -> str: ...

    async def whole(self) -> Whole: ...


class Check(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def ok(self) -> bool: ...


class Pages:
    """`ready` is what /readyz asks."""

    def __init__(self, publisher: Publisher, ready: Callable[[], Awaitable[Sequence[Check]]], pace: Pace) -> None:
        self._publisher = publisher
        self._ready = ready
        self._pace = pace
        # A page is made of facts, which are made of the whole: together they are not to be older than one of them.
        self._parts = replace(pace, fresh_seconds=pace.fresh_seconds / 3)
        # To read it is what costs; a page that was slow to be made for once is not to be old for that.
        self._whole = Fresh(publisher.whole, replace(self._parts, rest=REST))
        self._known: dict[str | None, Fresh[Facts]] = {}
        self._made: dict[str, Fresh[bytes]] = {}

    def endpoints(self) -> dict[str, Endpoint]:
        """What answers at which path."""
        return {
            "/status": self._status,
            "/status/{token}": self._status_of_one,
            "/status/{token}/feed.atom": self._feed_of_one,
            "/feed.atom": self._feed,
            "/badge/{name:path}.svg": self._badge,
            "/health": self._health,
            "/static/status.css": self._stylesheet,
            "/static/icon.svg": self._icon,
        }

    async def _status(self, request: Request) -> Response:
        if not self._publisher.terms.is_public:
            return _closed("")
        return await self._answer(
            _HTML, _SHORTLY, "", self._make("page", None, lambda of: page.page(of, "", "feed.atom"))
        )

    async def _status_of_one(self, request: Request) -> Response:
        customer = self._publisher.terms.customer_of(request.path_params["token"])
        if customer is None:
            return _closed("../")
        # The address of the page ends in the token, which its feed begins with.
        link = f"{request.path_params['token']}/feed.atom"
        return await self._answer(
            _HTML, _FOR_ONE, "../", self._make(f"page {link}", customer, lambda of: page.page(of, "../", link))
        )

    async def _feed(self, request: Request) -> Response:
        if not self._publisher.terms.is_public:
            return _closed("")
        node = self._publisher.node
        return await self._answer(ATOM, _SHORTLY, "", self._make("feed", None, lambda of: feed(of, node, "status")))

    async def _feed_of_one(self, request: Request) -> Response:
        token = request.path_params["token"]
        customer = self._publisher.terms.customer_of(token)
        if customer is None:
            return _closed("../../")
        node, link = self._publisher.node, f"../{token}"
        made = self._make(f"feed {link}", customer, lambda of: feed(of, node, link))
        return await self._answer(ATOM, _FOR_ONE, "../../", made)

    async def _badge(self, request: Request) -> Response:
        if not self._publisher.terms.is_public:
            return _closed("../")
        wanted = request.path_params["name"]
        known = await self._facts(None)
        primary = next((one for one in known.primaries if one.title == wanted), None)
        if primary is None:
            return _notice(
                404, "There is no such mail server", "Look at the status page for those that there are.", "../"
            )
        response = Response(badge(primary.title, primary.state), media_type=_SVG)
        # It is made to stand on other pages.
        response.headers["cross-origin-resource-policy"] = "cross-origin"
        response.headers["cache-control"] = "public, max-age=30"
        return response

    async def _health(self, request: Request) -> Response:
        try:
            ready = [(check.name, check.ok) for check in await self._ready()]
        except TimeoutError:
            ready = [("service", False)]
        known: Facts | None = None
        if self._publisher.terms.is_public:
            try:
                known = await self._facts(None)
            except (QueueError, TimeoutError):
                known = None
        body = checkup(ready, known, self._publisher.version)
        status = 503 if body["status"] == "fail" else 200
        return Response(json.dumps(body) + "\n", status, media_type=HEALTH)

    async def _stylesheet(self, request: Request) -> Response:
        response = Response(page.stylesheet(), media_type="text/css; charset=utf-8")
        response.headers["cache-control"] = "public, max-age=86400"
        return response

    async def _icon(self, request: Request) -> Response:
        response = Response(page.icon(), media_type=_SVG)
        response.headers["cache-control"] = "public, max-age=86400"
        return response

    async def _facts(self, customer: str | None) -> Facts:
        """One for each audience: as many as there are customers with a token, and everybody."""

        async def ask() -> Facts:
            return await asyncio.to_thread(facts, await self._whole.get(), self._publisher.terms, customer)

        return await self._known.setdefault(customer, Fresh(ask, self._parts)).get()

    def _make(self, what: str, customer: str | None, render: Callable[[Facts], bytes]) -> Fresh[bytes]:
        """One for each link that there is, which bad tokens have none of."""

        async def ask() -> bytes:
            return await asyncio.to_thread(render, await self._facts(customer))

        return self._made.setdefault(what, Fresh(ask, self._pace))

    @staticmethod
    async def _answer(media_type: str, kept: str, root: str, made: Fresh[bytes]) -> Response:
        try:
            body = await made.get()
        except (QueueError, TimeoutError):
            return _notice(
                503,
                "The status cannot be told now",
                "The record of this service cannot be read at the moment. Try again in a minute.",
                root,
            )
        response = Response(body, media_type=media_type)
        response.headers["content-security-policy"] = PAGE_POLICY
        response.headers["cache-control"] = kept
        response.headers["x-robots-tag"] = "noindex" if kept == _FOR_ONE else "all"
        return response


def _closed(root: str) -> Response:
    text = "Either it is not open to everybody, or the link to it has been replaced: ask for a new one."
    return _notice(403, "This page is not for you", text, root)


def _notice(status: int, headline: str, text: str, root: str) -> Response:
    response = Response(page.notice(headline, text, root), status, media_type=_HTML)
    response.headers["content-security-policy"] = PAGE_POLICY
    return response
