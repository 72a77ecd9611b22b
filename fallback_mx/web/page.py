"""The status page: facts in, HTML out. Everything is escaped where it goes into the page; it runs no script.

Rendering takes milliseconds and no event loop: it belongs into a thread.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from fractions import Fraction
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from fallback_mx.published.facts import Facts, Mark, Uptime
from fallback_mx.rules.health import State
from fallback_mx.sla.figures import cut
from fallback_mx.sla.ladder import shown
from fallback_mx.spoken import counted, duration
from fallback_mx.web import bars, plot
from fallback_mx.web.badge import WORDS

OUTAGES = 30
TROUBLED = 15
# What a pointer is told over a day stands in the list below it as well: on a page of many primaries there alone.
HINTED = 10
LEGEND = (
    (Mark.UP, "up"),
    (Mark.DOWN, "down (hangs below the line)"),
    (Mark.MAINTENANCE, "maintenance (striped)"),
    (Mark.UNKNOWN, "nobody watched (hatched)"),
)


@cache
def stylesheet() -> bytes:
    """The one style sheet."""
    return (files(__package__) / "static" / "status.css").read_bytes()


@cache
def icon() -> bytes:
    return (files(__package__) / "static" / "icon.svg").read_bytes()


@cache
def version_of_stylesheet() -> str:
    """Changes whenever the sheet does, so that browsers may keep it."""
    return hashlib.sha256(stylesheet()).hexdigest()[:12]


def page(facts: Facts, root: str, feed: str) -> bytes:
    """The page. `root` leads from it to the server's root ("" or "../"), `feed` to its feed."""
    return _render(
        "status.html",
        facts=facts,
        root=root,
        feed=feed,
        pictures=[bars.bars(primary.days) for primary in facts.primaries],
        troubled=[bars.troubled(primary.days) for primary in facts.primaries],
        plot=plot.plot(facts.samples),
        hourly=list(plot.hourly(facts.samples)),
        legend=LEGEND,
        most_outages=OUTAGES,
        most_troubled=TROUBLED,
        with_hints=len(facts.primaries) <= HINTED,
    )


def notice(headline: str, text: str, root: str) -> bytes:
    """A page that says why there is none."""
    return _render("notice.html", headline=headline, text=text, root=root)


def _render(template: str, **values: object) -> bytes:
    return _environment().get_template(template).render(sheet=version_of_stylesheet(), **values).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fallback_mx.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration,
        counted=counted,
        moment=moment,
        machine=machine,
        state=lambda state: WORDS[state],
        percent=percent,
        number=shown,
        month=lambda name: f"{datetime.strptime(name, '%Y-%m'):%B %Y}",  # noqa: DTZ007 - a month's name has no zone
        range=percent_range,
        day_in_words=bars.in_words,
        until=until,
    )
    environment.globals.update(State=State)
    return environment


def moment(at: datetime) -> str:
    """ "25 November 2026, 02:36 UTC"."""
    return f"{at:%-d %B %Y, %H:%M} UTC"


def machine(at: datetime) -> str:
    """As the `datetime` of a <time> element has it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def until(start: datetime, end: datetime) -> str:
    """The end of a time that begins at `start`; its day only where that is another."""
    return f"{end:%H:%M} UTC" if start.date() == end.date() else moment(end)


def percent(value: Fraction) -> str:
    """Cut after three decimals: it is never said to be more than it is."""
    return f"{cut(value, 3):f}"


def percent_range(uptime: Uptime) -> str:
    """ "99.941 %", or "between 99.1 % and 99.941 %" where it depends on what nobody saw."""
    highest, lowest = percent(uptime.percent), percent(uptime.lowest)
    return f"{highest} %" if highest == lowest else f"between {lowest} % and {highest} %"
