"""`python -m tests.bench`: this relay and Postfix as a backup MX, side by side in one run.

Each leg is run three times, ours and Postfix one after the other: the table has the medians, the median of the three
ratios, and every run. A full bench takes about a quarter of an hour, a short one six minutes. Exit status 0 means that
everything was measured, whatever the figures; a goal that was missed is named. Where root or Postfix is missing that is
said, and only ours is measured. BENCH_SHORT=1 is --short.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.figures import Figure, show
from tests.bench.legs import Leg, Setting, all_legs
from tests.bench.load import Void
from tests.bench.million import FEW, MANY
from tests.bench.million import measure as measure_million
from tests.bench.tools import choose
from tests.fakes import postfix
from tests.fakes.smtp_tools import LoadFailed

RUNS = 3
SHORT_SCALE = 0.4


def main(arguments: list[str]) -> int:
    legs = all_legs()
    given = _parser(legs).parse_args(arguments)
    short = given.short or os.environ.get("BENCH_SHORT", "") not in ("", "0")
    signal.signal(signal.SIGTERM, _unwind)
    tools, lacking = choose(), postfix.missing()
    print(f"{given.runs} runs, {'short' if short else 'full'}; {tools.note}; queues under {_place()}")
    print(f"Postfix is not measured: {lacking}" if lacking else f"Postfix {postfix.version()} as a backup MX")
    setting = Setting(tools, SHORT_SCALE if short else 1, with_postfix=lacking is None)
    chosen = [leg for leg in legs if not given.only or leg.name in given.only]
    million: list[Figure] = []
    try:
        if given.million:
            million = measure_million(tools, given.runs, lambda text: print(text, flush=True))
        else:
            for run in range(1, given.runs + 1):
                for leg in chosen if run == 1 or not short else [leg for leg in chosen if not leg.is_steady]:
                    _once(leg, setting, f"run {run} of {given.runs}")
    except (LoadFailed, Void, AssertionError, RuntimeError, TimeoutError) as failure:
        print(f"bench: not measured: {failure}", *getattr(failure, "__notes__", ()), sep="\n", file=sys.stderr)
        return 1
    print()
    if given.million:
        print(f"Both are this relay: with {MANY:,} messages queued, and with {FEW:,}.")
        show(million, sys.stdout, sides=("many", "few"))
    else:
        show([figure for leg in chosen for figure in leg.figures], sys.stdout)
    return 0


def _once(leg: Leg, setting: Setting, run: str) -> None:
    started = time.monotonic()
    leg.run(setting, *leg.figures)
    print(f"{run}: {leg.name}, {time.monotonic() - started:.0f} s", flush=True)


def _parser(legs: Sequence[Leg]) -> argparse.ArgumentParser:
    table = "\n".join(f"  {leg.name:15}{_describe(leg.figures)}" for leg in legs)
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=f"legs:\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="less of everything: a few minutes in all")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"how often each leg is run ({RUNS})")
    names = {leg.name for leg in legs}

    def chosen(text: str) -> list[str]:
        wanted = text.split(",")
        for name in wanted:
            if name not in names:
                raise argparse.ArgumentTypeError(f"there is no leg {name!r}; there are {', '.join(sorted(names))}")
        return wanted

    parser.add_argument("--million", action="store_true", help=f"instead: what {MANY:,} messages in the queue cost")
    parser.add_argument("--only", type=chosen, metavar="LEG,...", help="these legs alone")
    return parser


def _describe(figures: Sequence[Figure]) -> str:
    return "; ".join(f"{figure.what} ({figure.goal})" if figure.goal else figure.what for figure in figures)


def _unwind(_number: int, _frame: object) -> None:
    """Told to stop, the bench still stops what it started."""
    raise SystemExit(128 + signal.SIGTERM)


def _place() -> str:
    """The directory, and its file system: on a tmpfs nothing is ever written to a disk, by neither."""
    directory = Path(tempfile.gettempdir()).resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [fields for fields in mounts if directory.is_relative_to(fields[1])]
    kind = max(under, key=lambda fields: len(fields[1]))[2] if under else "unknown"
    return f"{directory} ({kind})"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
