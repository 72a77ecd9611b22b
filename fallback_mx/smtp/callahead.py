"""Calling ahead: asking a primary that is up whether it would take a recipient, without sending it anything.

`MAIL FROM:<>`, `RCPT TO:<address>`, `RSET` (RFC 5321, sections 3.3 and 4.5.5), on one connection that is reused and
closed when nobody has asked for a while. A made-up address comes first: a domain that takes that takes everything, and
asking on would teach nothing. Only a plain answer to RCPT is a verdict; a 4xx, a refused MAIL, a lost connection and a
421 are none, and after the last three the primary is left alone for a growing while. Questions are paced, for a burst
of unknown recipients is what servers block clients for; equal ones are asked once, and too many are not asked at all.

Nothing here raises for what a server does: no answer is UNKNOWN.
"""

from __future__ import annotations

import asyncio
import re
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from fallback_mx.rules.backoff import Backoff, wait
from fallback_mx.rules.bucket import Bucket
from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.rules.recipients import Verdict, says_of_mailbox
from fallback_mx.smtp.offered import Greeting
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.steps import Step, Timeouts

# Background work: a server that is slow about it may take its time, yet not as much as one that is given mail.
TIMEOUTS = Timeouts(connect=10.0, banner=60.0, command=60.0)

_UNSPEAKABLE = re.compile(r"[\x00-\x20\x7f<>]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LETTERS = string.ascii_lowercase + string.digits
MADE_UP_LETTERS = 20


@dataclass(frozen=True, slots=True)
class CallAheadSettings:
    """`waiting` is how many questions may wait for their turn; one more is not asked."""

    per_second: float = 1.0
    burst: float = 10.0
    waiting: int = 100
    idle_seconds: float = 30.0
    backoff: Backoff = field(
        default_factory=lambda: Backoff(first=timedelta(seconds=30), longest=timedelta(hours=1), lifetime=None)
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """What the primary said of the address, and of a made-up one in its domain. `detail` is its last reply, or why
    there is none."""

    verdict: Verdict
    domain_verdict: Verdict
    detail: str = ""


Connect = Callable[[], Awaitable[tuple[Pipeline, Greeting]]]
"""Opens a connection to the primary that has been greeted. Raises NoConnection."""


class CallAhead:
    """Asks one primary. `chance` gives numbers in [0, 1)."""

    def __init__(
        self, connect: Connect, chance: Callable[[], float], settings: CallAheadSettings | None = None
    ) -> None:
        self._connect = connect
        self._chance = chance
        self._settings = settings or CallAheadSettings()
        self._loop = asyncio.get_running_loop()
        self._bucket = Bucket.full(self._settings.per_second, self._settings.burst, self._loop.time())
        self._turn = asyncio.Lock()
        self._questions: dict[tuple[str, str], asyncio.Task[Answers]] = {}
        self._line: tuple[Pipeline, Greeting] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0
        self._why = ""

    async def ask(self, local: str, domain: str, of_made_up: Verdict = Verdict.UNKNOWN) -> Answers:
        """Whether the primary takes this address. `of_made_up`: what is known already of the domain, CATCH_ALL or BAD.

        Whoever stops waiting does not stop the question, which others may wait for.
        """
        key = (local, domain)
        question = self._questions.get(key)
        if question is None:
            if len(self._questions) >= self._settings.waiting:
                return Answers(Verdict.UNKNOWN, Verdict.UNKNOWN, "too many questions wait already")
            question = asyncio.create_task(self._answer(local, domain, of_made_up))
            self._questions[key] = question
            question.add_done_callback(lambda _: self._questions.pop(key))
        return await asyncio.shield(question)

    async def close(self) -> None:
        """Drop the questions and the connection."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
        if self._idle is not None:
            self._idle.cancel()
        self._hang_up()
        await asyncio.gather(*self._closing, return_exceptions=True)

    # One question -----------------------------------------------------------------------------------------------

    async def _answer(self, local: str, domain: str, of_made_up: Verdict) -> Answers:
        if not _can_be_asked_about(local, domain):
            return Answers(Verdict.UNKNOWN, Verdict.UNKNOWN, "the address cannot be asked about")
        detail = ""
        learned = Verdict.UNKNOWN
        if of_made_up is Verdict.UNKNOWN:
            said, detail = await self._paced(f"{self._made_up()}@{domain}")
            of_made_up = learned = Verdict.CATCH_ALL if said is Verdict.GOOD else said
            if self._is_backing_off:
                return Answers(Verdict.UNKNOWN, learned, detail)
        if of_made_up is Verdict.CATCH_ALL:
            return Answers(Verdict.CATCH_ALL, learned, detail)
        said, detail = await self._paced(f"{local}@{domain}")
        # As long as made-up addresses are not known to be refused, one that is taken proves nothing.
        if said is Verdict.GOOD and of_made_up is not Verdict.BAD:
            said = Verdict.UNKNOWN
        return Answers(said, learned, detail)

    def _made_up(self) -> str:
        return "".join(_LETTERS[int(self._chance() * len(_LETTERS))] for _ in range(MADE_UP_LETTERS))

    @property
    def _is_backing_off(self) -> bool:
        return self._loop.time() < self._not_before

    async def _paced(self, address: str) -> tuple[Verdict, str]:
        async with self._turn:
            if self._is_backing_off:
                return Verdict.UNKNOWN, self._why
            self._bucket, seconds = self._bucket.take(self._loop.time())
            await asyncio.sleep(seconds)
            try:
                return await self._question(address)
            except NoConnection as failure:
                return self._back_off(str(failure))
            except asyncio.CancelledError:
                # Its reply may still come, and would be taken for the next one's.
                self._hang_up(abort=True)
                raise

    async def _question(self, address: str) -> tuple[Verdict, str]:
        pipeline, greeting, is_reused = await self._open()
        if not address.isascii() and "smtputf8" not in greeting.extensions:
            self._rest()
            return Verdict.UNKNOWN, f"the address is not ASCII, and {greeting.host} does not offer SMTPUTF8"
        replies = await _transaction(pipeline, greeting, address)
        if not replies and is_reused and pipeline.farewell is None:
            # Closed while nobody asked, as is the server's right.
            pipeline, greeting, _ = await self._open()
            replies = await _transaction(pipeline, greeting, address)
        if pipeline.broken is not None:
            # Whatever was said before: on a connection that broke nobody can be sure which reply was whose.
            return self._back_off(str(pipeline.farewell or pipeline.broken))
        if not replies[0].is_success:
            return self._back_off(f"MAIL FROM:<>: {replies[0]}")
        self._failures = 0
        self._rest()
        return says_of_mailbox(replies[1]), str(replies[1])

    def _back_off(self, why: str) -> tuple[Verdict, str]:
        self._failures += 1
        seconds = wait(self._failures, timedelta(), self._chance(), self._settings.backoff)
        assert seconds is not None
        self._not_before = self._loop.time() + seconds.total_seconds()
        self._why = why
        self._hang_up()
        return Verdict.UNKNOWN, why

    # The connection ---------------------------------------------------------------------------------------------

    async def _open(self) -> tuple[Pipeline, Greeting, bool]:
        """The connection, and whether it has been used before. Raises NoConnection."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._line is not None and self._line[0].broken is None:
            return *self._line, True
        self._line = await self._connect()
        return *self._line, False

    def _rest(self) -> None:
        self._idle = self._loop.call_later(self._settings.idle_seconds, self._hang_up)

    def _hang_up(self, abort: bool = False) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        if abort or line[0].broken is not None:
            line[0].abort()
            return
        closing = asyncio.ensure_future(line[0].leave())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


def _can_be_asked_about(local: str, domain: str) -> bool:
    """Whether the address can stand in a command without ending it (RFC 5321, section 4.1.2)."""
    is_quoted = len(local) > 1 and local[0] == local[-1] == '"'
    return not (_UNSPEAKABLE.search(domain) or (_CONTROL if is_quoted else _UNSPEAKABLE).search(local))


async def _transaction(pipeline: Pipeline, greeting: Greeting, address: str) -> list[Reply]:
    """The replies to MAIL, RCPT and RSET, as far as they came; RCPT has none where MAIL was refused in turn."""
    mail = "MAIL FROM:<>" if address.isascii() else "MAIL FROM:<> SMTPUTF8"
    commands = [(Step.MAIL, mail), (Step.RCPT, f"RCPT TO:<{address}>"), (Step.RSET, "RSET")]
    if "pipelining" in greeting.extensions:
        exchange = pipeline.expect([step for step, _ in commands])
        pipeline.push("".join(f"{line}\r\n" for _, line in commands).encode())
        await exchange.wait()
        return exchange.replies
    replies: list[Reply] = []
    for step, line in commands:
        if step is Step.RCPT and not replies[0].is_success:
            continue
        exchange = pipeline.expect([step])
        pipeline.push(f"{line}\r\n".encode())
        await exchange.wait()
        replies += exchange.replies
        if pipeline.broken is not None:
            break
    return replies
