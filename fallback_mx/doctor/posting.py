"""A message brought to our own listener as any sender brings one, each step with what was said and how long it took.

Whatever the listener does is told, and nothing is raised.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from fallback_mx.doctor.listening import call
from fallback_mx.rules.disposition import NoConnection, Reply
from fallback_mx.smtp.dots import DotStuffer
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.steps import Step

_QUEUED = re.compile(r"2\.0\.0 Queued as ([0-9A-Z]{26})")
_GUARDED = re.compile(r"4\.3\.2 The primary mail server is up")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: its name, what was said, and how many seconds it took."""

    name: str
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Posted:
    """How far it came. `reply` is the last one that counts, None where the listener could not be spoken to."""

    stages: tuple[Stage, ...]
    reply: Reply | None = None

    @property
    def queue_id(self) -> str:
        """ "" where it was not queued."""
        found = _QUEUED.match(self.reply.text) if self.reply is not None and self.reply.is_success else None
        return found[1] if found else ""

    @property
    def is_guarded(self) -> bool:
        """Whether it was sent away since the primary is up."""
        return self.reply is not None and self.reply.code == 451 and bool(_GUARDED.match(self.reply.text))

    @property
    def is_played_through(self) -> bool:
        """Whether the primary itself has it: played through, and never queued."""
        return self.reply is not None and self.reply.is_success and not self.queue_id

    @property
    def why_not(self) -> str:
        """What was said last."""
        return self.stages[-1].said if self.stages else ""


async def post(place: tuple[str, int], reverse_path: str, forward_path: str, content: bytes) -> Posted:
    """Bring it to the listener at this place."""
    began = time.monotonic()
    stages: list[Stage] = []

    def note(name: str, said: str) -> None:
        nonlocal began
        now = time.monotonic()
        stages.append(Stage(name, said, now - began))
        began = now

    try:
        pipeline, greeting = await call(place)
    except NoConnection as failure:
        note(failure.phase, failure.detail)
        return Posted(tuple(stages))
    note("connect", f"{greeting.offered.name or 'somebody'}, {greeting.tls or 'in clear'}")
    reply: Reply | None = None
    try:
        for name, step, line in _said(reverse_path, forward_path, content):
            reply = await pipeline.converse(step, line)
            note(name, _words(pipeline, reply))
            if reply is None or reply.code >= 400:
                break
        await pipeline.leave()
    finally:
        pipeline.abort()
    return Posted(tuple(stages), reply)


def _said(reverse_path: str, forward_path: str, content: bytes) -> tuple[tuple[str, Step, bytes], ...]:
    stuffer = DotStuffer()
    return (
        ("mail", Step.MAIL, f"MAIL FROM:<{reverse_path}>\r\n".encode()),
        ("rcpt", Step.RCPT, f"RCPT TO:<{forward_path}>\r\n".encode()),
        ("data", Step.DATA, b"DATA\r\n"),
        ("accept", Step.CONTENT, stuffer.stuff(content) + stuffer.end()),
    )


def _words(pipeline: Pipeline, reply: Reply | None) -> str:
    return str(reply if reply is not None else pipeline.farewell or pipeline.broken)
