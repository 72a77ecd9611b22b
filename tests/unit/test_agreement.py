"""Agreements: the shipped one says what its text says, and whatever is wrong with another is told at once."""

from __future__ import annotations

from datetime import time, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback_mx.settlement.agreements import load
from fallback_mx.sla import ladder
from fallback_mx.sla.agreement import Agreement, Weekly
from fallback_mx.sla.agreement_file import read
from fallback_mx.sla.exclusions import Category
from fallback_mx.sla.flaws import AgreementError
from fallback_mx.sla.ladder import Step, step_at

KERIO = load("kerio-cloud")
BASE = {"base": (Path(__file__).parents[2] / "fallback_mx/settlement/agreements/kerio-cloud.toml").read_text()}


def changed(text: str) -> Agreement:
    """The shipped agreement with these lines in place of its own."""
    return read(f'based_on = "base"\n{text}', "own.toml", BASE)


def problems(text: str) -> list[str]:
    with pytest.raises(AgreementError) as raised:
        changed(text)
    return [str(flaw) for flaw in raised.value.flaws]


# The shipped one ------------------------------------------------------------------------------------------------


def test_the_shipped_agreement_promises_what_its_text_says() -> None:
    assert KERIO.target == Fraction("99.8")
    assert KERIO.fixed_allowance == timedelta(minutes=86, seconds=24)
    assert KERIO.excluded == frozenset(Category)
    assert (KERIO.report_within_days, KERIO.claim_within_business_days) == (5, 7)
    assert (KERIO.raw_requires_report, KERIO.settled_requires_report) == (False, True)
    assert KERIO.longest_maintenance == timedelta(minutes=60)


def test_the_weekly_windows_are_thursday_in_europe_and_friday_in_america() -> None:
    assert KERIO.weekly == (
        Weekly("cloud/EU", 3, time(20, 0)),
        Weekly("cloud/USA", 4, time(7, 0)),
        Weekly("private/EU", 3, time(20, 30)),
        Weekly("private/USA", 4, time(7, 30)),
    )


@pytest.mark.parametrize(
    ("percent", "credit"),
    [
        ("100", 0),
        ("99.8", 0),
        ("99.799999999", 5),
        ("99.75", 5),  # in the published table's hole between 99.7 and 99.8
        ("95", 5),
        ("94.95", 20),  # in its hole between 94.9 and 95
        ("90", 20),
        ("89.95", 50),
        ("80", 50),
        ("79.999", 100),
        ("0", 100),
    ],
)
def test_each_percentage_has_one_answer(percent: str, credit: int) -> None:
    assert step_at(KERIO.steps, Fraction(percent)).credit == credit


# Others ---------------------------------------------------------------------------------------------------------


def test_an_agreement_based_on_another_changes_what_it_names_alone() -> None:
    own = changed('name = "own"\nstanding_windows = "announced"')
    assert (own.name, own.standing_windows) == ("own", "announced")
    assert own.steps == KERIO.steps


