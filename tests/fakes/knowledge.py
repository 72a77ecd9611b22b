"""Books of recipients on a real database, and lists to fill them with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fallback_mx.recipients.addresses import parse
from fallback_mx.recipients.book import Book
from fallback_mx.recipients.importing import Imported, Importer, Order
from fallback_mx.recipients.schema import MIGRATIONS
from fallback_mx.recipients.sources import Copy
from fallback_mx.rules.recipients import Known
from mxqueue import Queue
from mxqueue.migrate import QUEUE
from tests.fakes.clock import Clock

DOMAINS = frozenset({"example.org", "example.net"})


@dataclass(frozen=True)
class GivenSource:
    """A source that is there already."""

    octets: bytes
    origin: str = "given"

    def copy(self, into: Copy) -> None:
        into.write(self.octets)


TABLES = (QUEUE, MIGRATIONS)


class Library:
    """A queue's database and what is known of recipients in it."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.queue = Queue.open(url, node="mx2", exclusive=True, migrations=TABLES)
        self.book = self.other_book()
        self.importer = Importer(self.queue.writer.submit, self.queue.read)

    def other_book(self) -> Book:
        return Book(self.queue.writer.submit, self.queue.read, clock=self.clock)

    def take(self, addresses: Iterable[str], *, primary: str = "main", force: bool = False) -> Imported:
        text = "".join(f"{address}\n" for address in addresses)
        return self.importer.take(GivenSource(text.encode()), self.order(primary, force))

    def order(self, primary: str = "main", force: bool = False, now: datetime | None = None) -> Order:
        return Order(primary, DOMAINS, now or self.clock(), force)

    def known(self, address: str, primary: str = "main", book: Book | None = None) -> Known:
        return (book or self.book).lookup(primary, parse(address)).result(30)

    def verdict(self, address: str, primary: str = "main", book: Book | None = None) -> str:
        return self.known(address, primary, book).verdict.value

    def notice(self) -> None:
        self.book.notice().result(30)
