"""The bill: each rule with a worked example, from the words of the terms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.billing import telling
from fallback_mx.billing.bill import Fees, Granted, bill, fees, first_of_next
from fallback_mx.billing.charged import numbers, period_of, storage
from fallback_mx.billing.page import html
from fallback_mx.billing.records import Records, RecordsError, read
from fallback_mx.billing.tariff import Product, Storage, Tariff, rounded, rounded_up
from fallback_mx.billing.telling import Invoice
from fallback_mx.billing.users import Change, CountError, User, changes_of, highest

UTC_ZONE = ZoneInfo("UTC")
OCTOBER = period_of("2026-10", UTC_ZONE)
MAIL = Tariff((Product("mail", Decimal("4.00")),))
BOTH = Tariff((Product("mail", Decimal("4.00")), Product("chat", Decimal("3.00"))))


def money(text: str) -> Decimal:
    return Decimal(text)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def changes(*told: tuple[str, int]) -> list[Change]:
    return [Change(moment(at), "mail", number, f"line {line}") for line, (at, number) in enumerate(told, 2)]


def user(created: str | None, deleted: str | None = None, name: str = "a") -> User:
    ends = [None if at is None else moment(at) for at in (created, deleted)]
    return User(name, "mail", ends[0], ends[1])


# Users --------------------------------------------------------------------------------------------------------------


def test_10_created_5_deleted_and_6_created_the_next_day_are_11() -> None:
    # 10, then 5, then 5 + 6 = 11: the highest. Not 16, which is how many were ever created.
    assert highest(changes(("2026-10-05", 10), ("2026-10-05", -5), ("2026-10-06", 6)), OCTOBER) == 11


def test_10_created_5_added_and_6_deleted_the_next_day_are_15() -> None:
    # 10, then 15, then 15 - 6 = 9: 15 is the highest. Not 9, which is how many there are in the end.
    assert highest(changes(("2026-10-05", 10), ("2026-10-05", 5), ("2026-10-06", -6)), OCTOBER) == 15


def test_the_same_two_examples_told_by_the_days_of_each_user() -> None:
    first = [user("2026-10-05", "2026-10-05" if number < 5 else None) for number in range(10)]
    first += [user("2026-10-06") for _ in range(6)]
    assert highest(changes_of(first, OCTOBER.start), OCTOBER) == 11
    second = [user("2026-10-05", "2026-10-06" if number < 6 else None) for number in range(15)]
    assert highest(changes_of(second, OCTOBER.start), OCTOBER) == 15


def test_the_number_is_that_of_a_moment_and_not_of_a_day() -> None:
    # Never more than 10 at once, though 15 different ones existed on that day.
    told = changes(("2026-10-05T09:00", 10), ("2026-10-05T12:00", -5), ("2026-10-05T15:00", 5))
    assert highest(told, OCTOBER) == 10
    # 15 at noon, though 10 in the morning and 10 at night.
    told = changes(("2026-10-05T09:00", 10), ("2026-10-05T12:00", 5), ("2026-10-05T15:00", -5))
    assert highest(told, OCTOBER) == 15


def test_users_from_before_the_month_count_and_those_that_left_before_it_do_not() -> None:
    assert highest(changes(("2026-09-01", 12), ("2026-09-20", -4)), OCTOBER) == 8
    assert highest(changes(("2026-09-01", 12), ("2026-10-20", -4)), OCTOBER) == 12
    assert highest(changes(("2026-09-01", 12), ("2026-11-01", 4)), OCTOBER) == 12


def test_a_user_that_leaves_as_the_month_begins_is_not_in_it() -> None:
    assert highest(changes(("2026-09-01", 12), ("2026-10-01", -4)), OCTOBER) == 8
    assert highest(changes(("2026-09-01", 12), ("2026-10-01", 4), ("2026-10-01", -4)), OCTOBER) == 16


def test_on_one_day_those_that_leave_go_before_those_that_come() -> None:
    users = [user(None, "2026-10-07") for _ in range(5)] + [user("2026-10-07") for _ in range(6)]
    assert highest(changes_of(users, OCTOBER.start), OCTOBER) == 6


def test_a_user_that_comes_and_goes_on_one_day_was_there() -> None:
    assert highest(changes_of([user("2026-10-07", "2026-10-07")], OCTOBER.start), OCTOBER) == 1


def test_more_users_deleted_than_there_were_is_a_mistake_with_its_line() -> None:
    with pytest.raises(CountError, match="line 3: 6 are deleted of 5"):
        highest(changes(("2026-10-05", 5), ("2026-10-06", -6)), OCTOBER)


@given(
    st.lists(
        st.tuples(st.integers(-2000, 2000), st.one_of(st.none(), st.integers(0, 2000))),
        max_size=12,
    )
)
def test_the_highest_number_equals_a_count_hour_by_hour(lives: Sequence[tuple[int, int | None]]) -> None:
    hour = timedelta(hours=1)
    users = [
        User(
            "a",
            "mail",
            OCTOBER.start + begin * hour,
            None if length is None else OCTOBER.start + (begin + length) * hour,
        )
        for begin, length in lives
    ]
    most = 0
    for number in range(OCTOBER.length // hour):
        now = OCTOBER.start + number * hour
        there = sum(
            each.created is not None
            and each.created <= now
            # One that came and went within this moment was there.
            and (each.deleted is None or now < each.deleted or each.created == each.deleted == now)
            for each in users
        )
        most = max(most, there)
    assert highest(changes_of(users, OCTOBER.start), OCTOBER) == most
    assert (most == 0) == (not any(each.exists_in(OCTOBER) for each in users))


def test_months_are_those_of_the_time_zone() -> None:
    late = User("a", "mail", datetime(2026, 9, 30, 22, 30, tzinfo=UTC), None)
    records = Records((User("b", "mail", None, datetime(2026, 9, 30, 22, 30, tzinfo=UTC)), late))
    # Half past midnight of 1 October in Prague.
    prague = Tariff(MAIL.products, zone=ZoneInfo("Europe/Prague"))
    assert numbers(records, prague, "2026-09") == {"mail": 1}
    assert numbers(records, MAIL, "2026-09") == {"mail": 1}
    assert numbers(Records((late,)), prague, "2026-09") == {"mail": 0}
    assert numbers(Records((late,)), MAIL, "2026-09") == {"mail": 1}


# What is counted ----------------------------------------------------------------------------------------------------


def test_inactive_users_count_and_aliases_domains_and_lists_do_not() -> None:
    found = read(
        b"user,kind,active,created\n"
        b"ann,user,yes,2026-01-01\nbob,user,no,2026-01-01\n"
        b"info,alias,yes,2026-01-01\nexample.org,domain,yes,2026-01-01\nall,list,yes,2026-01-01\n",
        UTC_ZONE,
        "mail",
    )
    assert numbers(found, MAIL, "2026-10") == {"mail": 2}


# Discount -----------------------------------------------------------------------------------------------------------


def test_5_users_of_one_product_and_15_of_the_other_are_5_with_the_discount_whoever_they_are() -> None:
    made = fees(BOTH, {"mail": 5, "chat": 15}, [])
    # 5 × 4.00 + 15 × 3.00 - 5 × 10 % of 7.00 = 20.00 + 45.00 - 3.50
    assert (made.with_both, made.total) == (5, money("61.50"))
    assert fees(BOTH, {"mail": 15, "chat": 5}, []).with_both == 5


def test_users_of_one_product_alone_have_no_discount() -> None:
    assert fees(BOTH, {"mail": 5}, []).total == money("20.00")
    assert fees(MAIL, {"mail": 5}, []).total == money("20.00")


# Storage ------------------------------------------------------------------------------------------------------------


def test_what_is_stored_above_1_gb_for_each_user_costs_1_50_a_gb() -> None:
    # 10 users have 10 GB; 27.5 - 10 = 17.5 GB at 1.50 are 26.25.
    made = fees(MAIL, {"mail": 10}, [money("27.5")])
    assert (made.included_gb, made.billed_gb, made.total) == (10, money("17.5"), money("66.25"))
    assert fees(MAIL, {"mail": 10}, [money("10")]).total == money("40.00")


def test_pooled_storage_is_for_all_together_and_by_user_for_each_alone() -> None:
    stored = [money("0.2"), money("2.5")]
    # Together 2.7 of 2 GB; alone 0 and 1.5 GB too much.
    assert fees(MAIL, {"mail": 2}, stored).billed_gb == money("0.7")
    alone = Tariff(MAIL.products, storage=Storage.PER_USER)
    assert fees(alone, {"mail": 2}, stored).billed_gb == money("1.5")


def test_storage_is_what_was_said_of_the_month_otherwise_what_its_users_store() -> None:
    there = User("a", "mail", None, None, money("2"))
    gone = User("b", "mail", None, moment("2026-09-30"), money("50"))
    records = Records((there, gone), storage_gb={"2026-11": money("7")})
    assert storage(records, MAIL, "2026-10") == [2]
    assert storage(records, MAIL, "2026-11") == [7]
    assert storage(records, MAIL, "2026-11", money("9")) == [9]


# Rounding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exact", "half_up", "up"), [("1.005", "1.01", "1.01"), ("1.004", "1.00", "1.01"), ("1", "1", "1")]
)
def test_amounts_are_rounded_half_a_cent_up_and_credits_up(exact: str, half_up: str, up: str) -> None:
    assert (rounded(money(exact)), rounded_up(money(exact))) == (money(half_up), money(up))


def test_each_line_is_rounded_by_itself_and_the_sum_is_that_of_what_is_printed() -> None:
    tariff = Tariff(
        (Product("mail", money("0.335")), Product("chat", money("0.335"))), both_discount_percent=money("0")
    )
    made = fees(tariff, {"mail": 1, "chat": 1}, [])
    assert [line.amount for line in made.lines] == [money("0.34"), money("0.34")]
    assert made.total == money("0.68")


# The bill and the credit --------------------------------------------------------------------------------------------


def of(total: str) -> Fees:
    return fees(Tariff((Product("mail", money(total)),)), {"mail": 1}, [])


def test_a_bill_is_made_at_the_start_of_the_next_month_and_due_in_21_days() -> None:
    made = bill(MAIL, "2026-10", of("100"))
    assert (made.made_on, made.due_on) == (date(2026, 11, 1), date(2026, 11, 22))
    assert first_of_next("2026-12") == date(2027, 1, 1)


def test_the_credit_is_of_the_months_fees_without_taxes_and_the_tax_of_what_is_left() -> None:
    made = bill(
        Tariff(MAIL.products, tax_percent=money("21")),
        "2026-10",
        of("100"),
        [Granted("2026-10", money("5"), money("100"))],
    )
    # 100.00 - 5.00 = 95.00; 21 % of it are 19.95.
    assert (made.credit, made.net, made.tax, made.total) == (5, 95, money("19.95"), money("114.95"))


def test_a_credit_is_never_more_than_the_months_fees() -> None:
    assert Granted("2026-10", money("100"), money("33.33")).amount == money("33.33")
    assert Granted("2026-10", money("300"), money("33.33")).amount == money("33.33")
    # 5 % of 33.33 are 1.6665: rounded up, toward the customer.
    assert Granted("2026-10", money("5"), money("33.33")).amount == money("1.67")


def test_a_credit_that_does_not_fit_goes_on_the_next_bill_and_lapses_there() -> None:
    made = bill(
        MAIL,
        "2026-10",
        of("10"),
        [Granted("2026-10", money("50"), money("10")), Granted("2026-09", money("100"), money("8"))],
    )
    earlier, later = made.credits
    # The one of September comes first, for it has no bill after this: 8.00; of the 5.00 of October 2.00 are left to it.
    assert (earlier.credit.month, earlier.applied, earlier.lapsed) == ("2026-09", 8, 0)
    assert (later.applied, later.carried, later.lapsed, made.total) == (2, 3, 0, 0)
    (last,) = bill(MAIL, "2026-10", of("10"), [Granted("2026-09", money("100"), money("12"))]).credits
    assert (last.applied, last.carried, last.lapsed) == (10, 0, 2)


@pytest.mark.parametrize(
    ("month", "why"), [("2026-08", "more than 2 billing cycles ago"), ("2026-11", "still to come")]
)
def test_a_credit_of_another_time_is_refused(month: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bill(MAIL, "2026-10", of("10"), [Granted(month, money("5"), money("10"))])


AMOUNTS = st.decimals(0, 10_000, places=2)


@given(AMOUNTS, AMOUNTS, st.decimals(0, 100, places=3), st.decimals(0, 100, places=3), st.decimals(0, 100, places=1))
def test_no_bill_is_below_nothing_and_no_cent_of_a_credit_is_lost_sight_of(
    now: Decimal, before: Decimal, percent: Decimal, earlier: Decimal, tax: Decimal
) -> None:
    granted = [Granted("2026-10", percent, rounded(now)), Granted("2026-09", earlier, before)]
    made = bill(Tariff(MAIL.products, tax_percent=tax), "2026-10", of(str(now)), granted)
    assert made.total >= made.net >= 0
    for each in made.credits:
        assert each.applied + each.carried + each.lapsed == each.credit.amount <= each.credit.fees
    assert made.net + made.credit == made.fees.total


# Files --------------------------------------------------------------------------------------------------------------

TOML = b"""
[account]
name = "Example <Ltd>"

