"""What of the records is charged for a month: how many users of each product, and how much storage. Pure."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

from fallback_mx.billing.records import Records, RecordsError
from fallback_mx.billing.tariff import Storage, Tariff
from fallback_mx.billing.users import CountError, counts
from fallback_mx.sla.days import month_of
from fallback_mx.sla.intervals import Interval


def period_of(month: str, zone: ZoneInfo) -> Interval:
    """A month such as "2026-10" by the clock of a time zone."""
    year, _, number = month.partition("-")
    return month_of(int(year), int(number), zone)


def numbers(records: Records, tariff: Tariff, month: str) -> dict[str, int]:
    """By product, the number of users that is charged. Raises RecordsError."""
    try:
        return counts(records.users, records.changes, period_of(month, tariff.zone))
    except CountError as error:
        raise RecordsError([str(error)]) from None


def storage(records: Records, tariff: Tariff, month: str, told: Decimal | None = None) -> list[Decimal]:
    """What is stored, in GB: by each user where the tariff is by user, otherwise by all. Raises RecordsError.

    What was `told` goes before what the file has for the month, and that before what its users store.
    """
    period = period_of(month, tariff.zone)
    of_users = [user.storage_gb for user in records.users if user.storage_gb is not None and user.exists_in(period)]
    if tariff.storage is Storage.PER_USER:
        if told is not None or month in records.storage_gb:
            raise RecordsError(['storage is by user (storage = "per_user"): write storage_gb at each user'])
        return of_users
    whole = told if told is not None else records.storage_gb.get(month)
    return of_users if whole is None else [whole]
