"""A bill as text, as rows and as data. Money is text with two decimals everywhere: no program reads a cent wrongly."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fallback_mx.billing.bill import Applied, Bill
from fallback_mx.billing.tariff import CENT, Tariff
from fallback_mx.sla.intervals import Interval

COLUMNS = ("ITEM", "QUANTITY", "PRICE", "AMOUNT")


@dataclass(frozen=True, slots=True)
class Invoice:
    """A bill and to whom it goes: `account` has name, number, address and the like, as far as they are known."""

    bill: Bill
    tariff: Tariff
    period: Interval
    account: Mapping[str, str]


def money(amount: Decimal) -> str:
    return f"{amount.quantize(CENT):f}"


def plain(value: Decimal) -> str:
    """A quantity or a price as people write it: at least cents where it has any, no more zeros than it needs."""
    if value == value.to_integral_value():
        return f"{value.to_integral_value():f}"
    return money(value) if value == value.quantize(CENT) else f"{value.normalize():f}"


def rows(one: Invoice) -> Iterator[tuple[str, str, str, str]]:
    """What stands on the bill, sums included, under COLUMNS."""
    bill = one.bill
    for line in bill.fees.lines:
        yield line.what, plain(line.quantity), money_or_finer(line.price), money(line.amount)
    yield "Fees", "", "", money(bill.fees.total)
    for each in bill.credits:
        yield credit_words(each), "", "", money(-each.applied)
    if bill.credits:
        yield "Fees after credit", "", "", money(bill.net)
    if bill.tax_percent:
        yield f"Tax, {plain(bill.tax_percent)} %", "", "", money(bill.tax)
    yield f"To pay until {bill.due_on}", "", one.tariff.currency, money(bill.total)


def money_or_finer(price: Decimal) -> str:
    return money(price) if price == price.quantize(CENT) else plain(price)


def credit_words(each: Applied) -> str:
    credit = each.credit
    return f"Credit for {credit.month}, {plain(credit.percent)} % of {money(credit.fees)}"


def notes(one: Invoice) -> Iterator[str]:
    """How each figure comes about, and what becomes of a credit that does not fit on the bill."""
    fees = one.bill.fees
    for line in fees.lines:
        if line.how:
            yield f"{line.what}: {line.how}."
    yield f"Storage: {plain(fees.storage_gb)} GB are used, {plain(fees.included_gb)} GB are included."
    for each in one.bill.credits:
        if each.credit.source:
            yield f"{credit_words(each)}: {each.credit.source}."
        if each.carried:
            yield f"{money(each.carried)} of it go on the next bill, the last one that it can go on."
        if each.lapsed:
            yield f"{money(each.lapsed)} of it lapse: it is not paid out, nor carried beyond two billing cycles."
    yield "Every amount is rounded to the cent by itself, half a cent up; a credit is rounded up."


def data(one: Invoice) -> dict[str, Any]:
    """The bill for programs. Keys are added to and never renamed."""
    bill, fees = one.bill, one.bill.fees
    return {
        "month": bill.month,
        "period_start": _moment(one.period.start),
        "period_end": _moment(one.period.end),
        "bill_date": bill.made_on.isoformat(),
        "due_date": bill.due_on.isoformat(),
        "account": dict(one.account),
        "currency": one.tariff.currency,
        "users": dict(fees.users),
        "users_with_both": fees.with_both,
        "storage_gb": plain(fees.storage_gb),
        "storage_gb_included": plain(fees.included_gb),
        "storage_gb_billed": plain(fees.billed_gb),
        "lines": [
            {
                "item": line.what,
                "quantity": plain(line.quantity),
                "price": money_or_finer(line.price),
                "amount": money(line.amount),
                "how": line.how,
            }
            for line in fees.lines
        ],
        "fees": money(fees.total),
        "credits": [
            {
                "month": each.credit.month,
                "percent": plain(each.credit.percent),
                "fees": money(each.credit.fees),
                "amount": money(each.credit.amount),
                "applied": money(each.applied),
                "carried": money(each.carried),
                "lapsed": money(each.lapsed),
                "source": each.credit.source,
            }
            for each in bill.credits
        ],
        "credit": money(bill.credit),
        "net": money(bill.net),
        "tax_percent": plain(bill.tax_percent),
        "tax": money(bill.tax),
        "total": money(bill.total),
    }


def _moment(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


def as_csv(one: Invoice) -> str:
    """A line for each row of the bill, the month before it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["month", "item", "quantity", "price", "amount"])
    writer.writerows([one.bill.month, *map(_cell, row)] for row in rows(one))
    return written.getvalue()


def _cell(text: str) -> str:
    """Text that a spreadsheet would take for a formula is kept from being one; numbers below zero are numbers."""
    is_number = text.lstrip("-").replace(".", "", 1).isdigit()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) and not is_number else text
