"""Whatever a primary does at each step: one message, one copy, and the sender is told the truth.

A primary follows a plan, transaction by transaction, and a small model says what the sender must have heard and where
each message must be. Everything between them is real: sockets, sessions, the queue.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fallback_mx.smtp.sink import Act, Answer, Script, Sink, SinkSession
from mxqueue import LedgerEvent, Queue
from tests.fakes.played import TWO, Client, playing

LATER, NEVER, GOODBYE = "450 4.0.1 Later", "550 5.0.1 Never", "421 4.0.2 Goodbye"
FAILURES = (Act.DROP, GOODBYE)
STEP = st.sampled_from([None, None, None, LATER, NEVER, Act.DROP, GOODBYE])


@dataclass(frozen=True)
class Plan:
    """What the primary answers in one transaction; None is what it says by itself."""

    mail: Answer
    rcpts: tuple[Answer, ...]
    data: Answer
    final: Answer


PLANS = st.builds(
    Plan,
    STEP,
    st.lists(STEP, min_size=1, max_size=3).map(tuple),
    STEP,
    st.sampled_from([None, None, LATER, NEVER, Act.DROP, Act.KEEP_THEN_DROP, GOODBYE]),
)


class Planned:
    """Answers for a sink: each of the plan's answers once."""

    def __init__(self) -> None:
        self._left: dict[str, list[Answer]] = {}

    def follow(self, plan: Plan) -> None:
        self._left = {
            "mail": [plan.mail],
            "rcpt": list(plan.rcpts),
            "data": [plan.data],
            "final": [plan.final],
        }

    def of(self, step: str) -> Answer:
        left = self._left.get(step, [])
        return left.pop(0) if left else None

    def replies(self) -> dict[str, Script]:
        return {step: self._script(step) for step in ("mail", "rcpt", "data", "final")}

    def _script(self, step: str) -> Script:
        def answer(session: SinkSession, argument: str) -> Answer:
            return self.of(step)

        return answer


@dataclass
class Model:
    """One session, as it must go. `heard` are the codes of the replies to the transaction in hand."""

    is_only_primary: bool
    has_connection: bool = False
    has_refused: bool = False
    heard: list[str] = field(default_factory=list)
    delivered: int = 0
    queued: list[bool] = field(default_factory=list)  # whether with doubt

    def transact(self, plan: Plan) -> None:
        self.heard = []
        self._is_played = True
        self._is_announced = False
        self._is_shown_out = False
        rcpts = iter(plan.rcpts)
        mail = [plan.mail]
        taken = 0
        if self.is_only_primary:
            refusal = self._announce(mail)
            self.heard.append(refusal or "250")
            if refusal:
                return
        else:
            self.heard.append("250")
        for _ in plan.rcpts:
            code = self._recipient(mail, rcpts)
            self.heard.append(code)
            taken += code == "250"
        self._content(plan, taken)

    def _announce(self, mail: list[Answer]) -> str:
        """MAIL at the primary: the code of a refusal, or "" (it may have fallen, too)."""
        if not self.has_connection:
            self.has_refused = False
        answer = mail.pop(0) if mail else None
        if answer in FAILURES and self.has_connection:
            # A connection that was kept is made anew, and what comes then is the sink's own answer.
            self.has_refused, answer = False, None
        self.has_connection = True
        if answer in FAILURES:
            self._fall()
            return ""
        if isinstance(answer, str):
            self.has_refused = True
            return answer[:3]
        self._is_announced = True
        return ""

    def _fall(self) -> None:
        self._is_played = self.has_connection = False
        self._is_shown_out = self.has_refused

    def _recipient(self, mail: list[Answer], rcpts: Iterator[Answer]) -> str:
        if self._is_played and not self._is_announced and (refusal := self._announce(mail)):
            return refusal
        if self._is_played:
            answer = next(rcpts)
            if isinstance(answer, str) and answer != GOODBYE:
                self.has_refused = True
                return answer[:3]
            if answer is None:
                return "250"
            self._fall()
        return "451" if self._is_shown_out else "250"

    def _content(self, plan: Plan, taken: int) -> None:
        if not taken:
            self.heard.append("554")
            return
        if self._is_played and plan.data in FAILURES:
            self._fall()
        elif self._is_played and isinstance(plan.data, str):
            self.has_refused = True
            self.heard.append(plan.data[:3])
            return
        self.heard.append("354")
        if not self._is_played:
            self.queued.append(False)
            self.heard.append("250")
        elif plan.final is None:
            self.delivered += 1
            self.heard.append("250")
        elif isinstance(plan.final, str) and plan.final != GOODBYE:
            self.has_refused = True
            self.heard.append(plan.final[:3])
        else:
            self.delivered += plan.final is Act.KEEP_THEN_DROP
            self._fall()
            self.queued.append(plan.final != GOODBYE)
            self.heard.append("250")


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    path = tmp_path_factory.mktemp("machine") / "queue.db"
    queue = Queue.open(f"sqlite:///{path}", node="n1", exclusive=True)
    yield queue
    queue.close()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


NUMBERS = itertools.count()


@given(st.lists(PLANS, min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_message_one_copy_and_the_sender_is_told_the_truth(
    queue: Queue, directory: Path, plans: list[Plan], is_only_primary: bool
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(compare(queue, directory, plans, is_only_primary), 30))


async def compare(queue: Queue, directory: Path, plans: list[Plan], is_only_primary: bool) -> None:
    planned = Planned()
    sink = Sink(replies=planned.replies())
    routes = {} if is_only_primary else {"routes": TWO}
    before = set(await ids(queue))
    contents: list[bytes] = []
    model = Model(is_only_primary)
    async with playing(queue, directory, sink, **routes) as scene:
        client = await scene.client()
        for plan in plans:
            planned.follow(plan)
            model.transact(plan)
            contents.append(b"Number: %d\r\n\r\n" % next(NUMBERS))
            assert await converse(client, plan, contents[-1], len(model.heard)) == model.heard
            await client.say("RSET")
    new = [queue_id for queue_id in await ids(queue) if queue_id not in before]
    assert [await is_doubted(queue, queue_id) for queue_id in new] == model.queued
    assert len(sink.messages) == model.delivered
    # No message is twice in the same place.
    assert len({message.content[-20:] for message in sink.messages}) == len(sink.messages)


async def converse(client: Client, plan: Plan, content: bytes, replies: int) -> list[str]:
    """The codes that were heard; content is sent once it has been asked for."""
    heard: list[str] = []
    commands = ["MAIL FROM:<a@sender.test>"]
    commands += [f"RCPT TO:<u{number}@example.test>" for number in range(len(plan.rcpts))]
    for command in [*commands, "DATA"][:replies]:
        heard.append((await client.say(command))[:3])
    if heard[-1] == "354":
        await client.send(content + b".\r\n")
        heard.append((await client.reply())[:3])
    return heard


async def ids(queue: Queue) -> list[str]:
    return [message.id for message in await asyncio.wrap_future(queue.list())]


async def is_doubted(queue: Queue, queue_id: str) -> bool:
    _, ledger = await asyncio.wrap_future(queue.show(queue_id))
    return any(row.event is LedgerEvent.AMBIGUOUS for row in ledger)
