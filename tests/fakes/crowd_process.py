"""A process that counts connections with others: `python -m tests.fakes.crowd_process DESCRIPTOR SLOTS SLOT`.

It reads a command a line (`enter ADDRESS`, `leave ADDRESS`, `total`, `rush SEED`) and answers each with a line.
"""

from __future__ import annotations

import random
import sys

from fallback_mx.smtp.crowd import Crowd, CrowdLimits

LIMITS = CrowdLimits(connections=12, per_client=4, per_network=6)
RUSH_STEPS = 3000


def rush(crowd: Crowd, seed: int) -> int:
    """Come and go as fast as can be; how many of those that came are still there."""
    chance, inside = random.Random(seed), []
    crowd.limits = CrowdLimits(100_000, 100_000, 100_000)
    for _ in range(RUSH_STEPS):
        if inside and chance.random() < 0.5:
            crowd.leave(inside.pop(chance.randrange(len(inside))))
        else:
            inside.append(f"192.0.2.{chance.randrange(20)}")
            crowd.enter(inside[-1])
    crowd.limits = LIMITS
    return len(inside)


def main() -> None:
    descriptor, slots, slot = (int(argument) for argument in sys.argv[1:])
    crowd = Crowd(LIMITS, slots=slots, slot=slot, descriptor=descriptor)
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "enter":
            answer = crowd.enter(argument)
        elif command == "leave":
            crowd.leave(argument)
            answer = ""
        elif command == "rush":
            answer = str(rush(crowd, int(argument)))
        else:
            answer = str(crowd.total)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
