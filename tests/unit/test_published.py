"""What the public is told: days, causes, titles, tokens and the pictures of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.published.causes import plain_cause
from fallback_mx.published.facts import DAYS, Day, Mark
from fallback_mx.published.past import days, days_until
from fallback_mx.published.samples import KEPT, SLOT, Sample, slot_of, taken
from fallback_mx.published.terms import Terms, digest, title
from fallback_mx.published.tokens import read_tokens
from fallback_mx.rules.health import State
from fallback_mx.sla.intervals import Interval, meet
from fallback_mx.sla.parts import Parts, divide
from fallback_mx.web import bars, plot
from fallback_mx.web.badge import badge
from mxqueue import RecipientState, RouteCount

NOW = datetime(2026, 11, 24, 3, 26, tzinfo=UTC)
MOMENTS = st.integers(0, 2 * 365 * 86400 * 10**6).map(lambda micros: NOW + timedelta(microseconds=micros))
INTERVALS = st.lists(st.tuples(MOMENTS, MOMENTS).map(sorted).map(lambda pair: Interval(*pair)), max_size=6)


# --- days -------------------------------------------------------------------------------------------------------------


@given(MOMENTS, INTERVALS, INTERVALS, INTERVALS, INTERVALS)
def test_the_parts_of_the_days_add_up_to_the_parts_of_the_period(now, maintenance, excluded, known, down) -> None:
    division = divide(days_until(now), maintenance=maintenance, excluded=excluded, known=known, down=down)
    found = list(days(division))
    assert sum((day.parts for day in found), Parts()) == division.parts


@given(MOMENTS)
def test_there_are_90_days_today_included_and_each_but_today_is_whole(now) -> None:
    found = list(days(divide(days_until(now))))
    assert len(found) == DAYS or (len(found) == DAYS - 1 and now.time() == now.min.time())
    assert {day.parts.total for day in found[: DAYS - 1]} == {timedelta(days=1)}


@given(MOMENTS, INTERVALS)
def test_a_day_is_marked_down_exactly_where_some_of_it_was(now, down) -> None:
    period = days_until(now)
    for day in days(divide(period, known=[period], down=down)):
        start = datetime.combine(day.day, datetime.min.time(), UTC)
        whole = Interval(start, min(start + timedelta(days=1), period.end))
        was_down = any(one.start < one.end and meet(one, whole) for one in down)
        assert (day.mark is Mark.DOWN) == was_down


# --- bars -------------------------------------------------------------------------------------------------------------

SECONDS = st.integers(0, 86400)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS, SECONDS, SECONDS), min_size=1, max_size=DAYS))
def test_no_column_is_higher_than_the_picture_and_what_was_is_seen(lengths) -> None:
    told = tuple(Day(NOW.date(), Parts(*(timedelta(seconds=length) for length in of_day))) for of_day in lengths)
    drawn = bars.bars(told)
    for kind, path in drawn.strokes:
        columns = re.findall(r"M(\d+) ([\d.]+)h6v(-?[\d.]+)h-6z", path)
        assert len(columns) == path.count("M")
        for _, top, height in columns:
            assert float(top) >= bars.TOP
            assert float(height) > 0
            assert float(top) + float(height) <= bars.LINE + (bars.HANG if kind == "down" else 0)
    shown = dict(drawn.strokes)
    assert ("down" in shown) == any(day.parts.down for day in told)


def test_a_second_of_downtime_is_high_enough_to_be_seen() -> None:
    second = timedelta(seconds=1)
    drawn = bars.bars((Day(NOW.date(), Parts(down=second, up=timedelta(days=1) - second)),))
    assert dict(drawn.strokes)["down"] == "M1 36h6v10h-6z"


def test_a_day_is_said_in_words_without_what_it_had_not() -> None:
    day = Day(NOW.date(), Parts(down=timedelta(minutes=14), unknown=timedelta(milliseconds=3), up=timedelta(hours=20)))
    assert bars.in_words(day) == "down 14 min, nobody watched less than 1 s"


def test_a_page_of_quiet_days_costs_little() -> None:
    quiet = (Day(NOW.date(), Parts(up=timedelta(days=1))),) * DAYS
    assert sum(len(path) for _, path in bars.bars(quiet).strokes) < 2000


# --- samples and their plot -------------------------------------------------------------------------------------------


@given(MOMENTS)
def test_a_slot_begins_at_most_five_minutes_ago_and_never_later(moment) -> None:
    assert timedelta(0) <= moment - slot_of(moment) < SLOT
    assert slot_of(slot_of(moment)) == slot_of(moment)


def test_what_is_held_is_no_backlog_and_what_is_empty_is_a_sample_too() -> None:
    counts = [
        RouteCount("main", RecipientState.PENDING, 3, 5, NOW - timedelta(minutes=2)),
        RouteCount("main", RecipientState.HELD, 7, 7, NOW - timedelta(days=9)),
        RouteCount("gone", RecipientState.PENDING, 1, 1, NOW),
    ]
    assert taken(counts, ["main", "other"], NOW) == {"main": Sample(3, 120), "other": Sample()}


def _series(depths: list[int | None]) -> list[tuple[datetime, Sample | None]]:
    return [
        (NOW + SLOT * index, None if depth is None else Sample(depth, depth * 60)) for index, depth in enumerate(depths)
    ]


@given(st.lists(st.one_of(st.none(), st.integers(0, 1_000_000)), min_size=2, max_size=KEPT // SLOT + 1))
def test_no_curve_leaves_its_picture_and_each_run_is_a_line_of_its_own(depths) -> None:
    drawn = plot.plot(_series(depths))
    for curve in (drawn.messages, drawn.age):
        for x, y in re.findall(r"[ML]([\d.e+]+) (-?[\d.]+)", curve.line):
            assert 0 <= float(x) <= plot.WIDTH + 1
            assert 0 <= float(y) <= plot.HEIGHT
    known = [depth is not None for depth in depths]
    runs = sum(now and not before for before, now in zip([False, *known], known, strict=False))
    assert drawn.messages.line.count("M") == runs
    assert (len(drawn.gaps) > 0) == (None in depths)


def test_a_level_day_is_drawn_with_two_points() -> None:
    assert plot.plot(_series([0] * 289)).messages.line == "M0 119L720 119"


@pytest.mark.parametrize(
    ("most", "edge"), [(0, "1 message"), (3, "5 messages"), (212, "500 messages"), (1000, "1000 messages")]
)
def test_the_upper_edge_is_a_round_number(most: int, edge: str) -> None:
    assert plot.plot(_series([0, most])).messages.most == edge


# --- causes and titles ------------------------------------------------------------------------------------------------


@given(st.text(max_size=20), st.text(min_size=10, max_size=100))
def test_a_plain_cause_says_nothing_that_a_primary_or_a_resolver_said(phase: str, detail: str) -> None:
    assert detail not in plain_cause(phase, detail)


def test_a_refused_connection_is_told_from_one_that_nobody_answered() -> None:
    assert plain_cause("connect", "198.51.100.7:25: Connection refused") == "it refused the connection"
    assert plain_cause("connect", "198.51.100.7:25: timed out") == "it could not be reached"
    assert plain_cause("", "") == ""


@pytest.mark.parametrize("name", ["mail.example.org", "MAIL.example.org", "our mail.example.org (old)"])
def test_a_name_that_has_the_host_in_it_is_not_a_title(name: str) -> None:
    assert title(name, ["mail.example.org"], 2, shows_hosts=False) == "primary 2"
    assert title(name, ["mail.example.org"], 2, shows_hosts=True) == name


def test_any_other_name_is_its_own_title() -> None:
    assert title("connect-1", ["mail.example.org"], 2, shows_hosts=False) == "connect-1"


def test_a_long_name_is_cut_on_a_badge_and_whole_in_its_title() -> None:
    name = "a" * 64
    drawn = badge(name, State.UP)
    assert f"<title>{name}: up</title>" in drawn
    assert f"{'a' * 39}…</text>" in drawn


# --- tokens -----------------------------------------------------------------------------------------------------------

GOOD = "0123456789abcdef0123"


def test_a_token_opens_its_customers_page_and_no_other_word_does(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"\ufeff# tokens\n\n  {GOOD}   Example Ltd \n{GOOD}x Example Ltd\n", encoding="utf-8")
    customers, flaws = read_tokens(path, {"Example Ltd"})
    terms = Terms(customers=customers)
    assert flaws == []
    assert [terms.customer_of(word) for word in (GOOD, f"{GOOD}x", GOOD[:-1], "", "\udcff")] == [
        *("Example Ltd", "Example Ltd"),
        *(None, None, None),
    ]


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        (GOOD, "no customer is named"),
        (
            f"{GOOD[:19]} Example",
            "the token is too short, too long, or has other characters than letters, digits and . _ ~ -",
        ),
        (
            f"{GOOD}/x Example",
            "the token is too short, too long, or has other characters than letters, digits and . _ ~ -",
        ),
        (f"{GOOD} Exmple", "no primary has the customer Exmple"),
        (f"{GOOD} Other", "the token is another customer's already"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_without_its_token_and_the_others_hold(
    tmp_path: Path, line: str, flaw: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{GOOD} Example\n{line}\n", encoding="utf-8")
    customers, flaws = read_tokens(path, {"Example", "Other"})
    assert customers == {digest(GOOD): "Example"}
    assert flaws == [f"{path}, line 2: {flaw}"]


def test_a_file_that_is_not_there_opens_nothing_and_is_told(tmp_path: Path) -> None:
    assert read_tokens(tmp_path / "none", {"Example"}) == (
        {},
        [f"{tmp_path / 'none'} cannot be read: No such file or directory"],
    )


def test_no_token_is_in_the_repr_of_the_terms() -> None:
    assert digest(GOOD).hex() not in repr(Terms(customers={digest(GOOD): "Example"}))
    assert "Example" not in repr(Terms(customers={digest(GOOD): "Example"}))
