"""What happens when very many connect: a supervisor's question is answered, whoever else is there.

An orchestrator that hears nothing from /livez starts the service anew, in the middle of an outage and because people
look at its status page. So those two paths are never refused for the crowd. Of the rest, connections beyond half of
what there may be are closed after their answer, and beyond all of it the answer is 503.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NEVER_REFUSED = frozenset({"/livez", "/readyz"})
_REFUSED = b"too many at once\n"
_CLOSE = (b"connection", b"close")


class Crowd:
    """An application before which there is a door. `connections` counts those that are open."""

    def __init__(self, app: ASGIApp, connections: Callable[[], int], most: int) -> None:
        self._app = app
        self._connections = connections
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        there = self._connections()
        if there * 2 <= self._most:
            await self._app(scope, receive, send)
        elif there <= self._most or scope["path"] in NEVER_REFUSED:
            await self._app(scope, receive, _closing(send))
        else:
            headers = [(b"content-type", b"text/plain"), (b"retry-after", b"5"), _CLOSE]
            headers.append((b"content-length", str(len(_REFUSED)).encode()))
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSED})


def _closing(send: Send) -> Send:
    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], _CLOSE]
        await send(message)

    return send_and_close
