"""How much the primary may be given next: a canary first, then more by success, half on trouble.

Additive increase, multiplicative decrease. A server that has just come back gets one connection and one message; once
that is delivered a connection more for every round of successes, up to the limit. Strain halves them, and makes the
next rounds longer. A refused connection while others work means that the server's own limit is found: it is respected,
and tried again ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# How many successes a connection must show at most before another is opened: after strain, which may pass, and after a
# refused connection, which shows a limit that somebody has set.
PATIENCE_AFTER_TROUBLE = 32
PATIENCE_AFTER_REFUSAL = 1000


@dataclass(frozen=True, slots=True)
class Ramp:
    """`connections` are allowed now. `is_canary`: until one message is served nothing else is sent.

    `successes` are those since the last change; `patience` is how many each connection must show before another is
    opened. `echoes` more outcomes belong to the time before the last halving and cannot halve again.
    """

    connections: int = 1
    is_canary: bool = True
    successes: int = 0
    patience: int = 1
    echoes: int = 0


CANARY = Ramp()


def succeeded(ramp: Ramp, max_connections: int) -> Ramp:
    """A message was served."""
    if ramp.connections >= max_connections and not ramp.is_canary and ramp.echoes == 0:
        return ramp  # as in most of a drain: no more can be had, and nothing is to be forgotten
    ramp = replace(ramp, is_canary=False, successes=ramp.successes + 1, echoes=max(0, ramp.echoes - 1))
    if ramp.connections >= max_connections or ramp.successes < ramp.connections * ramp.patience:
        return ramp
    return replace(ramp, connections=ramp.connections + 1, successes=0)


def troubled(ramp: Ramp) -> Ramp:
    """The next hop shows strain. What all its connections report at once counts once."""
    if ramp.echoes > 0:
        return replace(ramp, successes=0, echoes=ramp.echoes - 1)
    return replace(
        ramp,
        connections=max(1, ramp.connections // 2),
        successes=0,
        patience=max(ramp.patience, min(ramp.patience * 2, PATIENCE_AFTER_TROUBLE)),
        echoes=ramp.connections - 1,
    )


def crowded(ramp: Ramp, working: int) -> Ramp:
    """A connection was refused while `working` others were served: that many is what the next hop has room for."""
    return replace(
        ramp,
        connections=max(1, min(ramp.connections, working)),
        successes=0,
        patience=min(ramp.patience * 10, PATIENCE_AFTER_REFUSAL),
    )


def disconnected(ramp: Ramp) -> Ramp:
    """No connection at all: the canary goes first again. What is known of the next hop's limit stays known."""
    return replace(CANARY, patience=ramp.patience)
