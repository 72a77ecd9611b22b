"""The queue in memory, as plainly as it can be said: what the real one must be equal to after every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mxqueue import LIVE_STATES, Claim, LedgerEvent, Outcome, RecipientState, Settlement

EVENTS = {
    RecipientState.PENDING: LedgerEvent.DEFERRED,
    RecipientState.HELD: LedgerEvent.HELD,
    RecipientState.DELIVERED: LedgerEvent.DELIVERED,
    RecipientState.FAILED: LedgerEvent.FAILED,
    RecipientState.EXPIRED: LedgerEvent.EXPIRED,
    RecipientState.REMOVED: LedgerEvent.REMOVED,
}


@dataclass
class Row:
    """One recipient."""

    key: tuple[str, int]
    path: str
    route: str
    arrived_at: datetime
    not_before: datetime
    waits_since: datetime
    state: RecipientState = RecipientState.PENDING
    attempts: int = 0
    last_reply: str = ""
    token: str | None = None
    until: datetime | None = None
    story: list[LedgerEvent] = field(default_factory=lambda: [LedgerEvent.ACCEPTED])

    def is_free(self, now: datetime) -> bool:
        return self.until is None or self.until <= now

    def end_lease(self) -> None:
        self.token = self.until = None


class ModelQueue:
    """Rows and contents. Every method does what the queue's method of that name promises."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], Row] = {}
        self.contents: dict[str, bytes] = {}
        self.kept: dict[str, datetime] = {}

    def accept(self, queue_id: str, paths: Iterable[str], route: str, content: bytes, now: datetime) -> None:
        self.contents[queue_id] = content
        for position, path in enumerate(paths):
            key = (queue_id, position)
            self.rows[key] = Row(key, path, route, now, now, now)

    def of(self, queue_id: str) -> list[Row]:
        return [row for key, row in self.rows.items() if key[0] == queue_id]

    def live(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state in LIVE_STATES]

    def pending(self, route: str) -> list[Row]:
        return [row for row in self.rows.values() if row.state is RecipientState.PENDING and row.route == route]

    def due(self, route: str, now: datetime) -> list[Row]:
        free = [row for row in self.pending(route) if row.not_before <= now and row.is_free(now)]
        return sorted(free, key=lambda row: (row.not_before, row.key[0]))

    def claim(self, route: str, limit: int, now: datetime) -> list[tuple[str, int]]:
        """The recipients that a claim must bring, message after message."""
        due = self.due(route, now)
        # The first of each domain, then the second of each, and so on.
        ranks: dict[tuple[str, int], int] = {}
        so_far: Counter[str] = Counter()
        for row in due:
            domain = row.path.rpartition("@")[2]
            ranks[row.key] = so_far[domain]
            so_far[domain] += 1
        in_turn = sorted(due, key=lambda row: (ranks[row.key], row.not_before, row.key[0]))
        ids = dict.fromkeys(row.key[0] for row in in_turn[:limit])
        return [key for queue_id in ids for key in sorted(row.key for row in due if row.key[0] == queue_id)]

    def lease(self, claims: list[Claim]) -> None:
        for claim in claims:
            for each in claim.message.recipients:
                row = self.rows[(claim.message.id, each.position)]
                row.token, row.until = claim.token, claim.until

    def owned(self, claim: Claim) -> list[Row]:
        keys = [(claim.message.id, each.position) for each in claim.message.recipients]
        return [self.rows[key] for key in keys if self.rows[key].token == claim.token]

    def settle(self, settlement: Settlement) -> list[tuple[str, int]]:
        refused = []
        for position, outcome in settlement.outcomes.items():
            row = self.rows[(settlement.claim.message.id, position)]
            if row.token == settlement.claim.token:
                self._attempted(row, outcome)
            else:
                row.story.append(LedgerEvent.REFUSED)
                refused.append(row.key)
        return refused

    def _attempted(self, row: Row, outcome: Outcome) -> None:
        row.state, row.last_reply = outcome.state, outcome.reply
        row.attempts += outcome.counts
        row.not_before = outcome.not_before or row.not_before
        row.end_lease()
        row.story.append(LedgerEvent.AMBIGUOUS if outcome.ambiguous else EVENTS[outcome.state])
        if outcome.keep_until is not None:
            self.kept[row.key[0]] = max(outcome.keep_until, self.kept.get(row.key[0], outcome.keep_until))
            row.story.append(LedgerEvent.KEPT)

    def give_back(self, claim: Claim) -> None:
        for row in self.owned(claim):
            row.end_lease()

    def extend(self, claim: Claim, until: datetime) -> bool:
        owned = self.owned(claim)
        for row in owned:
            row.until = until
        return bool(owned)

    def flush(self, route: str, now: datetime) -> int:
        waiting = [row for row in self.pending(route) if row.not_before > now]
        for row in waiting:
            row.not_before = min(row.waits_since, now)
        return len(waiting)

    def edit(self, what: str, wanted: Callable[[Row], bool], now: datetime) -> tuple[list[str], list[str]]:
        """Hold, release, retry or remove; the ids changed and those that were busy."""
        sources, target, event = EDITS[what]
        rows = [row for row in self.rows.values() if row.state in sources and wanted(row)]
        if what == "redeliver":
            rows = [row for row in rows if row.key[0] in self.kept and self.kept[row.key[0]] > now]
        busy = sorted({row.key[0] for row in rows if not row.is_free(now)})
        free = [row for row in rows if row.key[0] not in busy]
        for row in free:
            row.state = target
            row.end_lease()
            row.story.append(event)
            if what in ("release", "retry", "redeliver"):
                row.not_before = min(row.waits_since, now)
            if what == "redeliver":
                row.waits_since = now
        return sorted({row.key[0] for row in free}), busy

    def expire(self, route: str, before: datetime, state: RecipientState, reason: str, now: datetime) -> int:
        aged = [row for row in self.pending(route) if row.waits_since < before and row.is_free(now)]
        for row in aged:
            row.state = state
            row.last_reply = row.last_reply or reason
            row.end_lease()
            row.story.append(EVENTS[state])
        return len(aged)

    def housekeep(self, now: datetime) -> int:
        """Content whose time is over goes, unless it is needed still."""
        over = [queue_id for queue_id, until in self.kept.items() if until <= now]
        for queue_id in over:
            del self.kept[queue_id]
            if not any(row.state in LIVE_STATES for row in self.of(queue_id)):
                for row in self.of(queue_id):
                    if row.state is RecipientState.DELIVERED:
                        row.story.append(LedgerEvent.FORGOTTEN)
        return len(over)

    def next_due(self, route: str, now: datetime) -> datetime | None:
        return min((row.not_before for row in self.pending(route) if row.is_free(now)), default=None)

    def end_all_leases(self) -> None:
        for row in self.rows.values():
            row.end_lease()

    def oldest(self, rows: Iterable[Row]) -> datetime:
        return min(row.arrived_at for row in rows)


HELD, PENDING, REMOVED = RecipientState.HELD, RecipientState.PENDING, RecipientState.REMOVED
DELIVERED = RecipientState.DELIVERED
EDITS = {
    "hold": ({PENDING}, HELD, LedgerEvent.HELD),
    "release": ({HELD}, PENDING, LedgerEvent.RELEASED),
    "retry": ({PENDING}, PENDING, LedgerEvent.RETRIED),
    "redeliver": ({DELIVERED}, PENDING, LedgerEvent.REDELIVERED),
    "remove": ({PENDING, HELD}, REMOVED, LedgerEvent.REMOVED),
}
LEASE = timedelta(minutes=10)
