"""An accepting process, from its start to its end (see the package).

It is told everything by the service: settings, the primaries' states, when to leave. SIGTERM makes it leave by itself,
in order; SIGINT and SIGHUP, which a terminal sends to every process, are the service's alone to obey.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pickle import PickleBuffer
from typing import Any

import uvloop

from fallback_mx import garbage, maillog
from fallback_mx.accepting.inbound import Inbound
from fallback_mx.accepting.inquirer import Inquirer, Notebook
from fallback_mx.accepting.words import (
    Answered,
    Asked,
    Doubted,
    Leave,
    Message,
    Noted,
    Ready,
    Refusing,
    Setup,
    States,
    Tally,
    Told,
)
from fallback_mx.rules.health import State
from fallback_mx.smtp import tls
from fallback_mx.smtp.crowd import Crowd
from fallback_mx.smtp.doors import Doors
from fallback_mx.smtp.etrn import Callers, Pending
from fallback_mx.smtp.listener import Listener
from fallback_mx.space import Space
from fallback_mx.workers.channel import Channel
from mxqueue import Envelope, Spool
from mxqueue.ids import Ids
from mxqueue.model import utc_now

TALLY_SECONDS = 0.25
_UNKNOWN = State.UNKNOWN
GRACE_SECONDS = 15.0


def run(control: int, crowd: Crowd, ports: Sequence[int]) -> int:
    """Accept on these descriptors until told to leave by the service at the other end of `control`."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ConnectionError):
        opened = [socket.socket(fileno=port) for port in ports]
        uvloop.run(_Process(socket.socket(fileno=control), crowd, opened).live())
    return 0


class _Counted:
    """Counts, and tells the service now and then."""

    def __init__(self, send: Callable[[object], None]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._is_due = False
        self._opened = self._closed = 0
        self._refused: Counter[str] = Counter()
        self._proxied: Counter[str] = Counter()
        self._proxy_failed: Counter[str] = Counter()
        self._let_in: Counter[tuple[str, str]] = Counter()

    def refused(self, reason: str) -> None:
        self._refused[reason] += 1
        self._note()

    def proxied(self, primary: str) -> None:
        self._proxied[primary] += 1
        self._note()

    def proxy_failed(self, primary: str) -> None:
        self._proxy_failed[primary] += 1
        self._note()

    def let_in(self, primary: str, reason: str) -> None:
        self._let_in[primary, reason] += 1
        self._note()

    def session_opened(self) -> None:
        self._opened += 1
        self._note()

    def session_closed(self) -> None:
        self._closed += 1
        self._note()

    def _note(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(TALLY_SECONDS, self.tell)

    def tell(self) -> None:
        self._is_due = False
        self._send(
            Tally(
                self._opened,
                self._closed,
                refused=dict(self._refused),
                proxied=dict(self._proxied),
                proxy_failed=dict(self._proxy_failed),
                let_in=dict(self._let_in),
            )
        )
        self._opened = self._closed = 0
        for counter in (self._refused, self._proxied, self._proxy_failed, self._let_in):
            counter.clear()


class _Process:
    """Implements the listener's `Commits` by asking the service."""

    def __init__(self, control: socket.socket, crowd: Crowd, ports: Sequence[socket.socket]) -> None:
        self._ports = ports
        self._crowd = crowd
        self._control = control
        self._told = States({}, Callers({}), {})
        self._waiting: dict[int, Callable[[Exception | None], None]] = {}
        self._asking: dict[int, Callable[[Pending | None], None]] = {}
        self._number = 0
        self._ids = Ids(utc_now)
        self._listener: Listener | None = None
        self._space: Space | None = None

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        self._left = loop.create_future()
        # Without the service nothing that is said here can be kept.
        self._channel = Channel(self._control, self._on_frame, lambda: os._exit(1))
        self._counted = _Counted(self._channel.send)
        self._inquirer = Inquirer(self._channel.send)
        self._doors = Doors(time.monotonic, Notebook(self._channel.send).note)
        loop.add_signal_handler(signal.SIGTERM, self._leave, GRACE_SECONDS)
        await self._left

    def new_id(self) -> str:
        return self._ids.new()

    def accept(self, envelopes: Sequence[Envelope], spool: Spool, then: Callable[[Exception | None], None]) -> None:
        self._number += 1
        self._waiting[self._number] = then
        descriptor = spool.descriptor
        octets = PickleBuffer(spool.octets) if descriptor is None else None
        message: Message = (self._number, [tuple(one) for one in envelopes], spool.size, spool.sha256, octets)
        self._channel.send(message, descriptor)

    def ask(self, primaries: Sequence[str], client_address: str, then: Callable[[Pending | None], None]) -> None:
        self._number += 1
        self._asking[self._number] = then
        self._channel.send(Asked(self._number, tuple(primaries), client_address))

    def _on_frame(self, frame: Any, descriptor: int | None) -> None:
        if type(frame) is list:
            for number, error in frame:
                self._waiting.pop(number)(error)
        elif isinstance(frame, Answered):
            self._inquirer.on_answer(frame)
        elif isinstance(frame, Noted):
            self._doors.learn(frame.notes)
        elif isinstance(frame, States):
            self._told = frame
            if self._listener is not None:
                self._listener.learn(frame.callers, frame.size_limits)
        elif isinstance(frame, Refusing):
            self._inquirer.refusing = frame.primaries
        elif isinstance(frame, Told):
            self._asking.pop(frame.number)(frame.pending)
        elif isinstance(frame, Setup):
            self._set_up(frame)
        elif isinstance(frame, Leave):
            self._leave(frame.grace_seconds)

    def _set_up(self, setup: Setup) -> None:
        maillog.configure(setup.log_level, as_json=setup.log_as_json)
        try:
            context = tls.server_context(setup.tls_certificate, setup.tls_key)
        except tls.BadCertificate as error:
            maillog.trouble("tls", str(error), "Sessions go on as before the reload.")
            return
        settings = replace(setup.listener, tls_context=context)
        if self._listener is not None and self._space is not None:
            self._space.floor_octets = setup.min_free_space
            self._listener.configure(settings)
            return
        assert settings.spool_directory is not None
        self._space = Space(settings.spool_directory, setup.min_free_space)
        self._listener = Listener(
            settings,
            self,
            state_of=lambda name: self._told.of.get(name, _UNKNOWN),
            has_room=self._space.has_room,
            events=Inbound(self._counted),
            clock=utc_now,
            crowd=self._crowd,
            look=lambda name: self._channel.send(Doubted(name)),
            knows=self._inquirer,
            doors=self._doors,
            ask=self.ask,
        )
        self._listener.learn(self._told.callers, self._told.size_limits)
        self._starting = asyncio.create_task(self._start(self._listener))

    async def _start(self, listener: Listener) -> None:
        await listener.start(self._ports)
        garbage.settle()
        self._channel.send(Ready())

    def _leave(self, grace_seconds: float) -> None:
        self._leaving = asyncio.create_task(self._stop(grace_seconds))

    async def _stop(self, grace_seconds: float) -> None:
        if self._listener is not None:
            await self._listener.stop(grace_seconds)
        self._counted.tell()
        self._channel.finish()
        if not self._left.done():
            self._left.set_result(None)
