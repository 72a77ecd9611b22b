"""The queue: what was accepted is here until somebody says, on the record, what became of it.

Every call returns a `concurrent.futures.Future`: `.result()` waits for it, `asyncio.wrap_future` awaits it. A write's
future resolves after its commit has reached stable storage. It fails with a `QueueError` if nothing was written, or if
a lost connection leaves that unknown; of a large edit the pieces before the failure stand (pieces.py).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

from sqlalchemy import Connection

from mxqueue import contents, decisions, edits, intake, leases, past, pieces, takeover, views
from mxqueue.access import Access
from mxqueue.errors import NoSuchMessage
from mxqueue.model import (
    Claim,
    Content,
    Decision,
    Edit,
    Envelope,
    Filter,
    LedgerEvent,
    LedgerRow,
    Message,
    Origin,
    RecipientState,
    RouteCount,
    Settlement,
)
from mxqueue.reading import ReaderSettings
from mxqueue.shape import Cut, Shape
from mxqueue.shape import read as read_shape
from mxqueue.spool import StoredContent


class Queue(Access):
    """A durable mail queue on SQLite or PostgreSQL. Safe to use from any thread; see `open`."""

    def ping(self) -> Future[None]:
        """Whether a transaction can be written: it commits one that changes nothing."""
        return self.writer.submit(edits.ping)

    def new_id(self) -> str:
        """A fresh queue id (a ULID): sorts behind the ids this process made before, while the clock goes forward."""
        return self._ids.new()

    # Mail in ----------------------------------------------------------------------------------------------------

    def accept(self, envelopes: Sequence[Envelope], content: Content) -> Future[tuple[str, ...]]:
        """Store one message for each envelope, all with this content, all or none. Their queue ids.

        `content` is read on the writer's thread and must stay readable until the future is done.
        """
        ids = tuple(envelope.id or self.new_id() for envelope in envelopes)
        work = intake.Acceptance(ids, tuple(envelopes), content, self._clock(), self._node)
        return self.writer.submit_bulk(intake.accept, work, content.size * len(ids))

    def accept_then(
        self, envelopes: Sequence[Envelope], content: Content, then: Callable[[BaseException | None], None]
    ) -> None:
        """As `accept`, for envelopes that have their ids: `then` is called on the writer's thread once that is done,
        with what went wrong or None. It must not raise, and is to be brief: the others wait meanwhile."""
        ids = tuple([envelope.id for envelope in envelopes])
        work = intake.Acceptance(ids, tuple(envelopes), content, self._clock(), self._node)
        self.writer.submit_bulk_then(intake.accept, work, content.size * len(ids), then)

    def take_over(
        self,
        envelopes: Sequence[Envelope],
        content: Content,
        origin: Origin,
        actor: str,
        reason: str,
        *,
        again: bool = False,
    ) -> Future[tuple[str, ...] | None]:
        """Accept a message that was in another queue, or in this one before, as one for each envelope. The new ids.

        None, and nothing was done, where it is here already or has been taken over before; `again` takes it then too.
        """
        ids = tuple(self.new_id() for _ in envelopes)
        work = intake.Acceptance(ids, tuple(envelopes), content, self._clock(), self._node)
        request = takeover.TakeOver(work, origin, actor, reason, again)
        return self.writer.submit_bulk(takeover.take_over, request, content.size * len(ids))

    def is_known(self, origin: Origin) -> Future[bool]:
        """Whether `take_over` would refuse mail of this origin as a double."""
        return self.read(lambda connection: takeover.is_known(connection, origin.key))

    # Mail out ---------------------------------------------------------------------------------------------------

    def claim(
        self, route: str, owner: str, limit: int = 100, lease: timedelta = timedelta(minutes=10)
    ) -> Future[list[Claim]]:
        """Lease up to `limit` messages of this route that are due, oldest first, its recipients' domains in turn."""
        now = self._clock()
        request = leases.ClaimRequest(route, f"{self._node}/{owner}", limit, now, now + lease, self.new_id())
        return self.writer.submit(lambda connection: leases.claim(connection, request, self._turns))

    def claim_aged(
        self, route: str, before: datetime, owner: str, limit: int = 100, lease: timedelta = timedelta(minutes=10)
    ) -> Future[list[Claim]]:
        """Lease up to `limit` messages of this route that arrived before `before` and still wait, due or not."""
        now = self._clock()
        request = leases.ClaimRequest(route, f"{self._node}/{owner}", limit, now, now + lease, self.new_id())
        return self.writer.submit(lambda connection: leases.claim_aged(connection, request, before))

    def settle(self, settlements: Sequence[Settlement]) -> Future[list[tuple[str, int]]]:
        """Write down what became of claims. The (queue id, position) pairs refused because the lease was lost."""
        return self.writer.submit_bulk(leases.settle, leases.SettleRequest(settlements, self._clock(), self._node))

    def give_back(self, claims: Sequence[Claim]) -> Future[None]:
        """End leases without an attempt: the recipients are due as they were."""
        return self.writer.submit(lambda connection: leases.give_back(connection, claims))

    def extend(self, claim: Claim, lease: timedelta) -> Future[bool]:
        """Let this lease run for `lease` from now. False where it is no longer ours."""
        until = self._clock() + lease
        return self.writer.submit(lambda connection: leases.extend(connection, claim, until))

    def flush(self, route: str) -> Future[int]:
        """Make all that is pending on this route due now; the number of recipients that were not."""
        now = self._clock()
        return self._total(
            lambda connection: edits.find_waiting(connection, route, now),
            lambda connection, ids: edits.flush(connection, route, now, ids),
        )

    def next_due(self, route: str) -> Future[datetime | None]:
        """When the next recipient of this route is due, None if none is pending and free."""
        now = self._clock()
        return self.read(lambda connection: views.next_due(connection, route, now))

    def content(self, message_id: str) -> Future[StoredContent]:
        """A message's content. Raises NoSuchMessage where there is no message, or its content is gone."""
        return self._aside(contents.find, self._read_engine, message_id)

    def contents(self, message_ids: Sequence[str]) -> Future[dict[str, StoredContent]]:
        """The contents of several messages at once, the small ones already in memory. Damage shows when one is read.

        Raises NoSuchMessage where one of the messages does not exist.
        """
        return self._aside(contents.find_all, self._read_engine, message_ids)

    @property
    def reader(self) -> ReaderSettings | None:
        """How another process of this service reads contents by itself; None for a database server."""
        if self.path is None:
            return None
        return ReaderSettings(str(self.path), contents.statements(self._read_engine))

    # Looking ----------------------------------------------------------------------------------------------------

    def list(
        self, wanted: Filter | None = None, limit: int | None = None, after: str | None = None
    ) -> Future[builtins.list[Message]]:
        """Messages with a recipient that matches, in order of arrival; `after` is the last id of the page before."""
        return self.read(lambda connection: views.list_messages(connection, wanted or Filter(), limit, after))

    def matching(self, wanted: Filter, ids: Sequence[str]) -> Future[dict[str, frozenset[int]]]:
        """Which recipients match, by position, of messages that `list` has found for this filter."""
        return self.read(lambda connection: views.matching_positions(connection, wanted, ids))

    def show(self, message_id: str) -> Future[tuple[Message, builtins.list[LedgerRow]]]:
        """One message and its story. Raises NoSuchMessage."""

        def op(connection: Connection) -> tuple[Message, builtins.list[LedgerRow]]:
            found = views.load_messages(connection, [message_id])
            if not found:
                raise NoSuchMessage(f"{message_id}: no such message")
            return found[0], past.ledger_rows(connection, message_id)

        return self.read(op)

    def count(self) -> Future[builtins.list[RouteCount]]:
        """What waits, by route and live state."""
        return self.read(views.count)

    def shape(self, cut: Cut | None = None) -> Future[Shape]:
        """What waits, by domain and in classes of age that double."""
        now = self._clock()
        return self.read(lambda connection: read_shape(connection, cut or Cut(), now))

    def past(self, message_id: str) -> Future[builtins.list[LedgerRow]]:
        """All that the ledger has of a message, also of one that is gone; nothing where it has none."""
        return self.read(lambda connection: past.ledger_rows(connection, message_id))

    def past_of(
        self, recipient: str, since: datetime | None = None, limit: int = 100, after: str | None = None
    ) -> Future[builtins.list[LedgerRow]]:
        """What the ledger has of this recipient's mail, message by message in order of arrival, up to `limit` messages.

        `since` leaves out what arrived earlier; `after` is the last message of the page before.
        """

        def op(connection: Connection) -> builtins.list[LedgerRow]:
            ids = past.messages_to(connection, recipient, since, limit, after)
            return past.ledger_rows_to(connection, ids, recipient)

        return self.read(op)

    # Edits ------------------------------------------------------------------------------------------------------

    def hold(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Keep what matches from being delivered until it is released."""
        return self._edit(edits.HOLD, wanted, actor, reason)

    def release(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Let what is held and matches go on, due at once."""
        return self._edit(edits.RELEASE, wanted, actor, reason)

    def retry(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Make what is pending and matches due now."""
        return self._edit(edits.RETRY, wanted, actor, reason)

    def redeliver(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """Let what was delivered, is still kept and matches be delivered once more, due at once."""
        return self._edit(edits.REDELIVER, wanted, actor, reason)

    def remove(self, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        """End what matches without delivery. The content goes, the ledger stays."""
        return self._edit(edits.REMOVE, wanted, actor, reason)

    def note_export(self, ids: Sequence[str], actor: str, detail: str) -> Future[None]:
        """Have it on record that these messages were exported."""
        now, wanted = self._clock(), list(ids)
        return self.writer.submit(
            lambda connection: edits.note(connection, wanted, LedgerEvent.EXPORTED, detail, actor, now, self._node)
        )

    def decide(self, decision: Decision, actor: str) -> Future[bool]:
        """Give up, or hold, recipients of one message that wait or are held, with the report that tells of it.

        False, and nothing has happened, where one of them no longer does or is being delivered at this moment.
        """
        request = decisions.Request(decision, actor, self._clock(), self._node)
        return self.writer.submit(lambda connection: decisions.decide(connection, request))

    def _edit(self, change: edits.Change, wanted: Filter, actor: str, reason: str) -> Future[Edit]:
        request = edits.EditRequest(change, wanted, actor, reason, self._clock(), self._node)

        def job() -> Edit:
            done = pieces.change(
                self._read_engine,
                self.writer,
                lambda connection: edits.find_edited(connection, request),
                lambda connection, ids: edits.edit(connection, request, ids),
            )
            return Edit(
                tuple(id for each in done for id in each.changed), tuple(id for each in done for id in each.busy)
            )

        return self._aside(job)

    def expire(self, route: str, before: datetime, state: RecipientState, reason: str) -> Future[int]:
        """End (EXPIRED) or keep (HELD) what arrived before `before` and is still pending. Recipients changed."""
        request = edits.ExpireRequest(route, before, state, reason, self._clock(), self._node)
        return self._total(
            lambda connection: edits.find_aged(connection, request),
            lambda connection, ids: edits.expire(connection, request, ids),
        )

    def _total(
        self, find: Callable[[Connection], builtins.list[str]], apply: Callable[[Connection, builtins.list[str]], int]
    ) -> Future[int]:
        return self._aside(lambda: sum(pieces.change(self._read_engine, self.writer, find, apply)))

    def housekeep(self) -> Future[int]:
        """Forget what is older than the ledger's retention, and content that was kept for long enough: a bounded piece
        of it. How much was forgotten."""
        now = self._clock()
        before = now - self._ledger_retention

        def op(connection: Connection) -> int:
            return edits.drop_kept(connection, now, self._node) + edits.purge(connection, before)

        return self.writer.submit(op)
