"""The book of recipients: what is known of an address, at once, and what deliveries and call-aheads add to it.

`lookup` answers from memory, or from one short read on a reader's thread: it never blocks an event loop. What is
learned is kept in memory at once and written in batches: at most what the last seconds taught is lost in a crash, and
a lesson is a hint, never mail. Changes that others make (an import, a `forget`) are noticed by `notice`, within the
second that its caller leaves between two calls. Safe to use from any thread. Errors are the queue's (QueueError).
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from fallback_mx.recipients import listed, records
from fallback_mx.recipients.addresses import Address
from fallback_mx.recipients.listed import ListState
from fallback_mx.recipients.records import WHOLE_DOMAIN, Learned
from fallback_mx.rules.recipients import DEFAULT_LIFETIMES, Facts, Known, Lesson, Lifetimes, Source, Verdict, combine
from mxqueue.model import utc_now

T = TypeVar("T")

LESSONS_FROM = (Source.DELIVERY, Source.CALL_AHEAD)
REMEMBERED = 10_000
UNWRITTEN = 10_000
BATCH = 500
STALE_AFTER = timedelta(days=1)
# Lessons of other processes on the same database are seen after this long at the latest.
REMEMBERED_FOR = timedelta(minutes=1)


class Run(Protocol):
    """How the queue runs something on a connection: `queue.writer.submit` and `queue.read`."""

    def __call__(self, op: Callable[[Connection], T], /) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class _Page:
    facts: Facts
    read_at: datetime


_Key = tuple[str, str, str]
_LessonKey = tuple[str, str, str, Source]


class Book:
    """`stale_after` says for each primary how long its list counts without being confirmed."""

    def __init__(
        self,
        submit: Run,
        read: Run,
        *,
        clock: Callable[[], datetime] = utc_now,
        lifetimes: Lifetimes = DEFAULT_LIFETIMES,
        stale_after: Mapping[str, timedelta] | None = None,
    ) -> None:
        self.lifetimes = lifetimes
        self._submit = submit
        self._read = read
        self._clock = clock
        self._stale_after = dict(stale_after or {})
        self._lock = threading.Lock()
        self._pages: OrderedDict[_Key, _Page] = OrderedDict()
        self._unwritten: OrderedDict[_LessonKey, Learned] = OrderedDict()
        self._revisions: dict[str, int] = {}
        self._cleared = 0

    def configure(self, stale_after: Mapping[str, timedelta]) -> None:
        with self._lock:
            self._stale_after = dict(stale_after)
            self._clear()

    # Asking -----------------------------------------------------------------------------------------------------

    def lookup(self, primary: str, address: Address) -> Future[Known]:
        """The verdict on this address, as of now."""
        return _then(self.facts(primary, address), lambda facts: combine(facts, self._clock(), self.lifetimes))

    def facts(self, primary: str, address: Address) -> Future[Facts]:
        """What the verdict is made of."""
        key = (primary, address.domain, address.local)
        now = self._clock()
        with self._lock:
            page = self._pages.get(key)
            if page is not None and abs(now - page.read_at) < REMEMBERED_FOR:
                self._pages.move_to_end(key)
                known: Future[Facts] = Future()
                known.set_result(page.facts)
                return known
            stale_after = self._stale_after.get(primary, STALE_AFTER)
            cleared = self._cleared
        reading = self._read(lambda connection: records.facts(connection, primary, address, stale_after))
        return _then(reading, lambda facts: self._remember(key, facts, now, cleared))

    def _remember(self, key: _Key, facts: Facts, now: datetime, cleared: int) -> Facts:
        primary, domain, local = key
        with self._lock:
            for lesson_key in itertools.product((primary,), (domain,), (local, WHOLE_DOMAIN), LESSONS_FROM):
                if (unwritten := self._unwritten.get(lesson_key)) is not None:
                    facts = _with(facts, unwritten)
            # What was read before a change that has been noticed since is not kept.
            if cleared == self._cleared:
                self._pages[key] = _Page(facts, now)
                while len(self._pages) > REMEMBERED:
                    self._pages.popitem(last=False)
        return facts

    # Learning ---------------------------------------------------------------------------------------------------

    def learn(self, primary: str, address: Address, verdict: Verdict, source: Source) -> None:
        """Note what the primary has said of this address. UNKNOWN teaches nothing."""
        self._note(primary, address.local, address.domain, verdict, source)

    def learn_domain(self, primary: str, domain: str, verdict: Verdict) -> None:
        """Note whether this domain takes any address (CATCH_ALL) or refuses made-up ones (BAD)."""
        self._note(primary, WHOLE_DOMAIN, domain, verdict, Source.CALL_AHEAD)

    def _note(self, primary: str, local: str, domain: str, verdict: Verdict, source: Source) -> None:
        if verdict is Verdict.UNKNOWN:
            return
        learned = Learned(primary, local, domain, Lesson(verdict, source, self._clock()))
        with self._lock:
            self._unwritten[primary, domain, local, source] = learned
            while len(self._unwritten) > UNWRITTEN:
                self._unwritten.popitem(last=False)
            if local == WHOLE_DOMAIN:
                # It concerns every page of the domain: they are read anew.
                self._clear()
            elif (page := self._pages.get((primary, domain, local))) is not None:
                self._pages[primary, domain, local] = replace(page, facts=_with(page.facts, learned))

    @property
    def unwritten(self) -> int:
        """How many lessons wait for `write`."""
        return len(self._unwritten)

    def write(self) -> Future[int]:
        """Write down up to a batch of what was learned; how much is left. On an error all of it is kept."""
        with self._lock:
            batch = list(self._unwritten.items())[:BATCH]
        writing = self._submit(lambda connection: records.learn(connection, [each for _, each in batch]))

        def forget(_: None) -> int:
            with self._lock:
                for key, each in batch:
                    # A newer one may have come while this one was being written.
                    if self._unwritten.get(key) is each:
                        del self._unwritten[key]
                return len(self._unwritten)

        return _then(writing, forget)

    # Others -----------------------------------------------------------------------------------------------------

    def notice(self) -> Future[bool]:
        """See whether others have changed what is known, and if so forget what is in memory."""

        def compare(found: dict[str, int]) -> bool:
            with self._lock:
                has_changed = found != self._revisions
                if has_changed:
                    self._revisions = found
                    self._clear()
                return has_changed

        return _then(self._read(records.revisions), compare)

    def _clear(self) -> None:
        self._pages.clear()
        self._cleared += 1

    def lists(self) -> Future[list[ListState]]:
        """The state of every primary's list."""
        return self._read(listed.list_states)

    def housekeep(self) -> Future[int]:
        """Forget a bounded piece of the lessons that no longer count; how many."""
        before = self._clock() - max(self.lifetimes.positive, self.lifetimes.negative)
        return self._submit(lambda connection: records.forget_lessons(connection, before))


def _with(facts: Facts, learned: Learned) -> Facts:
    """The facts with this lesson in place of an older one from its source."""
    kept = facts.domain_lessons if learned.local == WHOLE_DOMAIN else facts.lessons
    others: Sequence[Lesson] = [one for one in kept if one.source is not learned.lesson.source]
    lessons = (*others, learned.lesson)
    return replace(facts, domain_lessons=lessons) if learned.local == WHOLE_DOMAIN else replace(facts, lessons=lessons)


U = TypeVar("U")


def _then(future: Future[T], step: Callable[[T], U]) -> Future[U]:
    """What `step` makes of the result, once it is there. Errors pass through."""
    result: Future[U] = Future()

    def done(finished: Future[T]) -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            result.set_result(step(finished.result()))
        except BaseException as error:
            result.set_exception(error)

    future.add_done_callback(done)
    return result
