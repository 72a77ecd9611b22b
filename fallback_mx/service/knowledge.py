"""What the service knows of recipients: one book, and for each primary its list, its inquiry and its call-ahead.

The session asks for a `verdict`; deliveries tell `delivered` and `refused`. It belongs to the process that
has the database; accepting processes ask it.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fallback_mx import maillog
from fallback_mx.config import Config, Primary, Server
from fallback_mx.recipients.addresses import POSTMASTER, Address, NoAddress, parse
from fallback_mx.recipients.book import Book
from fallback_mx.recipients.importing import Importer
from fallback_mx.recipients.inquiry import Inquiry
from fallback_mx.recipients.records import refusing
from fallback_mx.recipients.refresh import Refresher
from fallback_mx.rules.disposition import Disposition
from fallback_mx.rules.health import State
from fallback_mx.rules.recipients import Known, Source, UnknownRecipients, Verdict, is_unsure, reply_of, taught
from fallback_mx.service.lists import LoggedLists, has_list, list_source, refresh_settings
from fallback_mx.service.next_hops import destination_of, dial_settings
from fallback_mx.smtp.callahead import TIMEOUTS, CallAhead, CallAheadSettings
from fallback_mx.smtp.dial import Line, open_first
from mxqueue import Queue, QueueError
from mxqueue.model import utc_now

LOOK_SECONDS = 1.0
HOUSEKEEPING_LOOKS = 3600
REFUSING_LOOKS = 60
# Lists are read by few threads: a database that many primaries write to at once is slower for all.
THREADS = 2

_POSTMASTER = Known(Verdict.GOOD, Source.RULE)
_NOTHING = Known(Verdict.UNKNOWN)


def call_ahead(primary: Primary, server: Server) -> CallAhead:
    """Asks this primary, at the pace that its configuration has; by hand, where it has none, at the usual one."""
    route = destination_of(primary, server).route()
    dial = dial_settings(primary, server, TIMEOUTS)

    async def connect() -> Line:
        return await open_first(await route.next_hops(), dial)

    settings = CallAheadSettings()
    if primary.call_ahead_per_minute:
        settings = replace(settings, per_second=primary.call_ahead_per_minute / 60)
    return CallAhead(connect, random.random, settings)


class _Desk:
    """One primary's part."""

    def __init__(self, primary: Primary, server: Server, queue: Queue, book: Book, threads: ThreadPoolExecutor) -> None:
        self.primary = primary
        self.unknown_recipients = UnknownRecipients(primary.unknown_recipients)
        self.has_list = has_list(primary)
        self._call_ahead = call_ahead(primary, server) if primary.call_ahead_per_minute else None
        self.inquiry = Inquiry(primary.name, book, self._call_ahead.ask if self._call_ahead else None, utc_now)
        self._stopping = threading.Event()
        importer = Importer(queue.writer.submit, queue.read, self._stopping.is_set)
        self.refresher = Refresher(
            refresh_settings(primary), list_source(primary), importer, book, threads, LoggedLists(), utc_now
        )
        self.refreshing: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        self._stopping.set()
        if self.refreshing is not None:
            self.refreshing.cancel()
            await asyncio.wait([self.refreshing])
        await self.inquiry.stop()
        if self._call_ahead is not None:
            await self._call_ahead.close()


