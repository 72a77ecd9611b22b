"""The legs: what is done to whom, run after run, and which figures come of it.

In a leg with Postfix beside us both have the same load, one after the other, ours first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.bench import first_delivery, held_senders, reply_times, watching
from tests.bench.contestants import CONNECTIONS, Contestant, Ours, Theirs
from tests.bench.far import DELAY_SECONDS, Far
from tests.bench.figures import Figure, Side
from tests.bench.light_sink import LightSink
from tests.bench.load import RECIPIENT, SESSIONS, SIZE, TRIAL, Load
from tests.bench.memory import MB, Watch, peak_rss, resident
from tests.bench.tools import Taker, Tools

LARGE = 20_000_000
LARGE_AT_ONCE = 20
IN_FLIGHT = 100
HELD_SECONDS = 2.0
IDLE = 2000
DEFAULT_CONNECTIONS = 5  # ours
FIRST_DELIVERY_SECONDS = 2 * 0.5 + 1  # rise times interval, and a second


@dataclass(frozen=True)
class Setting:
    """What all legs of a run go by. `scale` is 1 for a full run and less for a short one."""

    tools: Tools
    scale: float
    with_postfix: bool

    def some(self, full: int) -> int:
        return int(full * self.scale)

    @contextmanager
    def both(self, taker: Callable[[], Taker] | None = None) -> Iterator[list[tuple[Side, Load]]]:
        """Both contestants, with a near primary each."""
        taker = taker or self.tools.taker
        with ExitStack() as running:
            contestants: list[tuple[Side, Contestant]] = [("ours", running.enter_context(Ours(taker())))]
            if self.with_postfix:
                contestants.append(("theirs", running.enter_context(Theirs(taker()))))
            yield [(side, Load(self.tools, contestant)) for side, contestant in contestants]


@dataclass(frozen=True)
class Leg:
    """`run` measures once and adds what it found to the figures, which it is given in order.

    `is_steady`: what else the machine does hardly tells in it, so that a short bench runs it once.
    """

    name: str
    figures: tuple[Figure, ...]
    run: Callable[..., None]
    is_steady: bool = False


def accept(setting: Setting, reused: Figure, apiece: Figure) -> None:
    with setting.both() as loads:
        for figure, reuse in ((reused, True), (apiece, False)):
            for side, load in loads:
                figure.add(side, load.accept_for(4 * setting.scale, reuse=reuse))


def reply(setting: Setting, median: Figure, percentile_99: Figure) -> None:
    with setting.both() as loads:
        for side, load in loads:
            load.send(TRIAL)
            waits = reply_times.measure(
                load.contestant.port, messages=setting.some(5000), sessions=SESSIONS, size=SIZE, recipient=RECIPIENT
            )
            median.add(side, waits.median)
            percentile_99.add(side, waits.percentile_99)


def large(setting: Setting, mb_1: Figure, mb_20: Figure) -> None:
    with setting.both() as loads:
        for figure, size, messages in ((mb_1, 1_000_000, 200), (mb_20, LARGE, 20)):
            for side, load in loads:
                messages = setting.some(messages)
                seconds = load.send(messages, sessions=10, size=size)
                figure.add(side, messages * size / MB / seconds)
                load.contestant.settle()


def drain(setting: Setting, ours: Figure) -> None:
    messages = setting.some(5000)
    with setting.both() as loads:
        for side, load in loads:
            load.send(messages)
            ours.add(side, messages / load.drain())


def drain_default(setting: Setting, figure: Figure) -> None:
    messages = setting.some(5000)
    with Ours(setting.tools.taker(), connections=DEFAULT_CONNECTIONS) as ours:
        load = Load(setting.tools, ours)
        load.send(messages)
        figure.ours.append(messages / load.drain())


def drain_far(setting: Setting, rate: Figure, trips: Figure) -> None:
    messages = setting.some(500)
    makers: Mapping[Side, Callable[[Far], Contestant]] = {
        "ours": partial(Ours, connections=DEFAULT_CONNECTIONS, interval="1s"),
        "theirs": partial(Theirs, connections=DEFAULT_CONNECTIONS),
    }
    for side, make in makers.items():
        if side == "theirs" and not setting.with_postfix:
            continue
        far = Far(setting.tools.taker())
        with make(far) as contestant:
            load = Load(setting.tools, contestant)
            load.send(messages)
            rate.add(side, messages / load.drain())
            trips.add(side, far.round_trips() / messages)


def drain_large(setting: Setting, rate: Figure, accepting: Figure, sending: Figure) -> None:
    """20 messages of 20 MB, come at once and sent on; memory is ours alone, the most that each process ever had."""
    with setting.both(LightSink) as loads:
        for side, load in loads:
            load.send(LARGE_AT_ONCE, sessions=LARGE_AT_ONCE, size=LARGE)
            if side == "ours":
                accepting.ours.append(peak_rss(load.contestant.pid))
            rate.add(side, LARGE_AT_ONCE * LARGE / MB / load.drain())
            if side == "ours":
                sending.ours.append(peak_rss(load.contestant.pid))


def flight(setting: Setting, rss: Figure, pss: Figure) -> None:
    """All in flight together but for their ends, held so, then ended together and committed."""
    with Ours(setting.tools.taker()) as ours:
        with Watch(ours.pid) as watch:
            asyncio.run(
                held_senders.hold_messages(ours.port, IN_FLIGHT, LARGE, RECIPIENT, partial(time.sleep, HELD_SECONDS))
            )
        rss.add("ours", peak_rss(ours.pid))
    pss.add("ours", watch.most.pss)


def idle(setting: Setting, rss: Figure) -> None:
    """With limits that let them in, and far from the stress in which idle clients are hurried."""
    most = {"max_connections": 2 * IDLE}
    with Ours(setting.tools.taker(), server=most) as ours:
        Load(setting.tools, ours).send(TRIAL)
        before = resident(ours.pid)

        def measure() -> None:
            rss.ours.append(resident(ours.pid).rss - before.rss)

        asyncio.run(held_senders.hold_idle(ours.port, IDLE, RECIPIENT, measure))


def first(setting: Setting, figure: Figure) -> None:
    figure.ours.append(first_delivery.seconds())


def watch(setting: Setting, recording: Figure, clear: Figure, encrypted: Figure) -> None:
    recording.ours.append(watching.recording_ms())
    clear.ours.append(watching.share_of_a_core(tls=False))
    encrypted.ours.append(watching.share_of_a_core(tls=True))


def all_legs() -> list[Leg]:
    """In the order of the table."""
    delay = f"{1000 * DELAY_SECONDS:.0f} ms each way"
    return [
        Leg(
            "accept",
            (
                Figure("accept, 50 sessions reused, 10 kB", "/s", at_least=5),
                Figure("accept, a connection each, 10 kB", "/s", at_least=3),
            ),
            accept,
        ),
        Leg(
            "reply",
            (
                Figure("final dot to reply, 50 sessions reused, median", "ms"),
                Figure("final dot to reply, 99th percentile", "ms", at_most=1),
            ),
            reply,
        ),
        Leg(
            "large",
            (
                Figure("accept, 1 MB", "MB/s", at_least=1.2),
                Figure("accept, 20 MB", "MB/s", at_least=1.2),
            ),
            large,
        ),
        Leg("drain", (Figure(f"drain, {CONNECTIONS} connections, 10 kB", "/s", at_least=3),), drain),
        Leg(
            "drain-default",
            (Figure(f"drain, our default of {DEFAULT_CONNECTIONS} connections", "/s"),),
            drain_default,
        ),
        Leg(
            "drain-far",
            (
                Figure(f"drain, {delay}, {DEFAULT_CONNECTIONS} connections", "/s", at_least=1.8),
                Figure(f"drain, {delay}, round trips a message", "", below=1.1),
            ),
            drain_far,
            is_steady=True,
        ),
        Leg(
            "drain-large",
            (
                Figure("drain, 20 MB", "MB/s", at_least=1.2),
                Figure("memory, 20 x 20 MB at once", "MB", below=200),
                Figure("memory, and when sent on", "MB", below=200),
            ),
            drain_large,
        ),
        Leg(
            "flight",
            (
                Figure("memory, 100 x 20 MB in flight", "MB", below=200),
                Figure("memory, shared pages counted once", "MB"),
            ),
            flight,
            is_steady=True,
        ),
        Leg("idle", (Figure("memory, 2,000 idle connections more", "MB", below=100),), idle, is_steady=True),
        Leg("first", (Figure("first answer to first delivery", "s", below=FIRST_DELIVERY_SECONDS),), first),
        Leg(
            "watch",
            (
                Figure("a look put on record", "ms", below=1),
                Figure("1,000 primaries looked at every 30 s", "% of a core", below=20),
                Figure("the same, each under TLS", "% of a core", below=20),
            ),
            watch,
            is_steady=True,
        ),
    ]
