"""What takes time out of an agreement by an operator's word: categories, and annotations that put time under one.

An annotation is never changed. One that was wrong is withdrawn by another, and both stay on record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fallback_mx.sla.intervals import Interval


class Category(StrEnum):
    """The circumstances for which a hosting contract does not answer."""

    BEYOND_CONTROL = "beyond_control"
    DNS = "dns"
    CLIENT_ACCESS = "client_access"
    FALSE_ALARM = "false_alarm"
    CUSTOMER_ACTS = "customer_acts"
    MAIL_DELIVERY = "mail_delivery"
    DNS_PROPAGATION = "dns_propagation"
    INTERNET_ELSEWHERE = "internet_elsewhere"
    CLIENT_HARDWARE = "client_hardware"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Category.BEYOND_CONTROL: "circumstances beyond reasonable control",
    Category.DNS: "DNS outside the provider's control",
    Category.CLIENT_ACCESS: "access problems of FTP, POP, IMAP or SMTP clients",
    Category.FALSE_ALARM: "a false alarm of the measuring system",
    Category.CUSTOMER_ACTS: "the customer's own acts or omissions",
    Category.MAIL_DELIVERY: "delivery of mail as such",
    Category.DNS_PROPAGATION: "DNS propagation",
    Category.INTERNET_ELSEWHERE: "an outage elsewhere on the internet",
    Category.CLIENT_HARDWARE: "the customer's hardware",
}


@dataclass(frozen=True, slots=True)
class Annotation:
    """An operator's word on a time of one primary, with the reason, who gave it and when.

    `withdraws` is the id of an annotation that this one takes back; it then says nothing else of its time.
    """

    id: str
    primary: str
    interval: Interval
    category: Category
    reason: str
    author: str
    at: datetime
    withdraws: str | None = None


def standing(annotations: Iterable[Annotation]) -> tuple[Annotation, ...]:
    """Those that hold: neither withdrawn nor themselves withdrawals, by the time they are of."""
    known = tuple(annotations)
    withdrawn = {one.withdraws for one in known}
    held = (one for one in known if one.withdraws is None and one.id not in withdrawn)
    return tuple(sorted(held, key=lambda one: (one.interval, one.id)))
