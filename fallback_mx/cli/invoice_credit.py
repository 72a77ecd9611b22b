"""The credit that a bill gives for a month, by the record of outages: what was settled, and closed, and claimed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import click

from fallback_mx.cli.contracts import months, the_primary
from fallback_mx.cli.opening import opened


def credited(primary: str, month: str) -> tuple[Decimal, str]:
    """Per cent of the month's fees, and by what. Raises click.UsageError, ConfigError, QueueError.

    A closed month counts as it was closed; one that is open as it is settled now. Without a claim that was granted
    there is no credit.
    """
    from fallback_mx.maintenance.schema import MIGRATIONS as MAINTENANCE
    from fallback_mx.settlement.freezing import is_whole
    from fallback_mx.settlement.schema import MIGRATIONS
    from fallback_mx.sla.ladder import shown

    with opened(MIGRATIONS, MAINTENANCE) as (store, settings):
        the_primary(settings, primary)
        (found,) = months(store, settings, month, datetime.now(UTC), primary=primary)
    if found.frozen:
        last = found.frozen[-1]
        if not is_whole(last):
            raise click.UsageError(f"{month} of {primary} was closed, and its text has been changed since.")
        percent = Decimal(str(json.loads(last.content)["figures"]["credit_percent"]))
        source = f"{primary} as it was closed on {last.at:%Y-%m-%d}, SHA-256 {last.sha256}"
    else:
        percent = Decimal(shown(found.settlement.verdict.credit))
        source = f"{primary} as it is settled now; the month is not closed"
    if percent and not any(entry.state == "granted" for entry in found.claims):
        return Decimal(0), f"{percent} % by {source}, for which no claim was granted"
    return percent, source
