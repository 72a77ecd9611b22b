"""What the configuration says was promised of each primary, and the months that are settled by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from fallback_mx.cli.options import config_path

if TYPE_CHECKING:
    from fallback_mx.config import Config
    from fallback_mx.config_problems import Problem
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.settlement.book import SettlementBook
    from fallback_mx.settlement.month import Contract, Month
    from fallback_mx.sla.agreement import Agreement
    from fallback_mx.sla.days import BusinessDay
    from fallback_mx.sla.intervals import Interval
    from fallback_mx.sla.maintenance import Reason
    from mxqueue import Queue


def problems_of_contracts(settings: Config) -> list[Problem]:
    """What is wrong with agreements, regions and countries: a problem for each."""
    from fallback_mx.config_problems import Problem
    from fallback_mx.config_unfit import quoted
    from fallback_mx.settlement.business_days import business_days
    from fallback_mx.sla.flaws import AgreementError

    problems = []
    for index, primary in enumerate(settings.primaries):
        key = f"primary[{index}]"
        try:
            agreement = _agreement(primary.agreement)
        except AgreementError as error:
            problems += [
                Problem(
                    f"{key}.agreement", f"{error.source}: {flaw.key}: {flaw.wrong}".replace(": : ", ": "), flaw.write
                )
                for flaw in error.flaws
            ]
            continue
        if primary.region is not None and primary.region not in agreement.regions:
            known = " or ".join(map(quoted, agreement.regions))
            write = f"write {known}" if known else "take it out"
            problems.append(
                Problem(f"{key}.region", f"{quoted(primary.region)} is no region of {agreement.name}", write)
            )
    for index, customer in enumerate(settings.customers):
        try:
            business_days(customer.country or "")
        except ValueError as error:
            problems.append(
                Problem(f"customer[{index}].country", str(error), 'write "CZ", or "DE-BY" for a part of one')
            )
    return problems


def contract(settings: Config, name: str) -> Contract:
    """Of a primary that is not configured nothing is known: the shipped agreement stands in, without a region.

    Raises ConfigError where the configuration names what is not there.
    """
    from fallback_mx.config_customers import Customer as Configured
    from fallback_mx.settlement.agreements import KERIO_CLOUD
    from fallback_mx.settlement.month import Contract
    from fallback_mx.sla.claims import Customer

    primary = next((one for one in settings.primaries if one.name == name), None)
    whose = "" if primary is None else primary.customer or ""
    told = next((one for one in settings.customers if one.name == whose), None) or Configured(name=whose or "-")
    customer = Customer(whose, told.account or "", frozenset(told.contacts), ZoneInfo(told.time_zone))
    agreement = _agreement(KERIO_CLOUD if primary is None else primary.agreement)
    region = "" if primary is None else primary.region or ""
    return Contract(name, agreement, region, customer, _business_days(told.country or ""))


@cache
def _agreement(name: str) -> Agreement:
    """Read once for the many primaries that share it."""
    from fallback_mx.settlement.agreements import load

    return load(name)


@cache
def _business_days(country: str) -> BusinessDay:
    from fallback_mx.settlement.business_days import business_days

    return business_days(country)


def book_of(store: Queue) -> SettlementBook:
    from fallback_mx.settlement.book import SettlementBook

    return SettlementBook(store.writer.submit, store.read)


def the_primary(settings: Config, name: str) -> str:
    """A configured primary. Raises click.UsageError, which names those that there are."""
    names = [one.name for one in settings.primaries]
    if name not in names:
        raise click.UsageError(f"No primary is called {name}; there are {', '.join(names)}.")
    return name


def months(
    store: Queue, settings: Config, name: str, now: datetime, *, primary: str | None = None, customer: str | None = None
) -> list[Month]:
    """A month of every primary that is meant: of one customer, of one name, otherwise of all that are configured or on
    record. Raises click.UsageError for a month that has not begun, ConfigError, QueueError."""
    from fallback_mx.cli.maintenance_terms import book_of as maintenance_of
    from fallback_mx.config_problems import ConfigError
    from fallback_mx.maintenance.windows import settled_windows
    from fallback_mx.outages.log import OutageLog
    from fallback_mx.settlement.gathering import records
    from fallback_mx.settlement.month import calendar_month, settled

    if problems := problems_of_contracts(settings):
        raise ConfigError(Path(config_path()), problems)
    log = OutageLog(store.writer.submit, store.read, settings.server.hostname)
    names = list(_names(settings, log, name, primary, customer))
    contracts = [contract(settings, each) for each in names]
    if not contracts:
        return []
    periods = [calendar_month(each, name) for each in contracts]
    start, end = min(one.start for one in periods), max(one.end for one in periods)
    if start > now:
        raise click.UsageError(f"--month {name} has not begun.")
    book = book_of(store)
    period = type(periods[0])(start, end)
    windows = settled_windows(maintenance_of(store).entries().result(), names, period)
    unwatched = {each: _why_unknown(log, each, period) for each in names}
    found = records(log, book, names, period, now, windows, unwatched)
    frozen = book.frozen(name).result()
    return [settled(each, name, found[each.primary], now, frozen.get(each.primary, ())) for each in contracts]


def _why_unknown(log: OutageLog, primary: str, period: Interval) -> list[Reason]:
    from fallback_mx.sla.maintenance import Reason

    return [Reason(piece.interval, piece.words) for piece in log.unknown(primary, period).result()]


def _names(settings: Config, log: OutageLog, month: str, primary: str | None, customer: str | None) -> Iterator[str]:
    configured = [one for one in settings.primaries if customer is None or one.customer == customer]
    names = [one.name for one in configured]
    if customer is None:
        names += _on_record(log, month, {one.name for one in settings.primaries})
    yield from (name for name in dict.fromkeys(names) if primary in (None, name))


def _on_record(log: OutageLog, month: str, configured: set[str]) -> Sequence[str]:
    """Primaries that are no longer configured, or came with a history from elsewhere, and were down since then."""
    year, _, number = month.partition("-")
    spans = log.list_spans(since=datetime(int(year), int(number), 1, tzinfo=UTC)).result()
    return [span.primary for span in spans if span.primary not in configured]
