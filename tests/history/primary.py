"""A primary that misbehaves by chance and writes down what it took, what it said, and where it cut a connection off."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from types import TracebackType
from typing import Self

from fallback_mx.smtp.sink import EXTENSIONS, Act, Answer, Sink, SinkMessage, SinkSession
from tests.fakes.loop_thread import LoopThread
from tests.fakes.ports import free_port
from tests.history.record import Copy, Cut, Offer, Opening

TRACE = re.compile(rb"Received: from [^\r]*\r\n(?:[ \t][^\r]*\r\n)*?[ \t][^\r]* id (\w+);\r\n(?:[ \t][^\r]*\r\n)*")

# Of so many answers one is each of these.
ONE_IN = {"later": 60, "recipient later": 80, "kept and cut": 60, "kept and silent": 120, "dropped": 100}
LONGEST_SILENCE_SECONDS = 2.0


class Session(SinkSession):
    """A connection that has a number and can be broken in the ways in which the world breaks them."""

    number: int

    def fall_silent(self) -> None:
        """Neither read nor write any more, and keep the connection: half-open, as far as the other side can tell."""
        self._deaf = True
        self.stop_reading()

    def reset(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            # What is on its way is thrown away, and the other side gets RST in place of FIN.
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.cut()


class WrittenDown(Sink):
    """A sink that takes by chance; `behaves` is whether it does what it should."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(
            replies={"mail": self._mail, "rcpt": self._rcpt, "final": self._final},
            extensions=(*EXTENSIONS, "CHUNKING"),
            session=Session,
            keep=False,
        )
        self.copies: list[Copy] = []
        self.openings: list[Opening] = []
        self.offers: list[Offer] = []
        self.cuts: list[Cut] = []
        self.behaves = False
        self._chance = chance
        self._finishing: tuple[SinkSession, Answer] | None = None

    def joined(self, session: SinkSession) -> None:
        super().joined(session)
        assert isinstance(session, Session)
        session.number = self.connection_count
        self.openings.append(Opening(time.time(), session.number))

    # What it answers ------------------------------------------------------------------------------------------------

    def _happens(self, what: str) -> bool:
        return not self.behaves and self._chance.randrange(ONE_IN[what]) == 0

    def _mail(self, session: SinkSession, reverse_path: str) -> Answer:
        if reverse_path:
            self.offers.append(Offer(time.time(), reverse_path))
        return None

    def _rcpt(self, session: SinkSession, forward_path: str) -> Answer:
        return "451 4.2.1 This mailbox later" if self._happens("recipient later") else None

    def _final(self, session: SinkSession, reverse_path: str) -> Answer:
        said: Answer = None
        if self._happens("later"):
            said = "451 4.3.0 Later"
        elif self._happens("dropped"):
            said = Act.DROP
        elif self._happens("kept and cut"):
            said = Act.KEEP_THEN_DROP
        elif self._happens("kept and silent"):
            said = Act.KEEP_THEN_SILENT
            self._silence(session)
        self._finishing = session, said
        if said in {Act.DROP, Act.KEEP_THEN_DROP}:
            self._note_cut(session)
        return said

    def take(self, message: SinkMessage) -> None:
        super().take(message)
        assert self._finishing is not None
        session, said = self._finishing
        assert isinstance(session, Session)
        found = TRACE.match(message.content)
        content = message.content[found.end() :] if found else message.content
        queue_id, digest = found[1].decode() if found else "", sha256(content).hexdigest()
        self.copies += [
            Copy(time.time(), session.number, message.reverse_path, path, queue_id, digest, said is None)
            for path in message.forward_paths
        ]

    # What happens to it ---------------------------------------------------------------------------------------------

    def _note_cut(self, session: SinkSession) -> None:
        assert isinstance(session, Session)
        self.cuts.append(Cut(time.time(), session.number))

    def _silence(self, session: SinkSession) -> None:
        """Not another word, and after a while the connection is gone."""
        assert isinstance(session, Session)
        self._note_cut(session)
        session.fall_silent()
        asyncio.get_running_loop().call_later(self._chance.uniform(0.1, LONGEST_SILENCE_SECONDS), session.reset)

    def _victim(self) -> Session | None:
        sessions = sorted((each for each in self._sessions if isinstance(each, Session)), key=lambda each: each.number)
        return self._chance.choice(sessions) if sessions else None

    async def cut_one(self) -> None:
        if (session := self._victim()) is not None:
            self._note_cut(session)
            session.reset()

    async def silence_one(self) -> None:
        if (session := self._victim()) is not None:
            self._silence(session)

    async def stall(self) -> None:
        """All of it, as a machine does that swaps: nothing is read, written or accepted."""
        time.sleep(self._chance.uniform(0.1, 1.0))

    async def go_away(self) -> None:
        """Connections are cut and refused for a while."""
        for session in self._sessions:
            self._note_cut(session)
        await self.stop()
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        await self.start("127.0.0.1", self.port)


class Primary:
    """The sink on a loop and a thread of its own. `suffer` has one misfortune happen, and returns when it is over."""

    def __init__(self, chance: random.Random) -> None:
        self._thread = LoopThread()
        self.sink = WrittenDown(chance)
        self.port = free_port()

    def __enter__(self) -> Self:
        self._thread.do(self.sink.start("127.0.0.1", self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.do(self.sink.stop())
        self._thread.close()

    def suffer(self, misfortune: Callable[[WrittenDown], object]) -> None:
        async def do() -> None:
            await misfortune(self.sink)  # type: ignore[misc]

        self._thread.do(do())
