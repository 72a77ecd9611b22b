"""`python -m tests.bench [--short]`: this relay and Postfix as a backup MX, side by side in one run.

Legs are interleaved (ours, Postfix, ours, Postfix, ...) and each is run three times: the table has the medians, the
median of the three ratios, and every run. Exit status 0 means that everything was measured, whatever the figures; a
goal that was missed is named. Where root or Postfix is missing that is said, and only ours is measured.
BENCH_SHORT=1 is --short.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import legs
from tests.bench.contestants import Contestant, Ours, Theirs
from tests.bench.figures import Figure, show
from tests.bench.legs import Load
from tests.bench.tools import Tools, choose
from tests.fakes import postfix
from tests.fakes.smtp_tools import LoadFailed

RUNS = 3
POSTFIX_CONCURRENCY = 20  # its default_destination_concurrency_limit
DEFAULT_CONNECTIONS = 5  # ours
FIRST_DELIVERY_SECONDS = 2 * 0.5 + 1  # rise times interval, and a second


@dataclass
class Figures:
    reused: Figure = field(default_factory=lambda: Figure("accept, 50 sessions reused, 10 kB", "/s", at_least=3))
    apiece: Figure = field(default_factory=lambda: Figure("accept, a connection each, 10 kB", "/s", at_least=2))
    drain: Figure = field(default_factory=lambda: Figure("drain, 20 connections, 10 kB", "/s", at_least=1))
    drain_default: Figure = field(default_factory=lambda: Figure("drain, our default of 5 connections", "/s"))
    accepting: Figure = field(default_factory=lambda: Figure("memory, 20 x 20 MB at once", "MB", below=200))
    sending: Figure = field(default_factory=lambda: Figure("memory, and when sent on", "MB", below=200))
    first: Figure = field(
        default_factory=lambda: Figure("first answer to first delivery", "s", below=FIRST_DELIVERY_SECONDS)
    )

    def in_order(self) -> list[Figure]:
        return [self.reused, self.apiece, self.drain, self.drain_default, self.accepting, self.sending, self.first]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="legs of about 1.5 s in place of 4 s")
    short = parser.parse_args(arguments).short or os.environ.get("BENCH_SHORT", "") not in ("", "0")
    signal.signal(signal.SIGTERM, _unwind)
    tools, lacking = choose(), postfix.missing()
    print(f"{RUNS} runs, {'short' if short else 'full'}; {tools.note}; queues under {_place()}")
    print(f"Postfix is not measured: {lacking}" if lacking else f"Postfix {postfix.version()} as a backup MX")
    figures = Figures()
    try:
        for run in range(1, RUNS + 1):
            print(f"run {run} of {RUNS} ...", flush=True)
            side_by_side(tools, figures, seconds=1.5 if short else 4, with_postfix=lacking is None)
            ours_alone(tools, figures, messages=1500 if short else 5000)
    except (LoadFailed, legs.LegFailed, AssertionError, RuntimeError, TimeoutError) as failure:
        print(f"bench: not measured: {failure}", *getattr(failure, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print()
    show(figures.in_order(), sys.stdout)
    return 0


def _unwind(_number: int, _frame: object) -> None:
    """Told to stop, the bench still stops what it started."""
    raise SystemExit(128 + signal.SIGTERM)


def side_by_side(tools: Tools, figures: Figures, *, seconds: float, with_postfix: bool) -> None:
    with ExitStack() as running:
        contestants: list[tuple[str, Contestant]] = [
            ("ours", running.enter_context(Ours(tools, max_connections=POSTFIX_CONCURRENCY)))
        ]
        if with_postfix:
            contestants.append(("postfix", running.enter_context(Theirs(tools))))
        loads = [(side, Load(tools, contestant)) for side, contestant in contestants]
        for figure, reuse in ((figures.reused, True), (figures.apiece, False)):
            for side, load in loads:
                getattr(figure, side).append(load.accept(seconds=seconds, reuse=reuse))
        for side, load in loads:
            getattr(figures.drain, side).append(load.drain())


def ours_alone(tools: Tools, figures: Figures, *, messages: int) -> None:
    with Ours(tools, max_connections=DEFAULT_CONNECTIONS) as ours:
        load = Load(tools, ours)
        load.fill(messages)
        figures.drain_default.ours.append(load.drain())
    accepting, sending = legs.memory(tools)
    figures.accepting.ours.append(accepting)
    figures.sending.ours.append(sending)
    figures.first.ours.append(legs.first_delivery())


def _place() -> str:
    """The directory, and its file system: on a tmpfs nothing is ever written to a disk, by neither."""
    directory = Path(tempfile.gettempdir()).resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [fields for fields in mounts if directory.is_relative_to(fields[1])]
    kind = max(under, key=lambda fields: len(fields[1]))[2] if under else "unknown"
    return f"{directory} ({kind})"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
