"""Whatever a primary does at each step: one message, one copy, and the sender is told the truth.

A primary follows a plan, transaction by transaction: what it answers to each command the first time, the second time,
the third; where it ends an idle connection; what it says in the middle of the content; whether it can be reached anew.
A small model says what the sender must have heard and where each message must be. Everything between them is real:
sockets, sessions, the queue.
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
from tests.fakes.played import TWO, Client, Scene, playing

LATER, NEVER, GOODBYE = "450 4.0.1 Later", "550 5.0.1 Never", "421 4.0.2 Goodbye"
FAILURES = (Act.DROP, GOODBYE)
# What the primary answers to one command, time after time; afterwards what it says by itself.
ANSWERS = st.lists(st.sampled_from([None, None, None, None, LATER, NEVER, Act.DROP, GOODBYE]), max_size=3).map(tuple)
Answers = tuple[Answer, ...]


@dataclass(frozen=True)
class Plan:
    """One transaction. `closes` are the commands before which the primary ends the connection, MAIL being 0."""

    mail: Answers
    rcpts: tuple[Answers, ...]
    data: Answers
    closes: frozenset[int]
    interrupts: Answer
    final: Answer
    is_away: bool


PLANS = st.builds(
    Plan,
    ANSWERS,
    st.lists(ANSWERS, min_size=1, max_size=3).map(tuple),
    ANSWERS,
    st.frozensets(st.integers(1, 4), max_size=2),
    st.sampled_from([None, None, None, LATER, NEVER, Act.DROP, GOODBYE]),
    st.sampled_from([None, None, LATER, NEVER, Act.DROP, Act.KEEP_THEN_DROP, GOODBYE]),
    st.sampled_from([False, False, False, True]),
)


class Planned:
    """What is left of a plan's answers, by command: a recipient's is its number."""

    def __init__(self, plan: Plan) -> None:
        self._left = {"mail": list(plan.mail), "data": list(plan.data), "final": [plan.final]}
        self._left |= {str(number): list(answers) for number, answers in enumerate(plan.rcpts)}

    def next(self, command: str) -> Answer:
        left = self._left.get(command, [])
        return left.pop(0) if left else None


class Primary:
    """Answers for a sink, by the plan in hand."""

    def __init__(self) -> None:
        self.planned: Planned | None = None
        self.is_away = False

    def follow(self, plan: Plan) -> None:
        self.planned, self.is_away = Planned(plan), plan.is_away

    def replies(self) -> dict[str, Script]:
        scripts: dict[str, Script] = {step: self._script(step) for step in ("mail", "data", "final")}
        scripts["rcpt"] = lambda session, path: self._next(path.partition("@")[0].removeprefix("u"))
        scripts["banner"] = lambda session, argument: "421 4.3.2 Not now" if self.is_away else None
        return scripts

    def _next(self, command: str) -> Answer:
        return self.planned.next(command) if self.planned is not None else None

    def _script(self, step: str) -> Script:
        def answer(session: SinkSession, argument: str) -> Answer:
            return self._next(step)

        return answer


FELL, OUT, NOTHING = "fell", "451", "nothing"


@dataclass
class Model:
    """One session, as it must go. `heard` are the codes of the replies to the transaction in hand."""

    is_only_primary: bool
    is_connected: bool = False
    heard: list[str] = field(default_factory=list)
    delivered: int = 0
    queued: list[bool] = field(default_factory=list)  # whether with doubt

    def transact(self, plan: Plan) -> None:
        self.heard = []
        self._plan, self._planned = plan, Planned(plan)
        self._is_played, self._is_out = True, False
        self._is_announced = self._has_repeated = False
        self._taken: list[str] = []
        accepted = 0
        code = self._mail() if self.is_only_primary else "250"
        self.heard.append("250" if code == FELL else code)
        if code not in {"250", FELL}:
            return
        for number in range(len(plan.rcpts)):
            self._close_before(1 + number)
            code = self._recipient(str(number))
            self.heard.append(code)
            accepted += code == "250"
        self._close_before(1 + len(plan.rcpts))
        self._content(accepted)

    def _close_before(self, command: int) -> None:
        if command in self._plan.closes:
            self.is_connected = False

    # As fallback_mx.smtp.crossing says

    def _say(self, command: str) -> str:
        """The code that the sender hears, or FELL."""
        is_again = self.is_connected or self._is_announced
        said = self._hear(command) if self.is_connected else NOTHING
        if said == NOTHING and not is_again:
            said = self._say_on_another(command)
        if said == NOTHING:
            if self._has_repeated:
                self._is_out = True
                return OUT
            self._has_repeated = True
            said = self._say_on_another(command)
        if said == NOTHING:
            self._is_out = True
            return OUT
        if said == FELL:
            self._is_played = False
        return said

    def _say_on_another(self, command: str) -> str:
        self.is_connected = not self._plan.is_away
        if not self.is_connected:
            return FELL
        before = (["mail"] if self._is_announced else []) + self._taken
        for each in before:
            if self._hear(each) != "250":
                return NOTHING
        return self._hear(command)

    def _hear(self, command: str) -> str:
        answer = self._planned.next(command)
        if answer in FAILURES:
            self.is_connected = False
            return NOTHING
        return "250" if answer is None else str(answer)[:3]

    def _mail(self) -> str:
        code = self._say("mail")
        self._is_announced = code == "250"
        return code

    def _recipient(self, number: str) -> str:
        if self._is_out:
            return OUT
        if not self._is_played:
            return "250"
        code = "250" if self._is_announced else self._mail()
        if code == "250":
            code = self._say(number)
            if code == "250":
                self._taken.append(number)
        return "250" if code == FELL else code

    def _content(self, accepted: int) -> None:
        if not accepted:
            self.heard.append("554")
            return
        if self._is_out:
            self.heard.append(OUT)
            return
        code = self._say("data") if self._is_played else FELL
        self.heard.append("354" if code in {"250", FELL} else code)
        if code == FELL:
            self._queue(doubted=False)
        elif code == "250" and self._plan.interrupts is not None:
            self._interrupted(self._plan.interrupts)
        elif code == "250":
            self._end(self._planned.next("final"))

    def _queue(self, *, doubted: bool) -> None:
        self.is_connected = False
        self.queued.append(doubted)
        self.heard.append("250")

    def _interrupted(self, said: Answer) -> None:
        self.is_connected = False
        if said not in FAILURES:
            self.heard.append(str(said)[:3])
        elif said is Act.DROP and self._plan.is_away:
            self._queue(doubted=False)
        else:
            self.heard.append(OUT)
            # It was asked whether it is there.
            self.is_connected = said is Act.DROP

    def _end(self, said: Answer) -> None:
        if said is None:
            self.delivered += 1
            self.heard.append("250")
        elif said == GOODBYE:
            self.is_connected = False
            self.heard.append(OUT)
        elif isinstance(said, str):
            self.heard.append(said[:3])
        else:
            self.delivered += said is Act.KEEP_THEN_DROP
            self._queue(doubted=True)


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
    primary = Primary()
    sink = Sink(replies=primary.replies())
    routes = {} if is_only_primary else {"routes": TWO}
    before = set(await ids(queue))
    model = Model(is_only_primary)
    async with playing(queue, directory, sink, **routes) as scene:
        client = await scene.client()
        for plan in plans:
            primary.follow(plan)
            model.transact(plan)
            content = b"Number: %d\r\n\r\n" % next(NUMBERS)
            assert await converse(scene, client, plan, content, len(model.heard)) == model.heard
            await client.say("RSET")
    new = [queue_id for queue_id in await ids(queue) if queue_id not in before]
    assert [await is_doubted(queue, queue_id) for queue_id in new] == model.queued
    assert len(sink.messages) == model.delivered
    # No message is twice in the same place.
    assert len({message.content[-20:] for message in sink.messages}) == len(sink.messages)


async def converse(scene: Scene, client: Client, plan: Plan, content: bytes, replies: int) -> list[str]:
    """The codes that were heard; content is sent once it has been asked for."""
    heard: list[str] = []
    commands = ["MAIL FROM:<a@sender.test>"]
    commands += [f"RCPT TO:<u{number}@example.test>" for number in range(len(plan.rcpts))]
    for number, command in enumerate([*commands, "DATA"][:replies]):
        if number in plan.closes:
            await speak(scene, Act.DROP)
        heard.append((await client.say(command))[:3])
    if heard[-1] == "354":
        if plan.interrupts is not None:
            await speak(scene, plan.interrupts)
        await client.send(content + b".\r\n")
        heard.append((await client.reply())[:3])
    return heard


async def speak(scene: Scene, said: Answer) -> None:
    """The primary says this unasked, on every connection that it has, or ends it."""
    for session in list(scene.sink._sessions):
        if isinstance(said, str):
            session.say(said)
        else:
            session.cut()
    # It has come here by then.
    await asyncio.sleep(0.02)


async def ids(queue: Queue) -> list[str]:
    return [message.id for message in await asyncio.wrap_future(queue.list())]


async def is_doubted(queue: Queue, queue_id: str) -> bool:
    _, ledger = await asyncio.wrap_future(queue.show(queue_id))
    return any(row.event is LedgerEvent.AMBIGUOUS for row in ledger)