[[product]]
name = "mail"
price = 4.10

[[product]]
name = "chat"
price = "3"

[[user]]
user = "ann"
product = ["mail", "chat"]
created = 2026-09-01
storage_gb = 2.5

[[change]]
at = 2026-10-05T09:00:00Z
product = "mail"
created = 10

[[storage]]
month = "2026-11"
gb = 20
"""


def test_a_toml_file_has_users_changes_storage_prices_and_the_account() -> None:
    found = read(TOML, UTC_ZONE, is_toml=True)
    assert [str(product.price) for product in found.products] == ["4.10", "3"]
    assert numbers(found, BOTH, "2026-10") == {"mail": 11, "chat": 1}
    assert storage(found, BOTH, "2026-10") == [money("2.5")]
    assert (found.account, found.storage_gb) == ({"name": "Example <Ltd>"}, {"2026-11": 20})


def test_a_csv_file_may_be_of_changes_and_have_semicolons() -> None:
    found = read(
        b"\xef\xbb\xbfAt;Created;Deleted\r\n2026-10-05;10;\r\n2026-10-05;;5\r\n2026-10-06;6;0\r\n", UTC_ZONE, "mail"
    )
    assert numbers(found, MAIL, "2026-10") == {"mail": 11}


@pytest.mark.parametrize(
    ("octets", "problems"),
    [
        (
            b"",
            ["line 1: there is no column user or at; write user,product,created,deleted or at,product,created,deleted"],
        ),
        (
            b"user,price\nann,4",
            ["line 1: 'price' is no column; write user,product,created,deleted or at,product,created,deleted"],
        ),
        (b"\xff", ["is not UTF-8 text (at octet 0)"]),
        (b"user,product\nann,\n,mail", ["line 2: product is empty", "line 3: user is empty"]),
        (b"user,product,kind\nann,mail,robot", ["line 2: kind 'robot' is none of user, alias, domain, list"]),
        (
            b"user,product,created\nann,mail,soon",
            ["line 2: created 'soon' is not a day or a time, such as 2026-10-05T09:30:00Z"],
        ),
        (
            b"user,product,created,deleted\nann,mail,2026-10-05,2026-10-04",
            ["line 2: it is deleted before it is created"],
        ),
        (b"user,product\nann,mail\nAnn,mail", ["line 3: 'Ann' exists already by line 2"]),
        (
            b"user,product,created,deleted\nann,mail,2026-10-05,2026-10-07\nann,mail,2026-10-06,",
            ["line 3: 'ann' exists already by line 2"],
        ),
        (b"user,product,storage_gb\nann,mail,-1", ["line 2: storage_gb '-1' is not between 0 and 10000000"]),
        (b"user,product,storage_gb\nann,mail,NaN", ["line 2: storage_gb 'NaN' is not between 0 and 10000000"]),
        (
            b"at,product,created,deleted\n2026-10-05,mail,6,5\n2026-10-05,mail,,\n,mail,1,\n2026-10-05,mail,1.5,",
            [
                "line 2: write created or deleted, and a row for each in the order in which it happened",
                "line 3: write created or deleted, and a row for each in the order in which it happened",
                "line 4: at is empty",
                "line 5: created '1.5' is not a whole number",
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_file_is_told_with_its_line(octets: bytes, problems: list[str]) -> None:
    with pytest.raises(RecordsError) as caught:
        read(octets, UTC_ZONE)
    assert list(caught.value.problems) == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[users]]", "users is no table of this file; there are account, change, product, storage, user"),
        ("[user]", "user: write [[user]], once for each"),
        ("account = 1", "account: is not a table of texts"),
        ('[[product]]\nname = "mail"\nprice = "four"', "product[0]: price 'four' is not a number such as 4.50"),
        ('[[storage]]\nmonth = "October"\ngb = 1', "storage[0]: "),
        ('[[user]]\nuser = "ann"\nproduct = "mail"\nborn = 1', "user[0]: born is not known here"),
        ("[[", "is not TOML: "),
    ],
)
def test_all_that_is_wrong_with_a_toml_file_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(RecordsError) as caught:
        read(text.encode(), UTC_ZONE, is_toml=True)
    assert caught.value.problems[0].startswith(problem)


def test_a_user_that_left_and_came_back_is_one_at_a_time() -> None:
    found = read(b"user,product,created,deleted\nann,mail,2026-10-06,\nann,mail,2026-10-01,2026-10-05", UTC_ZONE)
    assert numbers(found, MAIL, "2026-10") == {"mail": 1}


# Faces --------------------------------------------------------------------------------------------------------------


def test_what_a_customer_is_called_is_text_on_the_page_and_no_formula_in_a_spreadsheet() -> None:
    product = Product("=<b>mail</b>", money("4"))
    tariff = Tariff((product,))
    made = Invoice(bill(tariff, "2026-10", fees(tariff, {product.name: 2}, [])), tariff, OCTOBER, {"name": "<script>"})
    page = html(made)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "=&lt;b&gt;mail&lt;/b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert telling.as_csv(made).splitlines()[1] == "2026-10,'=<b>mail</b>,2,4.00,8.00"
