"""What is known of recipients, and who was sent away: an accepting process's part in what all of them share.

Questions go to the service by number. Notes of who was sent away go to it a few times a second, and from there to the
other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fallback_mx.accepting.words import Answered, Noted, Question
from fallback_mx.rules.recipients import Verdict
from fallback_mx.smtp.doors import Note

NOTES_SECONDS = 0.25


class Inquirer:
    """Implements the session's `Knows` by asking the service."""

    def __init__(self, send: Callable[[object], None]) -> None:
        self.refusing: frozenset[str] = frozenset()
        self._send = send
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Verdict | None]] = {}

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None:
        self._number += 1
        number = self._number
        answer: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send(Question(number, primary, forward_path, waits))
        try:
            return await answer
        finally:
            del self._waiting[number]

    def on_answer(self, answered: Answered) -> None:
        answer = self._waiting.get(answered.number)
        if answer is not None and not answer.done():
            answer.set_result(answered.verdict)


class Notebook:
    """Gathers notes, and sends them now and then."""

    def __init__(self, send: Callable[[object], None]) -> None:
        self._send = send
        self._notes: list[Note] = []

    def note(self, note: Note) -> None:
        if not self._notes:
            asyncio.get_running_loop().call_later(NOTES_SECONDS, self._tell)
        self._notes.append(note)

    def _tell(self) -> None:
        self._send(Noted(self._notes))
        self._notes = []
