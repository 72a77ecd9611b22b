"""A report as a page that is whole by itself (HTML), and as PDF where the extra `pdf` is installed.

Every text is escaped where it goes into the page. The page asks nothing of the network, and its policy forbids it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fallback_mx import paper
from fallback_mx.settlement import explanation
from fallback_mx.settlement.freezing import frozen_data
from fallback_mx.settlement.month import Month
from fallback_mx.settlement.timeline import COLOURS, picture
from fallback_mx.sla.ladder import shown


def html(months: Sequence[Month], made_at: datetime) -> str:
    """One page for any number of primaries."""
    return _template().render(
        months=[
            {
                "month": month,
                "settlement": month.settlement,
                "agreement": month.contract.agreement,
                "parts": month.settlement.division.parts,
                "outages": explanation.outages(month),
                "taken_out": explanation.taken_out(month),
                "arithmetic": list(explanation.arithmetic(month)),
                "frozen": frozen_data(month),
                "picture": picture(month.settlement),
            }
            for month in months
        ],
        made_at=made_at,
        colours=COLOURS,
    )


def pdf(months: Sequence[Month], made_at: datetime) -> bytes:
    """The page on A4. Raises paper.NoPdf."""
    return paper.pdf(html(months, made_at))


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fallback_mx.settlement"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        moment=explanation.moment,
        length=explanation.length,
        percent=explanation.percent,
        minutes=explanation.minutes,
        number=shown,
        cause=explanation.cause,
        steps_words=explanation.steps_words,
    )
    return environment.get_template("report.html")
