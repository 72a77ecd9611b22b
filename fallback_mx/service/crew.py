"""The accepting processes of this service: started, told, replaced when they die, stopped in order.

Each has a socket to us. What it received is committed here, by the one writer, and answered there. A process that ends
without having been told to takes its sessions with it and nothing else: what it had handed over is committed, its
senders see a lost connection and come again. Its successor starts at once, later and later if it dies again and again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from fallback_mx.accepting.words import Noted, Question, Refusing, Setup, States
from fallback_mx.rules.recipients import Verdict
from fallback_mx.service.member import Member
from fallback_mx.smtp.acquaintances import Knows
from fallback_mx.smtp.commits import QueueCommits
from fallback_mx.smtp.crowd import share_memory
from fallback_mx.smtp.etrn import Ask
from fallback_mx.smtp.passage import Look
from fallback_mx.web.metrics import Metrics


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
        self.look = look
        self.ask = ask
        self.knows = knows
        self._questions: set[asyncio.Task[None]] = set()
        self.setup = setup
        self.commits = commits
        self.metrics = metrics
        self.states = states
        self.size = size
        self.crowd = share_memory(size)
        self._members = [Member(self, number) for number in range(size)]
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
        self.setup = setup
        for member in self._members:
            member.send(setup)

    def tell_states(self) -> None:
        """A primary's state has changed, or who may ask for its mail."""
        states = self.states()
        for member in self._members:
            member.send(states)

    def tell_refusing(self) -> None:
        """It has changed of which primaries bad recipients are known."""
        for member in self._members:
            member.send(Refusing(self.knows.refusing))

    def pass_on(self, noted: Noted, by: Member) -> None:
        """Let the others know whom one of them has sent away."""
        for member in self._members:
            if member is not by:
                member.send(noted)

    def look_up(self, question: Question, then: Callable[[Verdict | None], None]) -> None:
        async def answer() -> None:
            then(await self.knows.verdict(question.primary, question.forward_path, waits=question.waits))

        task = asyncio.get_running_loop().create_task(answer())
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def stop(self, grace_seconds: float) -> None:
        """Every process stops listening and ends its sessions, in the end by force."""
        await asyncio.gather(*(member.stop(grace_seconds) for member in self._members))
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)
        os.close(self.crowd)


def crew_size(wanted: int) -> int:
    """How many processes `workers` means: 0 goes by the cores we may use, 1 is this one alone."""
    if wanted:
        return wanted
    # One writer commits what they all receive: beyond four it is what they wait for.
    return min(4, len(os.sched_getaffinity(0)))
