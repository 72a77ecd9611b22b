"""A client that goes while nothing is read from it.

Where reading rests, an event loop does not look at the connection at all: one that has been reset stays as it was until
somebody reads or writes again. The kernel knows at once. It is asked for nothing but that, through a descriptor of
its own which any loop can wait for. A client that only sends no more (FIN) has not gone: it may wait for its reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def departure(transport: Any, gone: Callable[[], None]) -> Iterator[None]:
    """While this lasts `gone` is called, once, if the client resets the connection. (Linux; elsewhere never.)"""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None or connection.fileno() < 0 or not hasattr(select, "epoll"):
        yield
        return
    loop = asyncio.get_running_loop()
    # An error and a hangup are told of unasked.
    with select.epoll() as watch:
        watch.register(connection.fileno(), 0)

        def on_event() -> None:
            loop.remove_reader(watch.fileno())
            gone()

        loop.add_reader(watch.fileno(), on_event)
        try:
            yield
        finally:
            loop.remove_reader(watch.fileno())
