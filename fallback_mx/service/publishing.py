"""What the configuration says of the pages: what each primary is called there, what was promised of it, and to whom.

A file that cannot be read closes nothing but what it speaks of: customers' pages without their tokens, the month
without its agreement. The log says which.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from fallback_mx import maillog
from fallback_mx.config import Config, Primary
from fallback_mx.config_customers import Customer as Told
from fallback_mx.maintenance.book import MaintenanceBook
from fallback_mx.maintenance.windows import settled_windows
from fallback_mx.outages.log import OutageLog
from fallback_mx.published.publication import Publication
from fallback_mx.published.sampler import Sampler
from fallback_mx.published.samples import SampleBook
from fallback_mx.published.terms import Listed, Terms, title
from fallback_mx.published.tokens import ADVICE, read_tokens
from fallback_mx.settlement.agreements import load
from fallback_mx.settlement.business_days import business_days
from fallback_mx.settlement.month import Contract
from fallback_mx.sla.claims import Customer
from fallback_mx.sla.flaws import AgreementError
from fallback_mx.sla.intervals import Interval
from fallback_mx.sla.windows import Window
from mxqueue import Queue, QueueError
from mxqueue.model import utc_now


class Publishing:
    """What is published, and the samples that it wants."""

    def __init__(self, config: Config, queue: Queue, log: OutageLog) -> None:
        self._maintenance = MaintenanceBook(queue.writer.submit, queue.read)
        self._sampler = Sampler(
            queue.count,
            SampleBook(queue.writer.submit, queue.read),
            lambda: [primary.name for primary in self.publication.terms.primaries],
            lambda error: maillog.trouble("samples", str(error), error.advice),
            utc_now,
        )
        self.publication = Publication(queue, log, lambda: self._sampler.latest, self._windows)
        self.configure(config)

    def _windows(self, primaries: Sequence[str], period: Interval) -> Mapping[str, Sequence[Window]]:
        return settled_windows(self._maintenance.entries().result(), primaries, period)

    def configure(self, config: Config) -> None:
        """Other terms hold from now on."""
        self.publication.terms = terms_of(config)

    async def run(self) -> None:
        """Take samples; never returns."""
        await self._sampler.run()

    async def stop(self) -> None:
        """Write the sample in hand, where the database takes it."""
        with contextlib.suppress(QueueError):
            await self._sampler.flush()


def terms_of(config: Config) -> Terms:
    """Reads the files that the configuration names, so it is for the start and for a reload."""
    http = config.http
    listed = tuple(
        Listed(
            primary.name,
            title(primary.name, [each.host for each in primary.next_hosts], number, shows_hosts=http.show_hosts),
            primary.customer or "",
            _contract(primary, config),
        )
        for number, primary in enumerate(config.primaries, 1)
    )
    customers: dict[bytes, str] = {}
    if http.status_tokens_file is not None:
        known = {one.customer for one in listed if one.customer}
        customers, flaws = read_tokens(http.status_tokens_file, known)
        for flaw in flaws:
            maillog.trouble("status tokens", flaw, ADVICE)
    return Terms(http.public_status, http.show_hosts, listed, customers)


def _contract(primary: Primary, config: Config) -> Contract | None:
    whose = primary.customer or ""
    told = next((one for one in config.customers if one.name == whose), None) or Told(name=whose or "-")
    customer = Customer(whose, told.account or "", frozenset(told.contacts), ZoneInfo(told.time_zone))
    try:
        # Nobody claims anything on a page: the holidays of a country matter to claims alone.
        return Contract(primary.name, load(primary.agreement), primary.region or "", customer, business_days(""))
    except AgreementError as error:
        first = f"{error.flaws[0].key}: {error.flaws[0].wrong}".removeprefix(": ")
        maillog.trouble(
            f"agreement of {primary.name}", f"{error.source}: {first}", "fallback-mx config check says more"
        )
        return None
