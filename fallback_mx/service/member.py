"""One place in the crew: an accepting process, and another one when it ends by itself; what it says, and is told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fallback_mx import entrance, maillog
from fallback_mx.accepting.words import (
    Answered,
    Answers,
    Asked,
    Doubted,
    Leave,
    Message,
    Noted,
    Question,
    Ready,
    Refusing,
    Tally,
    Told,
)
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.crowd import forget
from fallback_mx.workers.channel import Channel
from fallback_mx.workers.child import Child
from mxqueue import BytesContent, Envelope, FileContent, QueueUnavailable

if TYPE_CHECKING:
    from fallback_mx.service.crew import Crew

START_SECONDS = 30.0
KILL_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
LIVED_SECONDS = 60.0


class CannotAccept(Exception):
    """An accepting process did not come up."""


class Member:
    """The process in this place, by its number; `start` and `stop` are for the whole service's start and stop."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self._number = number
        self._channel: Channel | None = None
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._answers: Answers = []
        self._ports: Sequence[socket.socket] = ()
        self._is_leaving = False
        self.sessions = 0

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def start(self, ports: Sequence[socket.socket]) -> None:
        self._ports = ports
        await self._spawn()
        assert self._child is not None
        ready = asyncio.ensure_future(self._ready.wait())
        ended = asyncio.ensure_future(self._child.wait())
        await asyncio.wait([ready, ended], timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for each in (ready, ended):
            each.cancel()
        if not self.is_ready:
            await self.stop(0)
            raise CannotAccept(f"accepting process {self._number + 1} did not come up")
        self._keeper = asyncio.create_task(self._keep())

    def send(self, value: object) -> None:
        if self._channel is not None:
            self._channel.send(value)

    async def stop(self, grace_seconds: float) -> None:
        self._is_leaving = True
        for port in self._ports:
            port.close()
        if self._child is not None:
            self.send(Leave(grace_seconds))
            await self._child.end(grace_seconds + KILL_SECONDS)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        self._part()

    async def _spawn(self) -> None:
        crowd, ports = self._crew.crowd, [one.fileno() for one in self._ports]
        self._child = await Child.start(
            "fallback_mx.accepting",
            self._on_frame,
            self._part,
            arguments=[crowd, self._crew.size, self._number, *ports],
            descriptors=[crowd, *ports],
        )
        self._channel = self._child.channel
        self.send(self._crew.setup)
        self.send(self._crew.states())
        self.send(Refusing(self._crew.knows.refusing))

    async def _keep(self) -> None:
        """Replace the process whenever it ends by itself."""
        delay = FIRST_DELAY_SECONDS
        while True:
            began = time.monotonic()
            assert self._child is not None
            status = await self._child.wait()
            forget(self._crew.crowd, self._number)
            self._part()
            if self._is_leaving:
                return
            self._complain(f"number {self._number + 1} ended with status {status}")
            if time.monotonic() - began > LIVED_SECONDS:
                delay = FIRST_DELAY_SECONDS
            while True:
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                try:
                    await self._spawn()
                    break
                except OSError as error:
                    self._part()
                    self._complain(f"number {self._number + 1} cannot be started: {error}")

    @staticmethod
    def _complain(what: str) -> None:
        maillog.trouble("accepting process", what, "Another takes its place; its senders will come again.")

    def _part(self) -> None:
        """The process is gone or going: nothing more comes from it."""
        self._ready.clear()
        self._answers.clear()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        while self.sessions:
            self.sessions -= 1
            self._crew.metrics.session_closed()

    # What it says -----------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Any, descriptor: int | None) -> None:
        if type(frame) is tuple:
            self._accept(frame, descriptor)
        elif isinstance(frame, Tally):
            self._count(frame)
        elif isinstance(frame, Question):
            self._look_up(frame)
        elif isinstance(frame, Noted):
            self._crew.pass_on(frame, self)
        elif isinstance(frame, Doubted):
            self._crew.look(frame.primary)
        elif isinstance(frame, Asked):
            self._ask(frame)
        elif isinstance(frame, Ready):
            self._ready.set()

    def _look_up(self, question: Question) -> None:
        channel = self._channel

        def then(verdict: Verdict | None) -> None:
            if channel is not None:
                channel.send(Answered(question.number, verdict))

        self._crew.look_up(question, then)

    def _accept(self, message: Message, descriptor: int | None) -> None:
        number, carried, size, digest, octets = message
        envelopes = [Envelope._make(one) for one in carried]
        channel = self._channel
        if isinstance(octets, bytes):
            self._crew.commits.accept(
                envelopes, BytesContent(octets, digest), lambda error: self._answer(channel, number, error)
            )
            return
        if descriptor is None:
            # It was sent, and we were out of descriptors.
            self._answer(channel, number, QueueUnavailable("out of file descriptors", entrance.ADVICE))
            return
        content = FileContent(descriptor, size, digest)

        def then(error: Exception | None) -> None:
            content.close()
            self._answer(channel, number, error)

        self._crew.commits.accept(envelopes, content, then)

    def _ask(self, asked: Asked) -> None:
        # Who asked may be gone when the answer comes: what is sent on its channel then is dropped.
        channel = self._channel
        assert channel is not None
        self._crew.ask(asked.primaries, asked.client_address, lambda pending: channel.send(Told(asked.number, pending)))

    def _answer(self, channel: Channel | None, number: int, error: Exception | None) -> None:
        if channel is not self._channel or channel is None:
            return  # it was another process that asked
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._send_answers)
        self._answers.append((number, error))

    def _send_answers(self) -> None:
        if self._answers:
            self.send(self._answers)
            self._answers = []

    def _count(self, tally: Tally) -> None:
        self.sessions += tally.opened - tally.closed
        self._crew.metrics.count_sessions(tally.opened, tally.closed)
        for reason, times in tally.refused.items():
            self._crew.metrics.refused(reason, times)
        for primary, times in tally.proxied.items():
            self._crew.metrics.proxied(primary, times)
        for primary, times in tally.proxy_failed.items():
            self._crew.metrics.proxy_failed(primary, times)
        for (primary, reason), times in tally.let_in.items():
            self._crew.metrics.let_in(primary, reason, times)