class Knowledge:
    """Everything that is known of recipients. `state_of` gives a primary's state: it is asked only while it is up."""

    def __init__(
        self,
        queue: Queue,
        state_of: Callable[[str], State],
        on_crash: Callable[[], None],
        on_refusing: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_refusing` hears that `refusing` has changed."""
        self.refusing: frozenset[str] = frozenset()
        self._on_refusing = on_refusing
        self.book = Book(queue.writer.submit, queue.read)
        self._queue = queue
        self._state_of = state_of
        self._on_crash = on_crash
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="recipients")
        self._desks: dict[str, _Desk] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._chore = asyncio.create_task(self._keep())
        self._chore.add_done_callback(self._on_end)

    def configure(self, config: Config) -> None:
        """Make what runs match the configuration; lists whose source stays the same are read again now."""
        wanted = {primary.name: primary for primary in config.primaries}
        self.book.configure({name: primary.recipients_stale_after for name, primary in wanted.items()})
        for name, desk in list(self._desks.items()):
            if wanted.get(name) != desk.primary:
                task = asyncio.create_task(self._desks.pop(name).stop())
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)
            else:
                desk.refresher.wake()
        for name, primary in wanted.items():
            if name not in self._desks:
                self._desks[name] = self._open(primary, config.server)

    def _open(self, primary: Primary, server: Server) -> _Desk:
        desk = _Desk(primary, server, self._queue, self.book, self._threads)
        desk.refreshing = asyncio.create_task(desk.refresher.run())
        desk.refreshing.add_done_callback(self._on_end)
        return desk

    # For the session --------------------------------------------------------------------------------------------

    async def recipient(self, primary: str, forward_path: str, *, waits: bool = True) -> Known:
        """What is known of this recipient. With `waits` the primary, if it is up and may be asked, is given five
        seconds to say; without, it is asked in the background. Raises QueueError: answer 451."""
        if forward_path.lower() == POSTMASTER:
            return _POSTMASTER
        desk, address = self._desks.get(primary), _address(forward_path)
        if desk is None or address is None:
            return _NOTHING
        return await desk.inquiry.known(address, may_ask=self._state_of(primary) is State.UP, waits=waits)

    async def verdict(self, primary: str, forward_path: str, *, waits: bool) -> Verdict | None:
        """The verdict, None where nobody can say now. So it is, too, with a recipient that would be refused for good
        because it is on no list, while there is no list yet, or one that has grown too old to refuse anybody."""
        desk = self._desks.get(primary)
        if desk is None:
            return None
        try:
            known = await self.recipient(primary, forward_path, waits=waits)
        except QueueError:
            return None
        return None if is_unsure(known, desk.unknown_recipients, has_list=desk.has_list) else known.verdict

    # From deliveries --------------------------------------------------------------------------------------------

    def delivered(self, primary: str, forward_path: str) -> None:
        """The primary took mail for this recipient."""
        self._learn(primary, forward_path, Verdict.GOOD)

    def refused(self, primary: str, forward_path: str, reply: str) -> None:
        """The primary refused this recipient for good (held or failed, never suspect), in these words."""
        said = reply_of(reply)
        if said is not None:
            self._learn(primary, forward_path, taught(said, Disposition.FAILED))

    def _learn(self, primary: str, forward_path: str, verdict: Verdict) -> None:
        address = _address(forward_path)
        if address is not None:
            self.book.learn(primary, address, verdict, Source.DELIVERY)
            if verdict is Verdict.BAD:
                self._set_refusing(self.refusing | {primary})

    # Running ----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Write down what was learned, notice what others changed, forget what no longer counts."""
        troubled = False
        looks = 0
        while True:
            if looks:
                await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            try:
                has_changed = await asyncio.wrap_future(self.book.notice())
                await self._write()
                if has_changed or looks % REFUSING_LOOKS == 1:
                    self._set_refusing(await asyncio.wrap_future(self._queue.read(refusing)))
                if looks % HOUSEKEEPING_LOOKS == 0:
                    while await asyncio.wrap_future(self.book.housekeep()) > 0:
                        pass
            except QueueError as error:
                if not troubled:
                    maillog.trouble("knowledge of recipients", str(error), error.advice)
                troubled = True
            else:
                if troubled:
                    maillog.recovered("knowledge of recipients")
                troubled = False

    def _set_refusing(self, primaries: frozenset[str]) -> None:
        if primaries != self.refusing:
            self.refusing = primaries
            self._on_refusing()

    async def _write(self) -> None:
        while self.book.unwritten and await asyncio.wrap_future(self.book.write()) > 0:
            pass

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Neither ends by itself: if one does, whoever supervises the service is to start it anew."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        maillog.crashed("recipients", error)
        self._on_crash()

    async def stop(self) -> None:
        """Stop asking and reading, write down what was learned."""
        self._chore.cancel()
        await asyncio.gather(*(desk.stop() for desk in self._desks.values()), *self._leaving, return_exceptions=True)
        await asyncio.wait([self._chore])
        await asyncio.to_thread(self._threads.shutdown)
        try:
            await self._write()
        except QueueError as error:
            maillog.trouble("knowledge of recipients", str(error), error.advice)


def _address(forward_path: str) -> Address | None:
    """The address, None for one that this program cannot tell from others; it is then not known."""
    try:
        return parse(forward_path)
    except NoAddress:
        return None
