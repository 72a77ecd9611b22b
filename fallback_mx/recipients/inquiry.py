"""What is known of a recipient, and asking the primary where that is too little.

The sender waits for the primary's answer where nothing is known, and for five seconds at most; the question then goes
on without it, and the next sender finds the answer. What is known and grows old is asked for in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from fallback_mx.recipients.addresses import Address
from fallback_mx.recipients.book import Book
from fallback_mx.rules.recipients import Facts, Known, Source, Verdict, combine, newest

SENDERS_SECONDS = 5.0


class Answers(Protocol):
    """What the primary said: of the address, and of a made-up one in its domain (CATCH_ALL, BAD, or not asked)."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def domain_verdict(self) -> Verdict: ...


Ask = Callable[[str, str, Verdict], Awaitable[Answers]]
"""Asks the primary about (local part, domain), given what is known of made-up addresses in the domain."""


class Inquiry:
    """Of one primary. `ask` is None where it is not to be asked."""

    def __init__(
        self,
        primary: str,
        book: Book,
        ask: Ask | None,
        clock: Callable[[], datetime],
        wait_seconds: float = SENDERS_SECONDS,
    ) -> None:
        self._primary = primary
        self._book = book
        self._ask = ask
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._questions: dict[Address, asyncio.Task[Known]] = {}

    async def known(self, address: Address, *, may_ask: bool, waits: bool = True) -> Known:
        """The verdict. `may_ask`: the primary is up. `waits`: the sender's answer depends on it. Raises QueueError."""
        facts = await asyncio.wrap_future(self._book.facts(self._primary, address))
        known = combine(facts, self._clock(), self._book.lifetimes)
        if not (known.wants_asking and may_ask and self._ask is not None):
            return known
        question = self._question(address, facts, self._ask)
        if known.verdict is not Verdict.UNKNOWN or not waits:
            return known
        await asyncio.wait([question], timeout=self._wait_seconds)
        return question.result() if question.done() and not question.cancelled() else known

    def _question(self, address: Address, facts: Facts, ask: Ask) -> asyncio.Task[Known]:
        """The one question about this address that is under way."""
        question = self._questions.get(address)
        if question is None:
            question = asyncio.create_task(self._put(address, facts, ask))
            self._questions[address] = question
            question.add_done_callback(lambda _: self._questions.pop(address))
        return question

    async def _put(self, address: Address, facts: Facts, ask: Ask) -> Known:
        answers = await ask(address.local, address.domain, self._of_domain(facts))
        self._book.learn_domain(self._primary, address.domain, answers.domain_verdict)
        # That a catch-all takes an address says nothing about the address.
        if answers.verdict is not Verdict.CATCH_ALL:
            self._book.learn(self._primary, address, answers.verdict, Source.CALL_AHEAD)
        return await asyncio.wrap_future(self._book.lookup(self._primary, address))

    def _of_domain(self, facts: Facts) -> Verdict:
        """What is known of made-up addresses, as long as that is not to be asked anew."""
        now = self._clock()
        lesson = newest(facts.domain_lessons, now, self._book.lifetimes)
        if lesson is None:
            return Verdict.UNKNOWN
        is_old = now - lesson.learned_at >= self._book.lifetimes.of(lesson.verdict) * self._book.lifetimes.refresh_share
        return Verdict.UNKNOWN if is_old else lesson.verdict

    async def stop(self) -> None:
        """Drop the questions under way."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
