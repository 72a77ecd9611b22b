"""`fallback-mx invoice`, as an operator runs it."""

from __future__ import annotations

import csv
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.history import on_record, span, watch
from tests.fakes.operator import Operator

PRODUCTS = """
[[product]]
name = "mail"
price = "4.00"

[[product]]
name = "chat"
price = "3.00"

[[customer]]
name = "Example"
account = "4711"
"""
USERS = "user,product,created,deleted,storage_gb\n" + "".join(
    [f"m{number},mail,2026-01-01,,1.7\n" for number in range(15)]
    + [f"c{number},chat,2026-01-01,,\n" for number in range(5)]
)
BILL = ("invoice", "--month", "2026-10", "--data", "-")


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path).create()
    made.config.write_text(made.config.read_text() + PRODUCTS)
    return made


def bill(operator: Operator, *words: str, data: str = USERS) -> dict[str, Any]:
    result = operator.run(*BILL, *words, "--json", input=data)
    assert result.exit_code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    return dict(json.loads(line))


def refused(operator: Operator, *words: str, data: str = USERS) -> str:
    result = operator.run(*BILL, *words, input=data)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_a_bill_has_users_discount_storage_and_its_dates(operator: Operator) -> None:
    made = bill(operator, "--customer", "Example")
    assert (made["users"], made["users_with_both"]) == ({"mail": 15, "chat": 5}, 5)
    # 15 × 4.00 + 5 × 3.00 - 5 × 0.70 + (25.5 - 15) × 1.50 = 60 + 15 - 3.50 + 15.75
    assert [line["amount"] for line in made["lines"]] == ["60.00", "15.00", "-3.50", "15.75"]
    assert (made["fees"], made["credit"], made["total"]) == ("87.25", "0.00", "87.25")
    assert (made["bill_date"], made["due_date"]) == ("2026-11-01", "2026-11-22")
    assert made["account"] == {"name": "Example", "account": "4711"}


def test_the_worked_examples_of_users_are_11_and_15(operator: Operator) -> None:
    heading = "at,product,created,deleted\n"
    first = heading + "2026-10-05,mail,10,\n2026-10-05,mail,,5\n2026-10-06,mail,6,\n"
    second = heading + "2026-10-05,mail,10,\n2026-10-05,mail,5,\n2026-10-06,mail,,6\n"
    assert [bill(operator, data=data)["users"]["mail"] for data in (first, second)] == [11, 15]


def test_the_credit_is_of_the_months_fees(operator: Operator) -> None:
    made = bill(operator, "--credit-percent", "5", "--earlier-credit", "2026-09=100")
    # September cost as much as October: all of it is credited, and nothing of this bill is left for October's 5 %.
    assert [(each["month"], each["applied"], each["carried"]) for each in made["credits"]] == [
        ("2026-09", "87.25", "0.00"),
        ("2026-10", "0.00", "4.37"),
    ]
    assert made["total"] == "0.00"
    assert bill(operator, "--credit-percent", "5")["total"] == "82.88"


def test_the_formats_say_the_same(operator: Operator, tmp_path: Path) -> None:
    words = (*BILL, "--credit-percent", "20")
    table = operator.run(*words, input=USERS).stdout
    assert "Credit for 2026-10, 20 % of 87.25\t\t\t-17.45\n" in table
    rows = list(csv.DictReader(io.StringIO(operator.run(*words, "--format", "csv", input=USERS).stdout)))
    total = rows[-1]
    assert (total["item"], total["price"], total["amount"]) == ("To pay until 2026-11-22", "EUR", "69.80")
    page = tmp_path / "bill.html"
    assert operator.run(*words, "--format", "html", "--output", str(page), input=USERS).exit_code == 0
    assert "69.80" in page.read_text()
    assert sum(Decimal(row["amount"]) for row in rows[:4]) == Decimal(rows[4]["amount"])


def test_pdf_is_written_or_piped_where_the_extra_is_installed(operator: Operator, tmp_path: Path) -> None:
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError) as error:
        # The package alone is not enough: it draws with the system's pango.
        pytest.skip(f"no PDF can be made here: {error}")
    file = tmp_path / "bill.pdf"
    result = operator.run(*BILL, "--format", "pdf", "--output", str(file), input=USERS)
    assert (result.exit_code, result.stdout) == (0, f"{file} is written.\n")
    assert file.read_bytes().startswith(b"%PDF-")
    assert operator.run(*BILL, "--format", "pdf", input=USERS).stdout_bytes.startswith(b"%PDF-")


