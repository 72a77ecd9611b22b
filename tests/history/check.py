"""Whether a history keeps the first promise: what was answered with 250 arrives, as it was sent, once and in order.

- **lost**: a recipient of a message that was answered with 250 neither arrived nor waits in the queue. Where the 250
  was the primary's own, handed on, it must have arrived.
- **invented**: something arrived that nobody sent: no such try, no such recipient, a try whose content never left
  whole, or one that was refused.
- **mangled**: the content below the trace line is not, octet for octet, what was sent.
- **doubled**: a recipient's copy came again without a reason. There are two. The primary's reply to the copy before was
  lost: it was never written, or the connection ended and nothing after it shows that it was read. Or the service was
  killed after the copy before, and nothing on record said by then that it was delivered; one kill excuses no more
  messages than may be without a record at a time. Nothing excuses a copy that comes after the record of a delivery,
  or the same try under two ids.
- **unexplained**: a copy came again because of a lost reply, and the ledger does not say *ambiguous*.
- **disordered**: of the messages of one sender, each sent after the one before was answered, the one accepted first is
  offered to the primary first. Only those overtake it that find it put off (it waits for its retry) or in hand on
  another connection, each of which has two at most, one on the wire and one announced.
  Nothing is said of what is played through, up to the moment where it fails and is queued.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from tests.history.record import History

# What carrier.py lets be unsettled (MOST_UNSETTLED, or twice the connections), and on each connection one that is being
# answered and one that was answered last.
MOST_UNSETTLED = 40

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}: {self.detail}"


def violations(history: History) -> list[Violation]:
    return [*_lost(history), *_invented(history), *_doubled(history), *_disordered(history)]


def _lost(history: History) -> Iterator[Violation]:
    ours = {(copy.queue_id, copy.forward_path) for copy in history.copies} | history.waiting
    taken = {(copy.reverse_path, copy.forward_path) for copy in history.copies}
    for each in history.tries:
        for path in each.forward_paths if each.is_answered else ():
            key = (each.queue_id, path)
            is_there = key in ours if each.queue_id else (each.reverse_path, path) in taken
            if not is_there:
                yield Violation("lost", each.reverse_path, f"answered {each.reply!r}, and {path} has nothing")


def _invented(history: History) -> Iterator[Violation]:
    tries = {each.reverse_path: each for each in history.tries}
    for copy in history.copies:
        sent = tries.get(copy.reverse_path)
        if sent is None:
            yield Violation("invented", copy.reverse_path, f"arrived as {copy.queue_id}, and nobody sent it")
        elif copy.forward_path not in sent.forward_paths:
            yield Violation("invented", copy.reverse_path, f"arrived for {copy.forward_path}, whom nobody named")
        elif sent.dotted_at is None:
            yield Violation("invented", copy.reverse_path, "arrived, and its content never left its sender whole")
        elif not sent.is_answered and not sent.is_lost:
            yield Violation("invented", copy.reverse_path, f"arrived, and was refused with {sent.reply!r}")
        elif copy.digest != sent.digest:
            yield Violation("mangled", copy.reverse_path, f"sent as {sent.digest}, arrived as {copy.digest}")


# Second copies -----------------------------------------------------------------------------------------------------


def _doubled(history: History) -> Iterator[Violation]:
    yield from _stored_twice(history)
    last_on = {copy.connection: copy.at for copy in sorted(history.copies, key=lambda copy: copy.at)}
    cut = {each.connection for each in history.cuts}
    opened = {opening.connection: opening.at for opening in history.openings}
    events = _grouped([((entry.queue_id, entry.forward_path, entry.event), entry.at) for entry in history.ledger])
    kills = sorted(history.kills)
    excused: defaultdict[float, set[str]] = defaultdict(set)
    units = _grouped([((copy.queue_id, copy.forward_path), copy) for copy in history.copies])
    for (queue_id, path), copies in units.items():
        delivered = min(events.get((queue_id, path, "delivered"), ()), default=float("inf"))
        ambiguous = events.get((queue_id, path, "ambiguous"), ())
        for before, after in pairwise(sorted(copies, key=lambda copy: copy.at)):
            what = f"{before.reverse_path} for {path} ({queue_id})"
            at = bisect_left(kills, opened[before.connection])
            kill = kills[at] if at < len(kills) and kills[at] <= opened[after.connection] else None
            is_lost = not before.said or (before.connection in cut and last_on[before.connection] == before.at)
            if delivered < after.at:
                yield Violation(
                    "doubled", what, f"came again {after.at - delivered:.3f} s after its delivery was on record"
                )
            elif kill is not None and delivered > kill:
                excused[kill].add(queue_id)
            elif not is_lost:
                yield Violation("doubled", what, "no reply was lost, and nobody was killed in between")
            elif not any(before.at <= moment <= after.at for moment in ambiguous):
                yield Violation("unexplained", what, "came again for a lost reply that the ledger does not know of")
    most = max(MOST_UNSETTLED, 2 * history.connections) + 2 * history.connections
    for kill, ids in excused.items():
        if len(ids) > most:
            yield Violation(
                "doubled", f"the kill at {kill:.3f}", f"{len(ids)} messages came again, expected {most} at most"
            )


def _stored_twice(history: History) -> Iterator[Violation]:
    ids = _grouped([(copy.reverse_path, copy.queue_id) for copy in history.copies])
    for reverse_path, found in ids.items():
        if len(set(found)) > 1:
            yield Violation("doubled", reverse_path, f"sent once and arrived under {len(set(found))} ids")


# Order -------------------------------------------------------------------------------------------------------------


def _disordered(history: History) -> Iterator[Violation]:
    offers = _grouped([(offer.reverse_path, offer.at) for offer in history.offers])
    put_off = {entry.queue_id for entry in history.ledger if entry.event in ("deferred", "ambiguous")}
    room = 2 * (history.connections - 1)
    for sender, tries in _grouped([(each.sender, each) for each in history.tries if each.queue_id]).items():
        earlier: list[float] = []  # when those that were accepted before were offered
        for each in sorted(tries, key=lambda each: each.number):
            # What came before its final dot was being played through.
            since = each.dotted_at or 0.0
            at = min((at for at in offers.get(each.reverse_path, ()) if at >= since), default=float("inf"))
            overtaken = len(earlier) - bisect_right(earlier, at)
            if overtaken > room:
                detail = f"offered before {overtaken} that sender {sender} had sent earlier, expected {room} at most"
                yield Violation("disordered", each.reverse_path, detail)
            if each.queue_id not in put_off:
                insort(earlier, at)


def _grouped(pairs: Sequence[tuple[K, T]]) -> dict[K, list[T]]:
    groups: defaultdict[K, list[T]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups
