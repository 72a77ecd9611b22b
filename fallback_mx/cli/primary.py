"""`fallback-mx primary list`: the mail servers that this service stands in for."""

from __future__ import annotations

import click

from fallback_mx.cli.exits import DONE
from fallback_mx.cli.opening import opened
from fallback_mx.cli.options import config_option, json_option, json_option_of_group
from fallback_mx.cli.printing import print_json, print_table, short
from fallback_mx.cli.status import read

COLUMNS = ("PRIMARY", "STATE", "SINCE", "NEXT HOP", "WHEN UP", "MESSAGES", "DOMAINS")


@click.group()
@config_option
@json_option_of_group
def primary() -> None:
    """Look at the primaries.

    \b
    Examples:
      fallback-mx primary list
    """


@primary.command("list")
@config_option
@json_option
def list_(as_json: bool) -> int:
    """List the configured primaries with their state on record.

    \b
    Examples:
      fallback-mx primary list
      fallback-mx primary list --json | jq -r 'select(.state != "up").name'
    """
    with opened() as (store, settings):
        current = {one.name: one for one in read(store, settings).primaries}
    if as_json:
        for one in settings.primaries:
            known = current[one.name]
            print_json(
                {
                    "name": one.name,
                    "state": known.state.value,
                    "since": known.since,
                    "cause": known.cause,
                    "host": one.next_hosts[0].host if one.next_hosts else None,
                    "port": one.next_hosts[0].port if one.next_hosts else one.port,
                    "hosts": [str(each) for each in one.next_hosts],
                    "when_up": one.when_up,
                    "domains": one.domains,
                    "messages": known.queued.messages,
                }
            )
        return DONE
    rows = [
        (
            one.name,
            current[one.name].state.value,
            short(current[one.name].since),
            ", ".join(map(str, one.next_hosts)) or "by MX",
            one.when_up,
            current[one.name].queued.messages,
            ", ".join(one.domains),
        )
        for one in settings.primaries
    ]
    print_table(COLUMNS, rows, right=("MESSAGES",), fixed=("SINCE",))
    return DONE