def test_pdf_without_the_extra_says_what_to_install(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = operator.run(*BILL, "--format", "pdf", input=USERS)
    assert result.exit_code == 1
    assert "pip install 'fallback-mx[pdf]'" in result.stderr


def test_prices_and_account_may_stand_in_the_file(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(
        '[account]\nname = "Example Ltd"\n[[product]]\nname = "webmail"\nprice = "1.10"\n'
        '[[user]]\nuser = "ann"\nproduct = "webmail"\n[[storage]]\nmonth = "2026-10"\ngb = 3\n'
    )
    (made,) = operator.json("invoice", "--month", "2026-10", "--data", str(file))
    assert (made["fees"], made["account"]) == ("4.10", {"name": "Example Ltd"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--credit-percent", "101"), "--credit-percent 101 is more than 100."),
        (("--credit-percent", "some"), "--credit-percent 'some' is not a number"),
        (("--credit-percent", "5", "--credit-of", "main"), "do not go together"),
        (("--earlier-credit", "5"), "is not a month and a percentage. Write it as 2026-09=5."),
        (("--earlier-credit", "2026-08=5"), "more than 2 billing cycles ago"),
        (("--customer", "Nobody"), "No customer is called Nobody; there are Example."),
        (("--month", "2099-01"), "--month 2099-01 is not over."),
        (("--storage-gb", "much"), "--storage-gb 'much' is not a number"),
    ],
)
def test_what_was_meant_wrongly_is_code_2(operator: Operator, words: tuple[str, ...], said: str) -> None:
    assert said in refused(operator, *words)


def test_what_is_wrong_with_the_file_is_told_line_by_line(operator: Operator) -> None:
    said = refused(operator, data="user,product,created\nann,mail,soon\n,mail,\n")
    assert "line 2: created 'soon' is not a day or a time" in said
    assert "line 3: user is empty" in said
    assert "'webmail' has no price; there are mail, chat" in refused(operator, data="user,product\nann,webmail\n")


# Credit as it was settled -------------------------------------------------------------------------------------------


def settled(operator: Operator) -> None:
    on_record(operator, span("S1", "2026-10-12 10:00 > 13:00"), watch("W1", "2026-09-20 > 2026-11-10"))
    words = ("--from", "2026-10-12T10:00Z", "--contact", "carol", "--at", "2026-10-13T08:00Z")
    assert operator.run("sla", "reported", "add", "--primary", "main", *words).exit_code == 0


def claimed(operator: Operator) -> None:
    words = ("--from", "2026-10-12T10:00Z", "--to", "2026-10-12T13:00Z", "--contact", "carol", "--account", "4711")
    (claim,) = operator.json("sla", "claim", "add", "--primary", "main", *words, "--at", "2026-10-13T08:00Z")
    assert operator.run("sla", "claim", "decide", str(claim["id"]), "--grant", "--reason", "it was").exit_code == 0


def test_the_credit_of_a_primary_is_as_its_month_was_settled_once_a_claim_was_granted(operator: Operator) -> None:
    settled(operator)
    (credit,) = bill(operator, "--credit-of", "main")["credits"]
    assert (credit["percent"], "no claim was granted" in credit["source"]) == ("0", True)
    claimed(operator)
    (credit,) = bill(operator, "--credit-of", "main")["credits"]
    # 3 hours of 744 are 0.4 %: between 95 and 99.8 % are 5 %.
    assert (credit["percent"], credit["amount"]) == ("5", "4.37")
    assert "main as it is settled now; the month is not closed" in credit["source"]


def test_the_credit_of_a_closed_month_is_as_it_was_closed(operator: Operator) -> None:
    settled(operator)
    claimed(operator)
    assert operator.run("sla", "freeze", "--month", "2026-10", "--primary", "main", "--reason", "done").exit_code == 0
    words = ("--start", "2026-10-12T09:30", "--for", "5h", "--kind", "emergency")
    assert operator.run("maintenance", "add", "main", *words).exit_code == 0
    (credit,) = bill(operator, "--credit-of", "main")["credits"]
    assert (credit["percent"], "as it was closed on" in credit["source"]) == ("5", True)
