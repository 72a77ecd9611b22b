"""A report as a page that is whole by itself (HTML), and as PDF where the extra `pdf` is installed.

Every text is escaped where it goes into the page. The page asks nothing of the network, and its policy forbids it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fallback_mx.settlement import explanation
from fallback_mx.settlement.freezing import frozen_data
from fallback_mx.settlement.month import Month
from fallback_mx.settlement.timeline import COLOURS, picture
from fallback_mx.sla.ladder import shown


class NoPdf(Exception):
    """PDF was asked for and nothing is installed that makes it."""

    advice = "pip install 'fallback-mx[pdf]' (it draws with the system's pango), or ask for html and print that."


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
    """The page on A4. Raises NoPdf."""
    try:
        import weasyprint
    except (ImportError, OSError) as error:
        # OSError where the package is there and the libraries that it draws with are not.
        raise NoPdf(f"PDF cannot be made here: {error}") from error
    made: bytes = weasyprint.HTML(string=html(months, made_at), url_fetcher=_fetch_nothing).write_pdf()
    return made


def _fetch_nothing(url: str, *_: object, **__: object) -> dict[str, object]:
    raise ValueError(f"a report fetches nothing: {url}")


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
