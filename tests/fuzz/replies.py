"""Any octets as the replies of a primary (FAULTS 20), to commands that were sent together.

The first octet says which. What comes of it does not depend on how the octets arrive, each reply is one that its
command may have, and what is kept is bounded and fit to be shown.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fallback_mx.rules.disposition import Reply
from fallback_mx.smtp.pipeline import Pipeline
from fallback_mx.smtp.replies import MAX_LINE_OCTETS, MAX_REPLY_OCTETS, MAX_TEXT
from fallback_mx.smtp.steps import Step, Timeouts
from tests.fuzz.play import the_loop
from tests.fuzz.script import Script

COMMANDS = (
    (Step.MAIL, Step.RCPT, Step.DATA),
    (Step.MAIL, Step.RCPT, Step.RCPT, Step.RCPT, Step.DATA),
    (Step.CONTENT, Step.MAIL, Step.RCPT, Step.DATA),
    (Step.RSET, Step.MAIL),
    (Step.QUIT,),
    (Step.BANNER,),
    (Step.XFORWARD, Step.MAIL, Step.RCPT, Step.DATA),
    (Step.CHUNK, Step.CHUNK, Step.LAST_CHUNK, Step.RSET, Step.MAIL, Step.RCPT),
    (),
)


def check(data: bytes) -> None:
    script = Script.read(data)
    steps = COMMANDS[script.settings.value % len(COMMANDS)]
    octets = b"".join(event for event in script.events if isinstance(event, bytes))
    size = 1 + len(octets) // 200
    loop = the_loop()
    loop.run_until_complete(_check(steps, octets, size))
    assert loop.timers_left() == []


async def _check(steps: tuple[Step, ...], octets: bytes, size: int) -> None:
    whole = _Primary(steps)
    whole.says(octets)
    pieces = _Primary(steps)
    for start in range(0, len(octets), size):
        pieces.says(octets[start : start + size])
    assert pieces.heard == whole.heard, f"{pieces.heard} is not {whole.heard}"
    assert (pieces.broken is None) == (whole.broken is None), f"{pieces.broken} is not {whole.broken}"
    whole.end()
    pieces.end()


class _Primary:
    """A pipeline that has sent its commands, seen from the other end."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps
        self._transport = _Transport()
        self._pipeline = Pipeline(self._transport, Timeouts())  # type: ignore[arg-type]
        self._exchange = self._pipeline.expect(steps) if steps else None

    def says(self, octets: bytes) -> None:
        self._pipeline.data_received(octets)
        reader = self._pipeline._reader
        if self.broken is None:
            held = len(reader._rest) + sum(len(line) for line in reader._lines)
            assert held <= MAX_LINE_OCTETS + MAX_REPLY_OCTETS, f"{held} octets are held"
        assert self._transport.is_aborted is (self.broken is not None)
        for reply, step in zip(self.heard, self._steps, strict=False):
            assert reply.code == 421 or reply.code // 100 in step.first_digits, f"{reply} to {step}"
            assert len(reply.text) <= MAX_TEXT
            assert reply.text.isprintable(), f"{reply.text!r}"
            reply.text.encode()

    def end(self) -> None:
        self._pipeline.abort()
        assert self._exchange is None or self._exchange._done is None or self._exchange._done.done()

    @property
    def heard(self) -> list[Reply]:
        heard = self._exchange.replies if self._exchange is not None else []
        assert len(heard) <= len(self._steps)
        return heard

    @property
    def broken(self) -> str | None:
        return self._pipeline.broken


class _Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: Any) -> None:
        assert not self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass
