"""What happens to one session, written as octets, so that a fuzzer can change it and a person can read it.

The first octet chooses the listener's surroundings. What follows comes over the wire, but for MARK and the octet behind
it, which is something that happens at that point (`OPS`). Any octets at all are a script.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, Flag

from tests.fuzz.primary import Does

MARK = 0xFE
# What comes over the wire in one script, so that `AGAIN` cannot make it last.
MOST_OCTETS = 400_000
MOST_SECONDS = 2_000.0


class Setting(Flag):
    """The surroundings. Those not chosen are the other way round."""

    PROXY = 1  # the client is a proxy that says whom it speaks for
    XCLIENT = 2  # the client may say XCLIENT, and ETRN for one of the primaries
    TLS = 4  # STARTTLS is offered
    TIGHT = 8  # every limit is low, and all content goes to a file
    UP = 16  # the primaries are up
    DISK_FULL = 32  # nothing can be spooled
    ALONE = 64  # there is one primary, and mail is played through to it while it is up
    DELAYED = 128  # the greeting comes after some seconds


class Op(Enum):
    """What happens besides octets, by the octet that stands for it."""

    CUT = "|"  # what comes from here on arrives by itself
    COMMITTED = "+"  # the next commit succeeds
    FULL = "F"  # the next commit fails: the queue is full
    FAILED = "E"  # the next commit fails for another reason
    SHAKEN = "h"  # the client does its part of a TLS handshake
    REFUSED = "H"  # the client fails in it
    PAUSE = "p"  # seconds go by: as many as the octet behind it says
    CHOKE = "c"  # the client reads no more
    BREATHE = "b"  # the client reads again
    STOP = "s"  # the service is told to stop
    LOST = "l"  # the connection is gone
    SILENCE = "w"  # the client stays and says nothing more
    AGAIN = "x"  # what came last comes again, as many times as the octet behind it says
    PRIMARY = "a"  # what the primary does that mail is played through to, by the number of it


OPS = {ord(op.value): op for op in Op}
WITH_NUMBER = {Op.PAUSE, Op.AGAIN, Op.PRIMARY}
LAST = {Op.LOST, Op.SILENCE}
RESULTS = {Op.COMMITTED, Op.FULL, Op.FAILED}
HANDSHAKES = {Op.SHAKEN, Op.REFUSED}


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Event = bytes | Op | Pause | Does


@dataclass(frozen=True, slots=True)
class Script:
    """Octets as they arrive, and between them what else happens. Without one of LAST it ends with the client's EOF."""

    settings: Setting
    events: tuple[Event, ...]

    @classmethod
    def read(cls, data: bytes) -> Script:
        settings = Setting(data[0] & 0xFF) if data else Setting(0)
        return cls(settings, tuple(_bounded(_events(data[1:]))))

    def encode(self) -> bytes:
        """The octets of which this is the script, but for what was left out of them."""
        parts = [bytes([self.settings.value])]
        for event in self.events:
            if isinstance(event, bytes):
                parts.append(event.replace(bytes([MARK]), bytes([MARK, MARK])))
            elif isinstance(event, Pause):
                parts.append(bytes([MARK, ord(Op.PAUSE.value), int(event.seconds)]))
            elif isinstance(event, Does):
                parts.append(bytes([MARK, ord(Op.PRIMARY.value), event.value]))
            else:
                parts.append(bytes([MARK, ord(event.value)]))
        return b"".join(parts)

    @property
    def stream(self) -> tuple[bytes | Op, ...]:
        """What a reference reader needs: all octets, joined, and where a handshake is done."""
        kept = [event for event in self.events if isinstance(event, bytes) or event in HANDSHAKES]
        return tuple(_joined(kept))

    @property
    def results(self) -> list[Op]:
        """What becomes of the commits, in their order."""
        return [event for event in self.events if isinstance(event, Op) and event in RESULTS]

    @property
    def acts(self) -> list[Does]:
        """What the primary does, in that order."""
        return [event for event in self.events if isinstance(event, Does)]

    def calm(self, octets_at_once: int | None) -> Script:
        """The same without whatever is a matter of time, the octets arriving so many at once, or as many as can."""
        events: list[Event] = [*self.results, *self.acts]
        for event in self.stream:
            if isinstance(event, Op) or octets_at_once is None:
                events.append(event)
            else:
                starts = range(0, len(event), octets_at_once)
                events += [event[start : start + octets_at_once] for start in starts]
        return replace(self, events=tuple(events))


def _events(data: bytes) -> Iterable[Event]:
    position, last = 0, b""
    while position < len(data):
        mark = data.find(MARK, position)
        end = len(data) if mark < 0 else mark
        if end > position:
            last = data[position:end]
            yield last
        if mark < 0 or mark + 1 == len(data):
            return
        position = mark + 2
        code = data[mark + 1]
        if code == MARK:
            last = bytes([MARK])
            yield last
            continue
        op = OPS.get(code, Op.CUT)
        number = 1
        if op in WITH_NUMBER:
            number = data[position] if position < len(data) else 1
            position += 1
        if op is Op.PAUSE:
            yield Pause(float(number))
        elif op is Op.PRIMARY:
            yield Does(number % len(Does))
        elif op is Op.AGAIN:
            yield last * number
        else:
            yield op
            if op in LAST:
                return


def _bounded(events: Iterable[Event]) -> Iterable[Event]:
    octets, seconds = MOST_OCTETS, MOST_SECONDS
    for event in _joined(events):
        if isinstance(event, bytes):
            event = event[:octets]
            octets -= len(event)
        elif isinstance(event, Pause):
            event = Pause(min(event.seconds, seconds))
            seconds -= event.seconds
        if event:
            yield event


def _joined(events: Iterable[Event]) -> Iterable[Event]:
    """Octets next to each other are one event."""
    octets: list[bytes] = []
    for event in events:
        if isinstance(event, bytes):
            octets.append(event)
            continue
        if octets:
            yield b"".join(octets)
            octets.clear()
        yield event
    if octets:
        yield b"".join(octets)
