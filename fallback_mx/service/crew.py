"""The accepting processes of this service: started, told, replaced when they die, stopped in order.

Each has a socket to us. What it received is committed here, by the one writer, and answered there. A process that ends
without having been told to takes its sessions with it and nothing else: what it had handed over is committed, its
senders see a lost connection and come again. Its successor starts at once, later and later if it dies again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from fallback_mx import entrance, maillog
from fallback_mx.accepting.channel import Channel
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
    Setup,
    States,
    Tally,
    Told,
)
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.acquaintances import Knows
from fallback_mx.smtp.commits import QueueCommits
from fallback_mx.smtp.crowd import forget, share_memory
from fallback_mx.smtp.etrn import Ask
from fallback_mx.smtp.passage import Look
from fallback_mx.web.metrics import Metrics
from mxqueue import BytesContent, FileContent, QueueUnavailable

START_SECONDS = 30.0
KILL_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
LIVED_SECONDS = 60.0


class CannotAccept(Exception):
    """An accepting process did not come up."""


class Crew:
    """So many accepting processes. Their sockets stay open here too: who connects while one is replaced waits there."""

    def __init__(
        self,
        size: int,
        setup: Setup,
        commits: QueueCommits,
        metrics: Metrics,
        states: Callable[[], States],
        look: Look,
        ask: Ask,
        knows: Knows,
    ) -> None:
        self._look = look
        self._ask = ask
        self._knows = knows
        self._questions: set[asyncio.Task[None]] = set()
        self._setup = setup
        self._commits = commits
        self._metrics = metrics
        self._states = states
        self._size = size
        self._crowd = share_memory(size)
        self._members = [_Member(self, number) for number in range(size)]
        self._ports: Sequence[Sequence[socket.socket]] = ()

    async def start(self, ports: Sequence[Sequence[socket.socket]]) -> None:
        """Returns when all of them accept; for each address there is a socket for each. Raises CannotAccept."""
        self._ports = ports
        own = zip(*ports, strict=True)
        await asyncio.gather(*(member.start(sockets) for member, sockets in zip(self._members, own, strict=True)))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [sockets[0].getsockname()[:2] for sockets in self._ports]

    @property
    def listening(self) -> bool:
        return any(member.is_ready for member in self._members)

    @property
    def sessions(self) -> int:
        return sum(member.sessions for member in self._members)

    def configure(self, setup: Setup) -> None:
        self._setup = setup
        for member in self._members:
            member.send(setup)

    def tell_states(self) -> None:
        """A primary's state has changed, or who may ask for its mail."""
        states = self._states()
        for member in self._members:
            member.send(states)

    def tell_refusing(self) -> None:
        """It has changed of which primaries bad recipients are known."""
        for member in self._members:
            member.send(Refusing(self._knows.refusing))

    def pass_on(self, noted: Noted, by: _Member) -> None:
        """Let the others know whom one of them has sent away."""
        for member in self._members:
            if member is not by:
                member.send(noted)

    def look_up(self, question: Question, then: Callable[[Verdict | None], None]) -> None:
        async def answer() -> None:
            then(await self._knows.verdict(question.primary, question.forward_path, waits=question.waits))

        task = asyncio.get_running_loop().create_task(answer())
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def stop(self, grace_seconds: float) -> None:
        """Every process stops listening and ends its sessions, in the end by force."""
        await asyncio.gather(*(member.stop(grace_seconds) for member in self._members))
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)
        os.close(self._crowd)


class _Member:
    """One accepting process after the other, in one place of the crew."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self._number = number
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
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
        assert self._process is not None
        ready = asyncio.ensure_future(self._ready.wait())
        ended = asyncio.ensure_future(self._process.wait())
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
        if self._process is not None:
            self.send(Leave(grace_seconds))
            try:
                async with asyncio.timeout(grace_seconds + KILL_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        self._part()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, self._on_frame, self._part)
        crowd, ports = self._crew._crowd, [one.fileno() for one in self._ports]
        arguments = [theirs.fileno(), crowd, self._crew._size, self._number, *ports]
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "fallback_mx.accepting", *map(str, arguments)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), crowd, *ports],
            )
        finally:
            theirs.close()
        self.send(self._crew._setup)
        self.send(self._crew._states())
        self.send(Refusing(self._crew._knows.refusing))

    async def _keep(self) -> None:
        """Replace the process whenever it ends by itself."""
        delay = FIRST_DELAY_SECONDS
        while True:
            began = time.monotonic()
            assert self._process is not None
            status = await self._process.wait()
            forget(self._crew._crowd, self._number)
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
            self._crew._metrics.session_closed()

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
            self._crew._look(frame.primary)
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
        number, envelopes, size, digest, octets = message
        channel = self._channel
        if octets is not None:
            self._crew._commits.accept(
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

        self._crew._commits.accept(envelopes, content, then)

    def _ask(self, asked: Asked) -> None:
        # Who asked may be gone when the answer comes: what is sent on its channel then is dropped.
        channel = self._channel
        assert channel is not None
        self._crew._ask(
            asked.primaries, asked.client_address, lambda pending: channel.send(Told(asked.number, pending))
        )

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
        self._crew._metrics.count_sessions(tally.opened, tally.closed)
        for reason, times in tally.refused.items():
            self._crew._metrics.refused(reason, times)
        for primary, times in tally.proxied.items():
            self._crew._metrics.proxied(primary, times)
        for primary, times in tally.proxy_failed.items():
            self._crew._metrics.proxy_failed(primary, times)
        for (primary, reason), times in tally.let_in.items():
            self._crew._metrics.let_in(primary, reason, times)


def crew_size(wanted: int) -> int:
    """How many processes `workers` means: 0 goes by the cores we may use, 1 is this one alone."""
    if wanted:
        return wanted
    # One writer commits what they all receive: beyond four it is what they wait for.
    return min(4, len(os.sched_getaffinity(0)))
