"""A courier process, from its start to its end (see the package).

It is told everything by the service: what a terminal or a manager signals to every process is the service's to obey.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from typing import Any

import uvloop

from fallback_mx import garbage, maillog
from fallback_mx.delivering.round import Round
from fallback_mx.delivering.words import Leave, Over, Ready, Setup
from fallback_mx.workers.channel import Channel
from mxqueue.errors import QueueError
from mxqueue.reading import Reader


def run(control: int) -> int:
    """Carry mail until told to leave by the service at the other end of `control`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ConnectionError):
        uvloop.run(_Process(socket.socket(fileno=control)).live())
    return 0


class _Process:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._rounds: dict[int, Round] = {}
        self._reader: Reader | None = None

    async def live(self) -> None:
        self._left = asyncio.get_running_loop().create_future()
        # Without the service nothing that is done here can be kept.
        self._channel = Channel(self._control, self._on_frame, lambda: os._exit(1))
        await self._left
        self._channel.finish()

    def _on_frame(self, frame: Any, _: int | None) -> None:
        if type(frame) is tuple:
            number, what = frame
            if isinstance(what, Over):
                if (over := self._rounds.pop(number, None)) is not None:
                    over.end()
                return
            if (one := self._rounds.get(number)) is None:
                assert self._reader is not None
                one = self._rounds[number] = Round(partial(self._send, number), self._reader)
            one.on_frame(what)
        elif isinstance(frame, Setup):
            self._set_up(frame)
        elif isinstance(frame, Leave) and not self._left.done():
            self._left.set_result(None)

    def _send(self, number: int, what: object) -> None:
        self._channel.send((number, what))

    def _set_up(self, setup: Setup) -> None:
        maillog.configure(setup.log_level, as_json=setup.log_as_json)
        try:
            self._reader = Reader(setup.reader)
        except QueueError as error:
            maillog.trouble("courier process", str(error), error.advice)
            self._left.set_result(None)
            return
        garbage.settle()
        self._channel.send(Ready())
