"""A bill as a page that prints on A4 and is whole by itself.

Every text is escaped where it goes into the page. The page asks nothing of the network, and its policy forbids it to.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from fallback_mx.billing import telling
from fallback_mx.billing.telling import Invoice


def html(one: Invoice) -> str:
    return _template().render(
        one=one, bill=one.bill, rows=list(telling.rows(one)), notes=list(telling.notes(one)), columns=telling.COLUMNS
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fallback_mx.billing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("invoice.html")
