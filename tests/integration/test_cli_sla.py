"""`fallback-mx sla …` and `outage import|export` on a real database, as an operator runs them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fallback_mx.outages.gaps import Cause
from tests.fakes.history import gap, on_record, span, watch
from tests.fakes.operator import Operator

OCTOBER = ("sla", "report", "--month", "2026-10")
CUSTOMER = """
[[customer]]
name = "Example"
account = "4711"
contacts = ["carol@example.org"]
country = "CZ"
time_zone = "Europe/Prague"
"""


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """`main` was down on Thursday, 8 October 2026, from 20:30 to 22:30, half an hour of that in its weekly window."""
    made = Operator(tmp_path).create()
    text = made.config.read_text()
    text = text.replace('host = "192.0.2.25"\n', 'host = "192.0.2.25"\nregion = "cloud/EU"\ncustomer = "Example"\n')
    made.config.write_text(text + CUSTOMER)
    on_record(
        made,
        span("S1", "2026-10-08 20:30 > 22:30"),
        watch("W1", "2026-09-20 > 2026-11-10"),
        watch("W2", "2026-09-20 > 2026-11-10", "other"),
    )
    return made


def of(operator: Operator, primary: str, *words: str) -> dict[str, Any]:
    (line,) = operator.json(*OCTOBER, "--primary", primary, *words)
    return line


def reported(operator: Operator) -> None:
    words = ("--from", "2026-10-08T21:30Z", "--contact", "carol@example.org", "--at", "2026-10-09T08:00Z")
    assert operator.run("sla", "reported", "add", "--primary", "main", *words).exit_code == 0


# The report -----------------------------------------------------------------------------------------------------


def test_the_report_has_a_line_for_each_primary_with_every_promised_field(operator: Operator) -> None:
    main, other = operator.json(*OCTOBER)
    assert (main["primary"], other["primary"]) == ("main", "other")
    assert (main["period_start"], main["period_end"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    # Five Thursdays of an hour; 90 of the 120 minutes lie outside of them.
    assert main["seconds"] == {
        "total": 2678400,
        "up": 2655000,
        "down": 5400,
        "maintenance": 18000,
        "excluded": 0,
        "unknown": 0,
        "counted": 0,
        "month": 2678400,
    }
    # 5,400 ÷ 2,678,400 = 0.201612…%
    assert (main["uptime_percent"], main["uptime_percent_settled"]) == (99.798387, 100)
    assert (main["allowance_minutes"], main["breach"], main["credit_percent"]) == (86.4, False, 0)
    assert (main["breach_raw"], main["credit_percent_raw"], main["insufficient_data"]) == (True, 5, False)


def test_downtime_that_was_reported_in_time_is_settled(operator: Operator) -> None:
    reported(operator)
    main = of(operator, "main")
    assert (main["uptime_percent_settled"], main["breach"], main["credit_percent"]) == (99.798387, True, 5)


def test_time_that_nobody_watched_leaves_the_report_open(operator: Operator) -> None:
    on_record(operator, watch("W1", "2026-10-08 > 2026-11-10"))
    main = of(operator, "main")
    assert (main["seconds"]["unknown"], main["insufficient_data"]) == (7 * 86400 - 3600, True)
    assert main["uptime_percent_lowest"] < 80


def test_a_customer_gets_a_report_of_its_own(operator: Operator) -> None:
    (line,) = operator.json(*OCTOBER, "--customer", "Example")
    assert (line["primary"], line["customer"]) == ("main", "Example")
    result = operator.run(*OCTOBER, "--customer", "Nobody")
    assert (result.exit_code, result.stderr) == (3, "fallback-mx: no primary is of Nobody\n")


def test_the_table_says_what_nobody_reported(operator: Operator) -> None:
    output = operator.run(*OCTOBER).stdout.splitlines()
    row = ["main", "99.798387 %", "100.000000 %", "5,400 s", "0 s", "86.4 min", "no", "0 %", "yes"]
    assert output[2].split("\t") == row
    assert output[-1] == "main: 5,400 s that nobody reported in time; with it credit were 5 %."


def test_csv_has_a_row_for_each_primary(operator: Operator) -> None:
    rows = list(csv.DictReader(io.StringIO(operator.run(*OCTOBER, "--format", "csv").stdout)))
    assert [(row["primary"], row["seconds_down"], row["breach_raw"]) for row in rows] == [
        ("main", "5400", "true"),
        ("other", "0", "false"),
    ]


def test_a_name_in_csv_is_no_formula(operator: Operator) -> None:
    operator.config.write_text(operator.config.read_text().replace('"Example"', '"=1+1"'))
    rows = list(csv.DictReader(io.StringIO(operator.run(*OCTOBER, "--format", "csv").stdout)))
    assert rows[0]["customer"] == "'=1+1"


def test_a_month_to_come_and_one_that_is_none_are_refused(operator: Operator) -> None:
    for month, wrong in (("2199-01", "has not begun"), ("2026-13", "is not a month"), ("2026", "is not a month")):
        result = operator.run("sla", "report", "--month", month)
        assert (result.exit_code, wrong in result.stderr) == (2, True), result.output


def test_the_month_that_goes_on_is_reported_as_far_as_it_has_come(operator: Operator) -> None:
    (line,) = operator.json("sla", "report", "--primary", "main")
    assert line["seconds"]["total"] < line["seconds"]["month"]
    assert line["period_end"] > line["period_start"]


def test_an_unknown_agreement_or_region_is_a_mistake_of_the_configuration(operator: Operator) -> None:
    text = operator.config.read_text()
    operator.config.write_text(text.replace('region = "cloud/EU"', 'region = "cloud/Mars"\nagreement = "other"'))
    assert "primary[0].agreement: other: there is no agreement of that name" in operator.run("config", "check").stderr
    operator.config.write_text(text.replace('"cloud/EU"', '"cloud/Mars"').replace('"CZ"', '"XX"'))
    for command in (("config", "check"), OCTOBER):
        result = operator.run(*command)
        assert result.exit_code == 2
        assert 'primary[0].region: "cloud/Mars" is no region of kerio-cloud; write "cloud/EU" or' in result.stderr
        assert "customer[0].country: no holidays are known of XX" in result.stderr


def test_config_check_finds_a_ladder_with_holes(operator: Operator, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('based_on = "kerio-cloud"\n[[step]]\nfrom = 99.8\ncredit = 0\n[[step]]\nbelow = 99.7\ncredit = 5\n')
    text = operator.config.read_text().replace('region = "cloud/EU"', f'agreement = "{own}"')
    operator.config.write_text(text)
    assert (
        "step[0].from: there is no step from 99.7 up to 99.8; write from = 99.7"
        in operator.run("config", "check").stderr
    )


# The page -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Every element that a page is made of, and whatever it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]


def test_the_page_is_whole_by_itself(operator: Operator) -> None:
    text = operator.run(*OCTOBER, "--format", "html").stdout
    page = Page(text)
    assert page.fetched == []
    assert {"script", "link", "img", "iframe"} & set(page.elements) == set()
    assert not re.search(r"url\(|@import|https?://", text)
    assert (page.elements.count("article"), page.elements.count("svg")) == (2, 2)
    assert "99.798387 %" in text
    assert "size: A4" in text


def test_the_picture_has_the_outage_where_it_was(operator: Operator) -> None:
    text = operator.run(*OCTOBER, "--primary", "main", "--format", "html").stdout
    assert "<title>down, 2026-10-08 21:00:00 UTC to 2026-10-08 22:30:00 UTC, 5,400 s</title>" in text
    assert text.count("<title>maintenance,") == 5


def test_text_of_strangers_is_text_on_the_page(operator: Operator) -> None:
    on_record(operator, span("S2", "2026-10-20 10:00 > 10:05", cause="<script>alert(1)</script> bob@example.org"))
    words = ("--from", "2026-10-20T10:00Z", "--to", "2026-10-20T10:01Z", "--category", "dns", "--reason", "<b>x</b>")
    assert operator.run("outage", "annotate", "--primary", "main", *words).exit_code == 0
    text = operator.run(*OCTOBER, "--format", "html").stdout
    assert {"script", "b"} & set(Page(text).elements) == set()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; …@example.org" in text


def test_pdf_is_written_where_the_extra_is_installed(operator: Operator, tmp_path: Path) -> None:
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError) as error:
        # The package alone is not enough: it draws with the system's pango.
        pytest.skip(f"no PDF can be made here: {error}")
    file = tmp_path / "report.pdf"
    result = operator.run(*OCTOBER, "--primary", "main", "--format", "pdf", "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file} is written.\n")
    assert file.read_bytes().startswith(b"%PDF-")


def test_pdf_without_the_extra_says_what_to_install(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = operator.run(*OCTOBER, "--format", "pdf")
    assert result.exit_code == 1
    assert "pip install 'fallback-mx[pdf]'" in result.stderr


# Explained ------------------------------------------------------------------------------------------------------


def test_every_outage_is_explained_in_pieces_that_make_it_up(operator: Operator) -> None:
    (line,) = operator.json("sla", "explain", "--month", "2026-10", "--primary", "main")
    (outage,) = line["outages"]
    assert [(piece["kind"], piece["interval"]["start"], piece["why"]) for piece in outage["pieces"]] == [
        ("maintenance", "2026-10-08T20:30:00Z", "the weekly window of cloud/EU"),
        ("unreported", "2026-10-08T21:00:00Z", "nobody reported it before 2026-10-14 22:00:00 UTC"),
    ]
    assert line["arithmetic"]["uptime, raw"] == "100 × (1 − 5,400 s ÷ 2,678,400 s) = 99.798387 %"
    assert line["arithmetic"]["allowance"].startswith("86.4 min fixed; 89.28 min by the share")


def test_unknown_time_is_explained_by_what_the_monitor_said_of_it(tmp_path: Path) -> None:
    operator = Operator(tmp_path).create()
    on_record(
        operator,
        watch("W1", "2026-09-20 > 2026-10-03"),
        gap("G1", "2026-10-03 00:00 > 2026-10-03 06:00", Cause.CUT_OFF),
        watch("W2", "2026-10-03 06:00 > 2026-11-10"),
    )
    output = operator.run("sla", "explain", "--month", "2026-10", "--primary", "main").stdout
    assert "2026-10-03 00:00:00 UTC to 2026-10-03 06:00:00 UTC, 21,600 s: we were cut off from the network" in output


def test_the_explanation_is_printed_line_by_line(operator: Operator) -> None:
    reported(operator)
    output = operator.run("sla", "explain", "--month", "2026-10", "--primary", "main").stdout
    for line in (
        "  outage S1: 2026-10-08 20:30:00 UTC to 2026-10-08 22:30:00 UTC; 5,400 s of it count",
        "    counted: 2026-10-08 21:00:00 UTC to 2026-10-08 22:30:00 UTC, 5,400 s: connect: refused",
        "  breach: yes: 90 min counted are more than 86.4 min",
        "  credit: 5 % of the month's fees: uptime is 95 % or more and below 99.8 %",
    ):
        assert line in output.splitlines()


# What is said of outages ----------------------------------------------------------------------------------------


def annotated(operator: Operator) -> str:
    words = ("--from", "2026-10-08T21:00Z", "--to", "2026-10-08T22:00Z", "--category", "false_alarm")
    (line,) = operator.json("outage", "annotate", "--primary", "main", *words, "--reason", "our own switch")
    return str(line["id"])


def test_an_annotation_takes_time_out_until_it_is_withdrawn(operator: Operator) -> None:
    annotation = annotated(operator)
    assert (of(operator, "main")["seconds"]["down"], of(operator, "main")["seconds"]["excluded"]) == (1800, 3600)
    assert operator.run("outage", "annotate", "--withdraw", annotation, "--reason", "it was ours").exit_code == 0
    assert of(operator, "main")["seconds"]["down"] == 5400
    first, second = operator.json("outage", "annotations")
    assert (first["withdrawn"], first["reason"], second["withdraws"]) == (True, "our own switch", annotation)


def test_an_annotation_is_withdrawn_once(operator: Operator) -> None:
    annotation = annotated(operator)
    again = ("outage", "annotate", "--withdraw", annotation, "--reason", "it was ours")
    assert [operator.run(*again).exit_code for _ in range(2)] == [0, 1]
    assert operator.run("outage", "annotate", "--withdraw", "nothing", "--reason", "x").exit_code == 3


def test_an_annotation_wants_a_reason_a_time_and_a_primary(operator: Operator) -> None:
    words = ["--primary", "main", "--from", "2026-10-08T21:00Z", "--to", "2026-10-08T22:00Z", "--category", "dns"]
    assert operator.run("outage", "annotate", *words, "--reason", " ").exit_code == 2
    assert operator.run("outage", "annotate", *words[2:], "--reason", "x").exit_code == 2
    assert operator.run("outage", "annotate", *words[:1], "mian", *words[2:], "--reason", "x").exit_code == 2
    backwards = [*words[:2], "--from", words[5], "--to", words[3], *words[6:]]
    assert operator.run("outage", "annotate", *backwards, "--reason", "x").exit_code == 2
    assert operator.json("outage", "annotations") == []


def claimed(operator: Operator, at: str = "2026-10-12T08:00Z", *more: str) -> dict[str, Any]:
    words = ("--from", "2026-10-08T21:00Z", "--to", "2026-10-08T22:30Z", "--contact", "carol@example.org", "--at", at)
    (line,) = operator.json("sla", "claim", "add", "--primary", "main", "--account", "4711", *words, *more)
    return line


def test_a_claim_is_kept_and_reports_the_downtime_that_it_names(operator: Operator) -> None:
    claim = claimed(operator)
    assert (claim["month"], claim["state"], claim["objections"]) == ("2026-10", "open", [])
    assert of(operator, "main")["credit_percent"] == 5


def test_what_speaks_against_a_claim_is_told(operator: Operator) -> None:
    reported(operator)
    # In Prague it ended on Friday, 9 October; the seventh business day after that is Tuesday, the 20th, to 22:00 UTC.
    late = claimed(operator, "2026-10-20T22:00Z", "--in-arrears")
    assert late["objections"] == ["late", "arrears"]
    assert claimed(operator, "2026-10-20T21:59:59Z")["objections"] == []


def test_a_claim_is_decided_and_the_report_says_so(operator: Operator) -> None:
    claim = claimed(operator)
    for decision in ("--refuse", "--grant"):
        assert operator.run("sla", "claim", "decide", claim["id"], decision, "--reason", "x").exit_code == 0
    (listed,) = operator.json("sla", "claim", "list", "--state", "granted")
    assert [decision["granted"] for decision in listed["decisions"]] == [False, True]
    assert of(operator, "main")["claims"][0]["state"] == "granted"
    assert operator.run("sla", "claim", "decide", "nothing", "--grant", "--reason", "x").exit_code == 3
    assert operator.run("sla", "claim", "decide", claim["id"], "--reason", "x").exit_code == 2


# A month that is closed -----------------------------------------------------------------------------------------


def test_a_closed_month_keeps_its_hash_and_shows_what_changes(operator: Operator) -> None:
    (closed,) = operator.json("sla", "freeze", "--month", "2026-10", "--primary", "main")
    assert of(operator, "main")["frozen"]["corrections"] == {}
    reported(operator)
    now = of(operator, "main")["frozen"]
    assert now["corrections"]["credit_percent"] == {"was": 0, "is": 5}
    assert now["corrections"]["seconds.counted"] == {"was": 0, "is": 5400}
    assert (now["sha256"], now["whole"]) == (closed["sha256"], True)


def test_a_closed_month_is_closed_anew_only_on_demand_and_keeps_what_it_was(operator: Operator) -> None:
    freeze = ("sla", "freeze", "--month", "2026-10", "--primary", "main")
    assert operator.run(*freeze).exit_code == 0
    assert "nothing has changed" in operator.run(*freeze).stdout
    reported(operator)
    assert operator.run(*freeze).exit_code == 1
    assert operator.run(*freeze, "--correct").exit_code == 2
    assert operator.run(*freeze, "--correct", "--reason", "a report came by letter").exit_code == 0
    first, second = operator.json("sla", "frozen", "--month", "2026-10", "--primary", "main")
    assert [json.loads(one["content"])["figures"]["credit_percent"] for one in (first, second)] == [0, 5]
    assert of(operator, "main")["frozen"]["times"] == 2


def test_what_a_month_was_closed_as_has_the_hash_on_record(operator: Operator) -> None:
    (closed,) = operator.json("sla", "freeze", "--month", "2026-10", "--primary", "main")
    text = operator.run("sla", "frozen", "--month", "2026-10").stdout.rstrip("\n")
    assert hashlib.sha256(text.encode()).hexdigest() == closed["sha256"]
    inputs = json.loads(text)["inputs"]
    assert [outage["id"] for outage in inputs["outages"]] == ["S1"]


def test_a_text_that_was_changed_in_the_database_is_found_out(operator: Operator) -> None:
    operator.run("sla", "freeze", "--month", "2026-10", "--primary", "main")
    queue = operator.open()
    forged = "UPDATE frozen_month SET content = replace(content, '\"credit_percent\":0', '\"credit_percent\":5')"
    queue.writer.submit(lambda connection: connection.exec_driver_sql(forged)).result()
    queue.close()
    assert of(operator, "main")["frozen"]["whole"] is False
    assert operator.run("sla", "frozen", "--month", "2026-10").exit_code == 1


def test_a_month_that_is_not_over_cannot_be_closed(operator: Operator) -> None:
    (line,) = operator.json("sla", "report", "--primary", "main")
    assert operator.run("sla", "freeze", "--month", line["month"]).exit_code == 2


# Another monitor's history --------------------------------------------------------------------------------------

HISTORY = """\
{"primary": "third", "started_at": "2026-10-10T10:00:00Z", "ended_at": "2026-10-10T12:00:00Z", "cause": "timeout"}
{"primary": "third", "started_at": "2026-10-20T10:00:00+02:00", "ended_at": "2026-10-20T10:30:00+02:00", "cause": ""}
"""
WATCHED = '{"primary": "third", "started_at": "2026-10-01T00:00:00Z", "ended_at": "2026-11-01T00:00:00Z"}\n'


def test_a_history_from_elsewhere_is_settled(operator: Operator) -> None:
    assert operator.run("outage", "import", input=HISTORY).exit_code == 0
    assert of(operator, "third")["seconds"]["unknown"] == 2678400
    assert operator.run("outage", "import", "--coverage", input=WATCHED).exit_code == 0
    third = of(operator, "third")
    assert (third["seconds"]["down"], third["seconds"]["unknown"]) == (9000, 0)


def test_a_history_that_is_read_twice_counts_once(operator: Operator) -> None:
    for _ in range(2):
        operator.run("outage", "import", input=HISTORY)
        operator.run("outage", "import", "--coverage", input=WATCHED)
    assert of(operator, "third")["seconds"]["down"] == 9000
    assert len(operator.run("outage", "export", "--primary", "third").stdout.splitlines()) == 2


def test_a_file_with_a_bad_line_is_not_read_at_all(operator: Operator) -> None:
    result = operator.run("outage", "import", input=HISTORY + "{}\n")
    assert (result.exit_code, "line 3" in result.stderr) == (1, True)
    assert operator.run("outage", "export", "--primary", "third").stdout == ""


def test_what_is_exported_settles_to_the_same_elsewhere(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Operator(tmp_path / "elsewhere").create()
    elsewhere.config.write_text(operator.config.read_text().replace(operator.url, elsewhere.url))
    elsewhere.run("outage", "import", input=operator.run("outage", "export").stdout)
    elsewhere.run("outage", "import", "--coverage", input=operator.run("outage", "export", "--coverage").stdout)
    assert of(elsewhere, "main") == of(operator, "main")