def test_numbers_are_exact() -> None:
    assert changed("allowance_minutes = 0.1").fixed_allowance == timedelta(seconds=6)
    assert changed("target = 99.95").target == Fraction(1999, 20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target = 998", "target: 998 is not a percentage; write a number from 0 to 100"),
        ('target = "x"', 'target: "x" is not a number; write target = 99.8'),
        ("target = nan", 'target: "NaN" is not a number; write target = 99.8'),
        ("target = 1e-99", 'target: "1E-99" is too large or too fine; write target = 99.8'),
        ("target = true", "target: true is not a number; write target = 99.8"),
        ('allowance = "both"', 'allowance: "both" is not known here; write "fixed" or "proportional"'),
        ('time_zone = "Mars"', 'time_zone: "Mars" is not a time zone; write a name such as "UTC" or "Europe/Prague"'),
        ('time_zone = "../UTC"',
         'time_zone: "../UTC" is not a time zone; write a name such as "UTC" or "Europe/Prague"'),
        ("decimals = 99", "decimals: 99 is not a whole number from 0 to 12; write decimals = 6"),
        ("excluded = 3", 'excluded: 3 is not a list; write excluded = ["beyond_control"], or []'),
        ("denominater = 1", "denominater: is not a key of an agreement; did you mean denominator?"),
        ("require_report = true",
         "require_report: true is not a table; write require_report = { raw = false, settled = true }"),
        ("require_report = { raw = 1, settled = true }",
         "require_report.raw: 1 is neither true nor false; write raw = true"),
        ("require_report = { raw = false }", "require_report.settled: is missing; write settled = true"),
        ("longest_maintenance_minutes = 10081",
         "longest_maintenance_minutes: is longer than a week; write 10080 or less"),
        ("allowance_minutes = -1",
         "allowance_minutes: -1 is no time that a month or a year has; write allowance_minutes = 86.4"),
        ("allowance_minutes = 0.0000000001",
         'allowance_minutes: "1E-10" is finer than a microsecond; write allowance_minutes = 86.4'),
        ('title = ""', 'title: "" is not a line of text; write title = "Our service level agreement"'),
        ("step = 3", "step: has single brackets, or is no table; write [[step]] on a line of its own, its keys below"),
        ('[[weekly]]\nregion = "x"\nday = "someday"\nat = "20:00"',
         'weekly[0].day: "someday" is not known here; write "monday" or "tuesday" or "wednesday" or "thursday" or '
         '"friday" or "saturday" or "sunday"'),
        ('[[weekly]]\nregion = "x"\nday = "friday"\nat = "24:00"',
         'weekly[0].at: "24:00" is not a time of day; write at = "20:00", in UTC'),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_what_to_write(text: str, expected: str) -> None:
    assert expected in problems(text)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert [line.partition(":")[0] for line in problems('target = "x"\nallowance = 3\nnonsense = 1')] == [
        "target",
        "allowance",
        "nonsense",
    ]


def test_a_file_that_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(AgreementError, match=r"own.toml: line 2, column 10: "):
        read('name = "x"\ntarget = ?\n', "own.toml")


def test_an_unknown_base_is_told_with_the_known_ones() -> None:
    with pytest.raises(AgreementError, match='based_on: "other" is not known here; write "base"'):
        read('based_on = "other"', "own.toml", BASE)


def test_a_missing_file_and_an_unknown_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(AgreementError, match="cannot be read: No such file"):
        load(str(tmp_path / "own.toml"))
    with pytest.raises(AgreementError, match="there is no agreement of that name"):
        load("kerio")


# Ladders --------------------------------------------------------------------------------------------------------

LADDER = """
[[step]]
from = {top}
credit = 0
[[step]]
from = 95
below = {below}
credit = 5
[[step]]
{bottom}
credit = 100
"""


@pytest.mark.parametrize(
    ("top", "below", "bottom", "expected"),
    [
        (99.8, 99.7, "below = 95", "step[0].from: there is no step from 99.7 up to 99.8; write from = 99.7"),
        (99.8, 99.9, "below = 95", "step[0].from: from 99.8 up to 99.9 there are two steps; write from = 99.9"),
        (99.8, 99.8, "below = 94.9", "step[1].from: there is no step from 94.9 up to 95; write from = 94.9"),
        (99.8, 99.8, "from = 80\nbelow = 95", "step[2].from: there is no step from 0 up to 80; take its from out"),
        (99.8, 94, "below = 95", "step[1].below: is not above its from; write the larger of the two as below"),
        ("99.8\nbelow = 99.9", 99.8, "below = 95", "step[0].below: there is no step from 99.9 up; take its below out"),
    ],
)
def test_a_hole_or_an_overlap_is_told_with_its_place(top: object, below: object, bottom: str, expected: str) -> None:
    assert problems(LADDER.format(top=top, below=below, bottom=bottom)) == [expected]


def test_a_ladder_that_gives_less_for_less_uptime_is_told() -> None:
    text = "[[step]]\nfrom = 99\ncredit = 20\n[[step]]\nbelow = 99\ncredit = 5"
    expected = "step[0].credit: is 20 where the step below it has 5; write 5 or less: more uptime earns no more credit"
    assert problems(text) == [expected]


bounds = st.integers(0, 8).map(lambda eighths: Fraction(eighths * 25, 2))
steps = st.lists(
    st.tuples(bounds, st.none() | bounds)
    .filter(lambda pair: pair[1] is None or pair[0] < pair[1])
    .map(lambda pair: Step(*pair, Fraction(5))),
    min_size=1,
    max_size=5,
)


@given(steps)
def test_a_ladder_has_no_flaw_exactly_if_each_percentage_is_on_one_step(some: list[Step]) -> None:
    # A sixteenth of a hundred apart: between any two bounds, and on each.
    counts = [sum(step.covers(Fraction(100 * sixteenth, 16)) for step in some) for sixteenth in range(17)]
    assert (list(ladder.flaws(some)) == []) == (set(counts) == {1})
